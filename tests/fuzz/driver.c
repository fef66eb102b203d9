/*
 * A stand-in for libFuzzer where there is only a C compiler: fuzz_X [-runs=N] [-seed=S]
 * FILE|FOLDER…
 *
 * It runs every corpus file as it is, then N mutations of them. There is no feedback from the code:
 * inputs are drawn by rng_at(seed, 0, run), so a run's number is enough to have its input again,
 * and when the harness dies the input is left in the file crash-RUN of the current folder.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/str.h"

enum {
    INPUT_BYTES_MAX = 16 << 10, /* of a mutated input: small ones find as much and run faster */
    FILE_BYTES_MAX = 1 << 20,
    MUTATIONS_MAX = 8, /* in a row, on one input */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* The sanitizers' runtime has it; without sanitizers it is NULL. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static struct buf *corpus;
static int corpus_count;
static struct buf input;
static long long run; /* below 0: a corpus file as it is */

/* Runs in a dying process: system calls only. */
static void save_input(void)
{
    char name[] = "crash-00000000000000000000";
    unsigned long long number = run < 0 ? 0 : (unsigned long long)run;
    for (int i = (int)sizeof name - 2; name[i] != '-'; i--, number /= 10)
        name[i] = (char)('0' + number % 10);
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    size_t done = 0;
    ssize_t wrote = 0;
    while (file >= 0 && done < input.length &&
           (wrote = write(file, input.data + done, input.length - done)) > 0)
        done += (size_t)wrote;
    static const char text[] = "fuzz: the input that did this is in the file ";
    wrote = write(2, text, sizeof text - 1);
    wrote = write(2, name, sizeof name - 1);
    wrote = write(2, "\n", 1);
    (void)wrote;
}

static void on_signal(int number)
{
    save_input();
    signal(number, SIG_DFL);
    raise(number);
}

static void die(const char *what, const char *about)
{
    fprintf(stderr, "fuzz: %s '%s'\n", what, about);
    exit(2);
}

static void add_file(const char *path)
{
    struct err err;
    corpus = xrealloc(corpus, (size_t)(corpus_count + 1) * sizeof *corpus);
    corpus[corpus_count] = (struct buf){0};
    if (!file_read(path, FILE_BYTES_MAX, &corpus[corpus_count++], &err))
        die("cannot read", path);
}

