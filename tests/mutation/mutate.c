/*
 * mutate -- damages correct templates in small ways, and asks whether the gate notices.
 *
 *     mutate [--count N] [--seed S] [--family NAME]… [--known FILE] [--list]
 *
 * A few genomes of every template are drawn and rendered; the gate must pass each as it is. Then N
 * changes (damage.h) are drawn, every kind alike, compiled and judged on the emulated device, on
 * the shapes that a search there uses, causal and not. What does not compile, or compiles to the
 * machine code that it had before, is replaced by another. What passes is a survivor. --known names
 * a file of survivors that were looked at, a line each: FILE, a tab, the damaged line, a tab, why
 * nothing is wrong with it. An unknown survivor, and a genome that does not pass as it is, is a
 * failure: exit status 1. --list prints every mutant and its verdict.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"
#include "daemon/batch.h"
#include "daemon/planted.h"
#include "daemon/setup.h"
#include "daemon/shapes.h"
#include "mutation/damage.h"

enum {
    GENOMES = 4, /* of each family */
    FAMILIES_MAX = 16,
    BASES_MAX = FAMILIES_MAX * GENOMES,
    DRAWS_MAX = 1 << 16, /* of a genome until it is feasible */
    ROUND = 32,          /* mutants judged together */
    DEADLINE_MS = 300 * 1000,
    CASES = 1, /* for each input family and shape: fewer than any search asks for */
};

/*
 * Each genome of a family is for another of these. The shapes that it is judged on are those that a
 * search on the emulated device derives from it.
 */
static const char *const works[] = {"1x8x512x64", "1x8/2x512x64:causal:lse", "2x8x512x64:bf16:bshd",
                                    "1x8x512x128:causal"};
enum { WORKS = sizeof works / sizeof *works };

/* A genome of a template, undamaged. */
struct base {
    const struct family *family;
    const char *genes, *source;
    struct program program;
    struct shapes shapes;
    struct damage *sites;
    int site_count;
    struct hash code_key;
};

struct mutant {
    const struct base *base;
    const struct damage *damage;
    struct batch_item *item;
};

static struct run {
    struct arena *arena;
    struct template_set *set;
    const struct hello *judge;
    struct batch batch;
    uint64_t seed;
    const char *only[FAMILIES_MAX];
    int only_count;
    bool list;
    struct base bases[BASES_MAX];
    int base_count;
    const char *known; /* the text of the file of survivors */
    int judged, killed, survived, unknown, refused, same;
    int by_kind[DAMAGE_KINDS][2]; /* killed, survived */
    int by_verdict[VERDICT_COUNT];
} run = {.seed = 1};

static void die(const struct err *err)
{
    fprintf(stderr, "mutate: %s%s%s\n", err->what, *err->hint != '\0' ? "; " : "", err->hint);
    exit(1);
}

/* ---- bases ---- */

static bool supports_all(const struct program *program, const struct shapes *shapes)
{
    bool all = true;

    for (int i = 0; i < shapes->count && all; i++) {
        struct plan plan;
        struct err err;

        all = plan_resolve(run.arena, program, &shapes->list[i].problem, 1, &plan, &all, &err) &&
              all;
    }
    return all;
}

/* Draws until it is feasible for the work and does its shapes. */
static bool draw_base(const struct family *family, int number, struct base *base)
{
    struct rng rng = rng_at(run.seed, 1, (uint64_t)(run.base_count + number * 1000));
    int64_t *values = arena_alloc(run.arena, (size_t)family->symbols->count * sizeof *values);
    int work = number % WORKS;
    struct err err = {0};

    base->shapes = (struct shapes){.count = 1};
    if (!problem_parse(works[work], &base->shapes.list[0].problem, &err)) {
        die(&err);
    }
    shapes_choose(&base->shapes, run.judge, NULL, 0);
    struct givens givens = setup_givens(&base->shapes.list[0].problem, run.judge);
    for (int draw = 0; draw < DRAWS_MAX; draw++) {
        struct genome genome = {0};
        struct buf source = {0};

        for (int i = 0; i < family->gene_count; i++) {
            genome.at[i] = (uint8_t)rng_below(&rng, (uint32_t)family->genes[i].count);
        }
        if (!family_feasible(family, &genome, &givens, values, NULL) ||
            family_numerics(family, values) != 0) {
            continue;
        }
        if (!family_program(run.arena, family, values, &base->program, &err) ||
            !render_source(run.set, family, &genome, &givens, &source, &err)) {
            die(&err);
        }
        if (supports_all(&base->program, &base->shapes)) {
            base->family = family;
            base->genes = genome_text(run.arena, family, &genome);
            base->source = arena_text(run.arena, source.data, source.length);
            base->site_count = damage_find(run.arena, base->source, &base->sites);
            buf_free(&source);
            return true;
        }
        buf_free(&source);
    }
    return false;
}

