/*
 * corpus -- kernels that are right and look suspicious, and the faults that each may have.
 *
 *     test_emu_corpus FOLDER [NAME]...
 *
 * Every .cu of the folder (or those whose names begin like a NAME) is compiled as it is, and must
 * run on the emulated device without a finding. Its comments plant faults, one line changed each:
 *
 *     x;   //@ label                       names the line
 *     x;   //- fault: KIND @label, …       the fault `fault` is that this line is not there
 *     x;   //= fault: KIND @label, … | y;  that it reads y; instead
 *
 * A fault must be found by exactly these findings, each kind at the line named so (of the kernel: a
 * helper's own line is of no interest), and the first must be the one that decides. A line may have
 * several of them. What is printed is a table; the exit status says whether all of it is as
 * declared.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "daemon/fleet.h"
#include "daemon/setup.h"
#include "fitness/emu/plain.h"

enum {
    COMPILERS = 2,
    COMPILE_MS = 120 * 1000,
    FILES_MAX = 256,
    FAULTS_MAX = 64, /* of a file */
    EXPECTED_MAX = 16,
    LABELS_MAX = 64,
    FILE_BYTES_MAX = 1 << 16,
    SANITIZE_EVERYTHING = 15,
    FAULTY_MIN = 40, /* what the whole folder must come to, when no names are given */
    RIGHT_MIN = 20,
};

struct expected {
    const char *kind, *label;
    int line;
    bool found;
};

struct fault {                      /* or, without a name, the file as it is */
    const char *name, *replacement; /* NULL: the line is left out */
    int line;
    struct expected expected[EXPECTED_MAX];
    int expected_count;
};

struct label {
    const char *name;
    int line;
};

struct file {
    const char *name, *text;
    struct plain_launch launch;
    struct label labels[LABELS_MAX];
    struct fault faults[FAULTS_MAX];
    int label_count, fault_count;
};

static struct {
    struct arena *arena;
    const char *folder;
    struct file *files[FILES_MAX];
    int file_count;
    int right, faulty, deviations;
} all;

static void die(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    exit(1);
}

/* ---- reading ------------------------------------------------------------------------------- */

static const char *trimmed(const char *text, size_t length)
{
    while (length > 0 && strchr(" \t\r", *text) != NULL) {
        text++, length--;
    }
    while (length > 0 && strchr(" \t\r", text[length - 1]) != NULL) {
        length--;
    }
    return arena_text(all.arena, text, length);
}

/* "race @read, out of bounds @write" */
static void read_expected(struct file *file, struct fault *fault, const char *text)
{
    for (;;) {
        size_t length = strcspn(text, ",");
        const char *at = memchr(text, '@', length);

        if (at == NULL || fault->expected_count == EXPECTED_MAX) {
            die(file->name, fault->line, "a finding is 'KIND @label'");
        }
        fault->expected[fault->expected_count++] =
            (struct expected){.kind = trimmed(text, (size_t)(at - text)),
                              .label = trimmed(at + 1, length - (size_t)(at + 1 - text))};
        if (text[length] == '\0') {
            return;
        }
        text += length + 1;
    }
}

/* What stands between two marks, the first of which it begins with. */
static void read_mark(struct file *file, const char *text, size_t length, int line)
{
    const char *body = trimmed(text + 3, length - 3), *colon, *bar;
    struct fault *fault = &file->faults[file->fault_count];

    if (text[2] == '@') {
        if (file->label_count == LABELS_MAX) {
            die(file->name, line, "there are too many labels");
        }
        file->labels[file->label_count++] = (struct label){body, line};
        return;
    }
    colon = strchr(body, ':');
    bar = colon != NULL && text[2] == '=' ? strchr(colon, '|') : NULL;
    if (colon == NULL || (text[2] == '=' && bar == NULL) || file->fault_count == FAULTS_MAX) {
        die(file->name, line, "a fault is 'name: KIND @label', '| line' behind it to replace one");
    }
    *fault = (struct fault){.name = trimmed(body, (size_t)(colon - body)),
                            .replacement = bar != NULL ? trimmed(bar + 1, strlen(bar + 1)) : NULL,
                            .line = line};
    read_expected(file, fault,
                  bar != NULL ? trimmed(colon + 1, (size_t)(bar - colon - 1)) : colon + 1);
    file->fault_count++;
}