static int not_hidden(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* By bytes, whatever the locale says: the order is part of what a seed means. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_path(const char *path)
{
    struct stat status;
    struct dirent **entries;
    if (stat(path, &status) != 0)
        die("there is no", path);
    if (!S_ISDIR(status.st_mode)) {
        add_file(path);
        return;
    }
    int count = scandir(path, &entries, not_hidden, by_name);
    for (int i = 0; i < count; i++) {
        struct buf name = {0};
        buf_printf(&name, "%s/%s", path, entries[i]->d_name);
        add_file(name.data);
        buf_free(&name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* Puts `size` bytes in the place of `cut` bytes at `at`. */
static void replace(size_t at, size_t cut, const void *data, size_t size)
{
    struct buf next = {0};
    if (input.length - cut + size > INPUT_BYTES_MAX)
        return;
    buf_add(&next, input.data, at);
    buf_add(&next, data, size);
    buf_add(&next, input.data + at + cut, input.length - at - cut);
    buf_free(&input);
    input = next;
}

static size_t below(struct rng *rng, size_t bound)
{
    return bound == 0 ? 0 : rng_below(rng, (uint32_t)bound);
}

/* A range of a text: where it begins and, in *size, how long it is; short ones mostly. */
static size_t pick(struct rng *rng, size_t length, size_t *size)
{
    size_t at = below(rng, length + 1);
    size_t most = rng_below(rng, 4) == 0 ? length - at : length - at < 12 ? length - at : 12;
    *size = below(rng, most + 1);
    return at;
}

static void flip_bit(struct rng *rng)
{
    if (input.length > 0)
        input.data[below(rng, input.length)] ^= (char)(1 << rng_below(rng, 8));
}

static void set_byte(struct rng *rng)
{
    static const char telling[] = "\0\xff\x7f\x80 \n\r\t\"'\\()[]{},;:=+-*/%<>!&|?#._09azAZ";
    char byte = telling[rng_below(rng, sizeof telling - 1)];
    size_t at = below(rng, input.length + 1);
    replace(at, at < input.length && rng_below(rng, 2) == 0, &byte, 1);
}

static void erase(struct rng *rng)
{
    size_t size, at = pick(rng, input.length, &size);
    replace(at, size, "", 0);
}

static void repeat(struct rng *rng)
{
    size_t size, at = pick(rng, input.length, &size);
    struct buf copy = {0};
    for (unsigned times = 1 + rng_below(rng, 40); times > 0; times--)
        buf_add(&copy, input.data + at, size);
    replace(below(rng, input.length + 1), 0, copy.data, copy.length);
    buf_free(&copy);
}

/* A piece of a corpus file in the place of one here. */
static void splice(struct rng *rng)
{
    const struct buf *other = &corpus[below(rng, (size_t)corpus_count)];
    size_t size, theirs_size, at = pick(rng, input.length, &size);
    size_t theirs = pick(rng, other->length, &theirs_size);
    replace(at, size, other->data + theirs, theirs_size);
}

static void number(struct rng *rng)
{
    static const char *const telling[] = {"0",
                                          "1",
                                          "-1",
                                          "2",
                                          "63",
                                          "64",
                                          "255",
                                          "2147483647",
                                          "2147483648",
                                          "4294967296",
                                          "9223372036854775807",
                                          "9223372036854775808"};
    const char *text = telling[rng_below(rng, sizeof telling / sizeof telling[0])];
    size_t at = below(rng, input.length + 1), end = at;
    while (at < input.length && (input.data[at] < '0' || input.data[at] > '9'))
        at++; /* to a number, if there is one */
    for (end = at; end < input.length && input.data[end] >= '0' && input.data[end] <= '9';)
        end++;
    replace(at, end - at, text, strlen(text));
}

static void mutate(struct rng *rng)
{
    static void (*const table[])(struct rng *) = {flip_bit, set_byte, set_byte, erase,
                                                  repeat,   splice,   splice,   number};
    for (unsigned times = 1 + rng_below(rng, MUTATIONS_MAX); times > 0; times--)
        table[rng_below(rng, sizeof table / sizeof table[0])](rng);
}

/* The harness gets memory of the input's exact size, so that a sanitizer sees a byte too many. */
static void run_input(void)
{
    uint8_t *data = xmalloc(input.length);
    if (input.length > 0)
        memcpy(data, input.data, input.length);
    LLVMFuzzerTestOneInput(data, input.length);
    free(data);
}

static void start_input(const struct buf *from, size_t most)
{
    buf_clear(&input);
    buf_add(&input, from->length > 0 ? from->data : "", from->length < most ? from->length : most);
}

static int64_t option(const char *text, const char *name)
{
    int64_t value;
    if (!str_to_i64(text + strlen(name), &value) || value < 0)
        die("no number in", text);
    return value;
}

int main(int argc, char **argv)
{
    int64_t runs = 10000, seed = 1;
    for (int i = 1; i < argc; i++) {
        if (str_starts(argv[i], "-runs="))
            runs = option(argv[i], "-runs=");
        else if (str_starts(argv[i], "-seed="))
            seed = option(argv[i], "-seed=");
        else if (argv[i][0] == '-')
            die("unknown option", argv[i]);
        else
            add_path(argv[i]);
    }
    if (corpus_count == 0)
        die("no corpus file is named to", argv[0]);
    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(save_input);
    else
        signal(SIGSEGV, on_signal);

    for (run = -corpus_count; run < 0; run++) {
        start_input(&corpus[run + corpus_count], FILE_BYTES_MAX);
        run_input();
    }
    for (run = 0; run < runs; run++) {
        struct rng rng = rng_at((uint64_t)seed, 0, (uint64_t)run);
        start_input(&corpus[below(&rng, (size_t)corpus_count)], INPUT_BYTES_MAX);
        mutate(&rng);
        run_input();
    }
    fprintf(stderr, "fuzz: %d corpus files and %lld mutations of them, seed %lld\n", corpus_count,
            (long long)runs, (long long)seed);
    for (int i = 0; i < corpus_count; i++)
        buf_free(&corpus[i]);
    free(corpus);
    buf_free(&input);
    return 0;
}