static bool wanted(const char *name)
{
    for (int i = 0; i < run.only_count; i++) {
        if (strcmp(run.only[i], name) == 0) {
            return true;
        }
    }
    return run.only_count == 0;
}

static void draw_bases(void)
{
    struct err err = {0};

    for (int i = 0; i < run.set->count; i++) {
        const char *file = run.set->files[i].name;
        const char *name = arena_text(run.arena, file, strcspn(file, "."));
        struct family *family;

        if (str_starts(file, "include/") || !wanted(name)) {
            continue;
        }
        if (!template_set_family(run.set, name, &family, &err)) {
            die(&err);
        }
        for (int n = 0; n < GENOMES && run.base_count < BASES_MAX; n++) {
            run.base_count += draw_base(family, n, &run.bases[run.base_count]);
        }
    }
}

/* ---- judging ---- */

static void fill_item(const struct base *base, const char *source, struct batch_item *item)
{
    struct judge_job *job = arena_alloc(run.arena, sizeof *job);

    *item = (struct batch_item){
        .compile = {.source = source,
                    .source_bytes = strlen(source),
                    .name = arena_printf(run.arena, "%s.cu", base->family->name),
                    .arch = setup_arch(run.arena, run.judge),
                    .entry_count = base->program.kernel_count,
                    .options = {"-lineinfo"},
                    .option_count = 1},
        .job = job};
    for (int i = 0; i < base->program.kernel_count; i++) {
        item->compile.entries[i] = base->program.kernels[i].name;
    }
    job->genes = "";
    job->images[0].program = base->program;
    for (int i = 0; i < base->shapes.count; i++) {
        if (base->shapes.list[i].use == USE_GATE) { /* the others would only be timed, or once run */
            job->problems[job->problem_count].problem = base->shapes.list[i].problem;
            job->problems[job->problem_count++].use = USE_GATE;
        }
    }
    job->effort = EFFORT_CORRECT;
    job->cases_per_family = CASES;
    struct rng rng = rng_at(run.seed, 2, (uint64_t)run.judged);
    job->secret = rng_u64(&rng);
}

static void judge_all(struct batch_item *items, int count)
{
    struct err err = {0};
    bool done;

    if (!batch_run(&run.batch, items, count, &done, &err)) {
        die(&err);
    }
}

/* What is damaged must be right before. */
static bool bases_pass(void)
{
    struct batch_item *items = arena_alloc(run.arena, BASES_MAX * sizeof *items);
    bool pass = true;

    for (int i = 0; i < run.base_count; i++) {
        fill_item(&run.bases[i], run.bases[i].source, &items[i]);
    }
    judge_all(items, run.base_count);
    for (int i = 0; i < run.base_count; i++) {
        run.bases[i].code_key = items[i].built.code_key;
        if (batch_verdict(&items[i]) != VERDICT_PASS) {
            printf("UNDAMAGED %s gets %s: %s\n", run.bases[i].genes,
                   verdict_names[batch_verdict(&items[i])], batch_reason(&items[i]));
            pass = false;
        }
    }
    return pass;
}

/* Why a survivor is no loss, by the file of those that were looked at; NULL: it is unknown. */
static const char *explanation(const struct damage *damage)
{
    const char *key = arena_printf(run.arena, "%s\t%s\t", damage->file, damage->after);

    for (const char *line = run.known; *line != '\0';) {
        size_t length = strcspn(line, "\n");

        if (str_starts(line, key)) {
            return arena_text(run.arena, line + strlen(key), length - strlen(key));
        }
        line += length + (line[length] == '\n');
    }
    return NULL;
}

static void tell(const struct mutant *mutant, const char *what, const char *reason)
{
    const struct damage *damage = mutant->damage;

    printf("%s: %s:%d (%s) of %s\n    - %s\n    + %s\n%s%s%s", what, damage->file, damage->line,
           damage_names[damage->kind], mutant->base->genes, damage->before, damage->after,
           *reason != '\0' ? "    " : "", reason, *reason != '\0' ? "\n" : "");
}

static void count_mutant(const struct mutant *mutant)
{
    enum verdict verdict = batch_verdict(mutant->item);
    const struct built *built = &mutant->item->built;

    if (built->verdict != VERDICT_NONE) {
        run.refused++;
        return;
    }
    if (hash_equal(&built->code_key, &mutant->base->code_key)) {
        run.same++;
        return;
    }
    run.judged++;
    run.by_verdict[verdict]++;
    run.by_kind[mutant->damage->kind][verdict == VERDICT_PASS]++;
    if (verdict != VERDICT_PASS) {
        run.killed++;
        if (run.list) {
            tell(mutant, verdict_names[verdict], batch_reason(mutant->item));
        }
        return;
    }
    const char *why = explanation(mutant->damage);

    run.survived++;
    run.unknown += why == NULL;
    if (why == NULL || run.list) {
        tell(mutant, why == NULL ? "SURVIVOR" : "survivor", why == NULL ? "" : why);
    }
}