static const char *find_mark(const char *at, const char *end)
{
    for (; at + 3 < end; at++) {
        if (at[0] == '/' && at[1] == '/' && (at[2] == '@' || at[2] == '-' || at[2] == '=')) {
            return at;
        }
    }
    return NULL;
}

static void read_marks(struct file *file)
{
    int number = 1;

    for (const char *line = file->text; *line != '\0'; number++) {
        const char *end = line + strcspn(line, "\n"), *next;

        for (const char *mark = find_mark(line, end); mark != NULL; mark = next) {
            next = find_mark(mark + 3, end);
            read_mark(file, mark, (size_t)((next != NULL ? next : end) - mark), number);
        }
        line = end + (*end == '\n');
    }
}

static void resolve_labels(struct file *file)
{
    for (int f = 0; f < file->fault_count; f++) {
        for (int e = 0; e < file->faults[f].expected_count; e++) {
            struct expected *expected = &file->faults[f].expected[e];

            for (int l = 0; l < file->label_count; l++) {
                if (strcmp(file->labels[l].name, expected->label) == 0) {
                    expected->line = file->labels[l].line;
                }
            }
            if (expected->line == 0) {
                die(file->name, file->faults[f].line, "no line has this label");
            }
        }
    }
}

static void read_one(const char *name)
{
    struct file *file = arena_alloc(all.arena, sizeof *file);
    struct buf text = {0};
    struct err err = {0};
    const char *launch;

    file->name = arena_dup(all.arena, name);
    if (!file_read(arena_printf(all.arena, "%s/%s", all.folder, name), FILE_BYTES_MAX, &text,
                   &err)) {
        die(name, 0, err.what);
    }
    file->text = arena_text(all.arena, text.data, text.length);
    buf_free(&text);
    launch = plain_find(all.arena, file->text);
    if (launch == NULL || !plain_read(all.arena, launch, &file->launch, &err)) {
        die(name, 0, launch == NULL ? "no line says how it is launched" : err.what);
    }
    read_marks(file);
    resolve_labels(file);
    all.files[all.file_count++] = file;
}

static bool is_wanted(const char *name, int count, char **wanted)
{
    size_t length = strlen(name);
    bool any = count == 0;

    for (int i = 0; i < count; i++) {
        any = any || str_starts(name, wanted[i]);
    }
    return any && length > 3 && strcmp(name + length - 3, ".cu") == 0;
}