/* Every kind alike, then every base alike, then every site. */
static struct mutant draw_mutant(int64_t number)
{
    struct rng rng = rng_at(run.seed, 3, (uint64_t)number);

    for (;;) {
        const struct base *base = &run.bases[rng_below(&rng, (uint32_t)run.base_count)];
        enum damage_kind kind = (enum damage_kind)rng_below(&rng, DAMAGE_KINDS);
        const struct damage *damage =
            &base->sites[rng_below(&rng, (uint32_t)base->site_count)];

        if (damage->kind == kind) {
            return (struct mutant){.base = base, .damage = damage};
        }
    }
}

static void mutate(int count)
{
    struct arena *kept = run.arena;
    int64_t drawn = 0;

    while (run.judged < count) {
        int missing = count - run.judged, round = missing < ROUND ? missing : ROUND;
        struct mutant mutants[ROUND];
        struct batch_item items[ROUND];

        run.arena = run.batch.arena = arena_new();
        for (int i = 0; i < round; i++) {
            mutants[i] = draw_mutant(drawn++);
            mutants[i].item = &items[i];
            fill_item(mutants[i].base,
                      damage_do(run.arena, mutants[i].base->source, mutants[i].damage), &items[i]);
        }
        judge_all(items, round);
        for (int i = 0; i < round && run.judged < count; i++) {
            count_mutant(&mutants[i]);
        }
        arena_free(run.arena);
        fprintf(stderr, "mutate: %d of %d judged, %d survived\n", run.judged, count, run.survived);
    }
    run.arena = run.batch.arena = kept;
}

/* ---- telling ---- */

static void summarise(double seconds)
{
    printf("\n%-12s %8s %8s\n", "damage", "killed", "survived");
    for (int kind = 0; kind < DAMAGE_KINDS; kind++) {
        printf("%-12s %8d %8d\n", damage_names[kind], run.by_kind[kind][0], run.by_kind[kind][1]);
    }
    printf("%-12s %8d %8d\n\n", "all", run.killed, run.survived);
    for (int verdict = 0; verdict < VERDICT_COUNT; verdict++) {
        if (run.by_verdict[verdict] > 0) {
            printf("%-14s %6d\n", verdict_names[verdict], run.by_verdict[verdict]);
        }
    }
    printf("\n%d mutants of %d kernels judged in %.0f s; %d more did not compile, %d had the same "
           "machine code\n%d survivors, %d of them unknown\n",
           run.judged, run.base_count, seconds, run.refused, run.same, run.survived, run.unknown);
}

static void usage(void)
{
    fputs("usage: mutate [--count N] [--seed S] [--family NAME]... [--known FILE] [--list]\n",
          stderr);
    exit(2);
}

static int read_options(int argc, char **argv, struct buf *known)
{
    int64_t count = 200, seed = 1;
    struct err err = {0};

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--list") == 0) {
            run.list = true;
            continue;
        }
        if (value == NULL) {
            usage();
        }
        i++;
        if (strcmp(argv[i - 1], "--family") == 0 && run.only_count < FAMILIES_MAX) {
            run.only[run.only_count++] = value;
        } else if (strcmp(argv[i - 1], "--known") == 0) {
            if (!file_read(value, 1 << 20, known, &err)) {
                die(&err);
            }
        } else if (!(strcmp(argv[i - 1], "--count") == 0 && str_to_i64(value, &count)) &&
                   !(strcmp(argv[i - 1], "--seed") == 0 && str_to_i64(value, &seed))) {
            usage();
        }
    }
    run.seed = (uint64_t)seed;
    return count > 0 && count < 1000000 ? (int)count : 0;
}

int main(int argc, char **argv)
{
    struct buf known = {0};
    int count = read_options(argc, argv, &known), judge;
    int64_t start = clock_now_ms();
    struct err err = {0};
    const char *folder;
    bool pass;

    run.arena = arena_new();
    run.known = known.data != NULL ? known.data : "";
    run.set = template_set_new(run.arena);
    run.batch = (struct batch){.fleet = fleet_new(), .arena = run.arena};
    folder = templates_folder(run.arena, &err);
    if (folder == NULL || !template_set_load(run.set, folder, &err) ||
        !setup_staff_device(run.arena, "emu", DEADLINE_MS, run.batch.fleet, &err) ||
        !batch_await(&run.batch, &judge, &err)) {
        die(&err);
    }
    run.judge = fleet_hello(run.batch.fleet, judge);
    draw_bases();
    pass = bases_pass();
    if (pass) {
        mutate(count);
    }
    summarise((double)(clock_now_ms() - start) / 1e3);
    fleet_free(run.batch.fleet);
    arena_free(run.arena);
    buf_free(&known);
    return pass && run.unknown == 0 ? 0 : 1;
}