static int by_name(const void *a, const void *b)
{
    const struct file *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void read_all(int count, char **wanted)
{
    DIR *folder = opendir(all.folder);
    const struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL && all.file_count < FILES_MAX) {
        if (is_wanted(entry->d_name, count, wanted)) {
            read_one(entry->d_name);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    qsort(all.files, (size_t)all.file_count, sizeof *all.files, by_name);
}

/* The source with the fault; NULL: as it is. */
static const char *source_with(const struct file *file, const struct fault *fault)
{
    struct buf source = {0};
    const char *text;
    int number = 1;

    for (const char *line = file->text; *line != '\0'; number++) {
        size_t length = strcspn(line, "\n");
        bool changed = fault != NULL && number == fault->line;

        if (!changed) {
            buf_add(&source, line, length);
        } else if (fault->replacement != NULL) {
            buf_puts(&source, fault->replacement);
        }
        buf_puts(&source, "\n");
        line += length + (line[length] == '\n');
    }
    text = arena_text(all.arena, source.data, source.length);
    buf_free(&source);
    return text;
}

/* ---- judging ------------------------------------------------------------------------------- */

/* The kernel's own line: the outermost one in its file. */
static int line_of(const struct file *file, const struct finding_told *finding)
{
    int line = 0;

    for (int i = 0; i < finding->at.count; i++) {
        if (strcmp(finding->at.places[i].file, file->name) == 0) {
            line = finding->at.places[i].line;
        }
    }
    return line;
}

/* Marks what was found; true when it was expected. */
static bool expect(struct fault *fault, const char *kind, int line)
{
    for (int i = 0; i < fault->expected_count; i++) {
        struct expected *expected = &fault->expected[i];

        if (expected->line == line && strcmp(expected->kind, kind) == 0) {
            return expected->found = true;
        }
    }
    return false;
}

static int compare(const struct file *file, struct fault *fault,
                   const struct plain_outcome *outcome, struct buf *row)
{
    int deviations = 0;

    for (int i = 0; i < outcome->finding_count; i++) {
        const struct finding_told *finding = &outcome->findings[i];
        int line = line_of(file, finding);

        if (!expect(fault, finding->kind, line)) {
            buf_printf(row, "    not expected at line %d: %s\n", line, finding->text);
            deviations++;
        }
    }
    for (int i = 0; i < fault->expected_count; i++) {
        if (!fault->expected[i].found) {
            buf_printf(row, "    not found: %s @%s at line %d\n", fault->expected[i].kind,
                       fault->expected[i].label, fault->expected[i].line);
            deviations++;
        }
    }
    if (fault->expected_count > 0 && outcome->finding_count > 0 &&
        strcmp(outcome->findings[0].kind, fault->expected[0].kind) != 0) {
        buf_printf(row, "    decided by: %s\n", outcome->findings[0].text);
        deviations++;
    }
    return deviations;
}

static void write_row(const struct fault *fault, const struct plain_outcome *outcome,
                      struct buf *row)
{
    buf_printf(row, "%6.1f ms  %s", outcome->ms, fault->expected_count == 0 ? "nothing" : "");
    for (int i = 0; i < fault->expected_count; i++) {
        buf_printf(row, "%s%s:%d", i > 0 ? ", " : "", fault->expected[i].kind,
                   fault->expected[i].line);
    }
    buf_puts(row, "\n");
}

static void judge(const struct file *file, struct fault *fault, const struct built *built,
                  struct buf *row)
{
    struct plain_outcome *outcome = arena_alloc(all.arena, sizeof *outcome);
    struct plain_request request = {.ptx = built->ptx,
                                    .ptx_bytes = built->ptx_bytes,
                                    .launch = &file->launch,
                                    .sanitize = SANITIZE_EVERYTHING};
    struct err err = {0};
    int deviations = 1;

    buf_printf(row, "%-20s %-14s ", file->name, fault->name != NULL ? fault->name : "-");
    if (built->verdict != VERDICT_NONE) {
        buf_printf(row, "does not compile: %s\n", built->reason);
    } else if (!plain_run(all.arena, &request, outcome, &err)) {
        buf_printf(row, "does not run: %s\n", err.what);
    } else {
        write_row(fault, outcome, row);
        deviations = compare(file, fault, outcome, row);
    }
    all.deviations += deviations;
    all.right += fault->name == NULL && deviations == 0;
    all.faulty += fault->name != NULL && deviations == 0;
}

/* ---- compiling, some ahead of the judging -------------------------------------------------- */

struct work {
    struct file *file;
    struct fault *fault;
    struct buf row; /* of the table */
};

static struct work *list_work(int *count)
{
    struct work *work =
        arena_alloc(all.arena, (size_t)all.file_count * (FAULTS_MAX + 1) * sizeof *work);

    *count = 0;
    for (int i = 0; i < all.file_count; i++) {
        struct file *file = all.files[i];

        work[(*count)++] =
            (struct work){.file = file, .fault = arena_alloc(all.arena, sizeof(struct fault))};
        for (int f = 0; f < file->fault_count; f++) {
            work[(*count)++] = (struct work){.file = file, .fault = &file->faults[f]};
        }
    }
    return work;
}

static const struct message *message_of(const struct work *work, int number)
{
    const char *source = source_with(work->file, work->fault->name != NULL ? work->fault : NULL);
    struct compile_job job = {
        .id = number,
        .source = source,
        .source_bytes = strlen(source),
        .name = work->file->name,
        .arch = "sm_90a",
        .options = {"-lineinfo", arena_printf(all.arena, "-I%s", all.folder)},
        .option_count = 2,
    };

    return compile_encode(all.arena, &job);
}

static void send_some(struct fleet *fleet, const struct work *work, int count, int *sent)
{
    int worker;

    while (*sent < count && (worker = fleet_idle(fleet, ROLE_COMPILE, 0)) >= 0) {
        fleet_send(fleet, worker, *sent, message_of(&work[*sent], *sent), 1);
        ++*sent;
    }
}

static bool take(const struct fleet_event *event, struct work *work, int *done, struct err *err)
{
    struct built built;

    if (event->kind == FLEET_READY) {
        return true;
    }
    if (event->kind != FLEET_ANSWER) {
        return err_set(err, ERR_SYSTEM, "the compiler: %s", event->text);
    }
    if (!built_decode(all.arena, event->message, &built, err)) {
        return false;
    }
    judge(work[event->job].file, work[event->job].fault, &built, &work[event->job].row);
    ++*done;
    return true;
}

/* Compilers go on while the kernels that they have made are run here. */
static bool run_work(struct fleet *fleet, struct work *work, int count, struct err *err)
{
    int sent = 0, done = 0;

    while (done < count) {
        struct fleet_event events[FLEET_EVENTS_MAX];
        int got = 0;

        if (!fleet_wait(fleet, -1, all.arena, events, &got, err)) {
            return false;
        }
        send_some(fleet, work, count, &sent);
        for (int i = 0; i < got; i++) {
            if (!take(&events[i], work, &done, err)) {
                return false;
            }
        }
    }
    return true;
}

static bool run_all(struct err *err)
{
    const char *program = setup_program(all.arena, "evo-compile", err);
    const char *argv[] = {program, "--read", all.folder, NULL};
    struct fleet *fleet = fleet_new();
    int count;
    struct work *work = list_work(&count);
    bool ok = program != NULL;

    for (int i = 0; i < COMPILERS && ok; i++) {
        ok = fleet_add(fleet, ROLE_COMPILE, "compile", argv, COMPILE_MS, err);
    }
    ok = ok && run_work(fleet, work, count, err);
    for (int i = 0; i < count; i++) {
        printf("%s", work[i].row.data != NULL ? work[i].row.data : "");
        buf_free(&work[i].row);
    }
    fleet_free(fleet);
    return ok;
}

int main(int argc, char **argv)
{
    int64_t start = clock_now_ms();
    struct err err = {0};
    bool ok;

    if (argc < 2) {
        fprintf(stderr, "usage: test_emu_corpus FOLDER [NAME]...\n");
        return 2;
    }
    all.arena = arena_new();
    all.folder = realpath(argv[1], NULL);
    read_all(argc - 2, argv + 2);
    ok = run_all(&err);
    if (!ok) {
        fprintf(stderr, "%s\n", err.what);
    } else {
        printf("%d right kernels without a finding, %d faults found as declared, %d deviations; "
               "%.1f s\n",
               all.right, all.faulty, all.deviations, (double)(clock_now_ms() - start) / 1e3);
    }
    ok = ok && all.deviations == 0 &&
         (argc > 2 || (all.faulty >= FAULTY_MIN && all.right >= RIGHT_MIN));
    arena_free(all.arena);
    return ok ? 0 : 1;
}
