/*
 * Every barrier of a family is there for a reason: without it, something is found. One family a
 * call, as test_emu_device:
 *
 *     test_emu_barriers attention_tiled
 *
 * A barrier is whatever a thread waits at or orders by: block barriers, warp synchronisation, the
 * waits of copies, of mbarriers, of wgmma and of clusters, fences of proxies. It is known by its
 * place in the source with all the calls that lead there, so copies that the compiler has made of
 * it are one. It is taken out of the PTX and not of the source: no name of a helper has to be
 * known, and nothing else of the program changes.
 *
 * What decides is the place, not the genome: a kernel of a single tile does not need the barrier
 * before the next one. So each place that a barrier was met at must be necessary in one genome at
 * least: without it the kernel has a finding, or a wrong answer, or no end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "emu_family.h"
#include "fitness/emu/ptx.h"

enum {
    PLACES_MAX = 4, /* of a chain of calls */
    SITES_MAX = 1024,
    TRIES = 48,        /* further genomes for a barrier that has not been shown to be necessary */
    NUMBERS_FIRST = 3, /* of them, with no other choice */
};

/* Several tiles of any width, few queries: each genome takes the first that it supports. */
static const char *const shapes[] = {
    "1x1x40/421x64", "1x1x70/421x64:causal:lse", "1x1x40/421x128", "1x1x200/421x64:causal",
    "1x1x128x64",
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

struct site {
    const char *what; /* "bar.sync" */
    struct {
        const char *file;
        int line, column; /* column 0: of the innermost nobody keeps it */
    } places[PLACES_MAX];
    int count;
};

static struct {
    struct barrier {
        struct site site;
        bool needed;
        struct genome genome; /* the first that had it */
        const char *shape;
    } barriers[SITES_MAX];
    int count, runs;
} met;

/* ---- the barriers of a program -------------------------------------------------------------- */

enum removal { KEPT, LEFT_OUT, PASSED }; /* passed: a test that holds at once */

static enum removal removal_of(const struct ptx_instruction *op)
{
    static const struct {
        const char *opcode; /* as it begins */
        enum removal removal;
    } barriers[] = {
        {"bar.sync", LEFT_OUT},
        {"bar.warp.sync", LEFT_OUT},
        {"barrier.sync", LEFT_OUT},
        {"barrier.cta.sync", LEFT_OUT},
        {"barrier.cluster", LEFT_OUT},
        {"cp.async.wait_", LEFT_OUT},
        {"cp.async.bulk.wait_group", LEFT_OUT},
        {"wgmma.wait_group", LEFT_OUT},
        {"wgmma.fence", LEFT_OUT},
        {"fence.proxy", LEFT_OUT},
        {"mbarrier.try_wait", PASSED},
        {"mbarrier.test_wait", PASSED},
    };

    for (size_t i = 0; i < sizeof barriers / sizeof *barriers; i++) {
        if (strncmp(op->opcode, barriers[i].opcode, strlen(barriers[i].opcode)) == 0) {
            return barriers[i].removal;
        }
    }
    return KEPT;
}

static const char *file_of(const struct ptx_module *module, int file)
{
    const char *name = file > 0 && file < module->file_count ? module->files[file] : NULL;
    const char *slash = name != NULL ? strrchr(name, '/') : NULL;

    return slash != NULL ? slash + 1 : name != NULL ? name : "";
}

static struct site site_of(const struct ptx_module *module, const struct ptx_instruction *op)
{
    struct site site = {.what = op->opcode, .count = 1};

    site.places[0].file = file_of(module, op->file);
    site.places[0].line = op->source_line;
    for (const struct ptx_place *at = op->caller; at != NULL && site.count < PLACES_MAX;
         at = at->caller) {
        site.places[site.count].file = file_of(module, at->file);
        site.places[site.count].line = at->line;
        site.places[site.count++].column = at->column;
    }
    return site;
}

static bool site_equal(const struct site *a, const struct site *b)
{
    for (int i = 0; i < a->count && i < b->count; i++) {
        if (a->places[i].line != b->places[i].line || a->places[i].column != b->places[i].column ||
            strcmp(a->places[i].file, b->places[i].file) != 0) {
            return false;
        }
    }
    return a->count == b->count && strcmp(a->what, b->what) == 0;
}

/* The barrier of the place; NULL: it has not been met. */
static struct barrier *barrier_find(const struct site *site)
{
    for (int i = 0; i < met.count; i++) {
        if (site_equal(&met.barriers[i].site, site)) {
            return &met.barriers[i];
        }
    }
    return NULL;
}

static struct ptx_module *parse(const struct judge_image *image)
{
    struct ptx_module *module;
    struct err err = {0};

    if (!ptx_parse(all.arena, image->ptx, image->ptx_bytes, &module, &err)) {
        fail_msg("%s", err.what);
    }
    return module;
}

/* Calls each(instruction, context) for all barriers of the program. */
static void each_barrier(const struct ptx_module *module,
                         void (*each)(const struct ptx_module *, const struct ptx_instruction *,
                                      void *),
                         void *context)
{
    for (int f = 0; f < module->function_count; f++) {
        const struct ptx_function *function = &module->functions[f];

        for (int i = 0; i < function->instruction_count; i++) {
            if (removal_of(&function->instructions[i]) != KEPT) {
                each(module, &function->instructions[i], context);
            }
        }
    }
}

/* What a program has: where its barriers stand, each once. */
struct barriers {
    struct barrier *all[SITES_MAX];
    int count;
    const struct genome *genome;
    const char *shape;
};

static void note_barrier(const struct ptx_module *module, const struct ptx_instruction *op,
                         void *context)
{
    struct barriers *barriers = context;
    struct site site = site_of(module, op);
    struct barrier *barrier = barrier_find(&site);

    if (barrier == NULL) {
        assert_true(met.count < SITES_MAX);
        barrier = &met.barriers[met.count++];
        *barrier =
            (struct barrier){.site = site, .genome = *barriers->genome, .shape = barriers->shape};
    }
    for (int i = 0; i < barriers->count; i++) {
        if (barriers->all[i] == barrier) {
            return;
        }
    }
    barriers->all[barriers->count++] = barrier;
}

/* ---- taking one out ------------------------------------------------------------------------- */

struct cut {
    const struct site *site;
    struct buf *text;
    const char *from; /* of the old text: what has not been copied yet */
    const char *line; /* where a line begins */
    int number;       /* of it */
};

static void cut_out(const struct ptx_module *module, const struct ptx_instruction *op,
                    void *context)
{
    struct cut *cut = context;
    struct site site = site_of(module, op);
    const char *at, *end;

    if (!site_equal(&site, cut->site)) {
        return;
    }
    for (; cut->number < op->line; cut->number++) {
        cut->line = strchr(cut->line, '\n') + 1;
    }
    at = strstr(cut->line > cut->from ? cut->line : cut->from, op->opcode);
    assert_non_null(at);
    end = strchr(at, ';');
    assert_non_null(end);
    buf_add(cut->text, cut->from, (size_t)(at - cut->from));
    if (removal_of(op) == LEFT_OUT) { /* its guard needs something to stand before */
        buf_puts(cut->text, "nanosleep.u32 0");
    } else {
        const char *result = at + strlen(op->opcode);

        result += strspn(result, " \t");
        buf_printf(cut->text, "mov.pred %.*s, 1", (int)strcspn(result, " \t,|"), result);
    }
    cut->from = end;
}

static const char *text_without(const struct judge_image *image, const struct ptx_module *module,
                                const struct site *site)
{
    struct buf text = {0};
    struct cut cut = {
        .site = site, .text = &text, .from = image->ptx, .line = image->ptx, .number = 1};
    const char *kept;

    each_barrier(module, cut_out, &cut);
    buf_puts(&text, cut.from);
    kept = arena_text(all.arena, text.data, text.length);
    buf_free(&text);
    return kept;
}

/* ---- running -------------------------------------------------------------------------------- */

static const struct emulation *run(const struct judge_image *image)
{
    struct emulation *emulation = arena_alloc(all.arena, sizeof *emulation);
    struct emulate_request request = {
        .image = image, .problem = all.problem, .profile_blocks = -1, .secret = 1};
    struct err err = {0};

    assert_true(sanitize_parse("all", &request.sanitize, &err));
    met.runs++;
    return emulate(all.arena, &request, emulation, &err) ? emulation : NULL;
}

static void try_without(struct barrier *barrier, const struct judge_image *image,
                        const struct ptx_module *module)
{
    struct judge_image changed = *image;
    const struct emulation *emulation;

    changed.ptx = text_without(image, module, &barrier->site);
    changed.ptx_bytes = strlen(changed.ptx);
    emulation = run(&changed);
    assert_non_null(emulation);
    if (emulation->verdict == VERDICT_UNSUPPORTED) {
        fail_msg("%s", emulation->reason);
    }
    barrier->needed = emulation->verdict != VERDICT_PASS;
}

/*
 * Builds the genome, and tries it without each of its barriers that has not been shown to be
 * necessary. False: the shape is not for it.
 */
static bool run_genome(const struct genome *genome, const char *shape)
{
    struct barriers *barriers = arena_alloc(all.arena, sizeof *barriers);
    struct judge_image image;
    const struct emulation *whole;
    struct ptx_module *module;

    build(genome, &image);
    whole = run(&image);
    if (whole == NULL) {
        return false;
    }
    if (whole->verdict != VERDICT_PASS) {
        fail_msg("%s on %s: %s", genome_text(all.arena, all.family, genome), shape, whole->reason);
    }
    module = parse(&image);
    *barriers = (struct barriers){.genome = genome, .shape = shape};
    each_barrier(module, note_barrier, barriers);
    for (int i = 0; i < barriers->count; i++) {
        if (!barriers->all[i]->needed) {
            try_without(barriers->all[i], &image, module);
        }
    }
    return true;
}

/* Genomes with each value of each gene, on each shape in turn. */
static void meet_barriers(void)
{
    int turn = 0, unsupported = 0, ran = 0;

    for (forget_genomes(); all.left > 0 && unsupported < SHAPES; turn++) {
        const char *shape = shapes[turn % SHAPES];
        struct genome genome;

        choose_problem(shape);
        if (choose_genome(&genome) && run_genome(&genome, shape)) {
            mark_genome(&genome);
            unsupported = 0;
            ran++;
        } else {
            unsupported++;
        }
    }
    if (ran == 0) {
        fail_msg("no genome supports any of the shapes");
    }
}

static bool is_choice(const struct gene *gene)
{
    return gene->kind == GENE_CHOICE || gene->count == 2;
}

/* The gene and value of the nth genome that differs by one choice or flag; false: no more. */
static bool other_choice(const struct genome *like, int nth, int *which, int *value)
{
    for (*which = 0; *which < all.family->gene_count; ++*which) {
        for (*value = 0; *value < all.family->genes[*which].count; ++*value) {
            if (is_choice(&all.family->genes[*which]) && *value != like->at[*which] && nth-- == 0) {
                return true;
            }
        }
    }
    return false;
}

/*
 * A feasible genome like the one that had it: at first with other numbers, then with one other
 * choice too, as on choices barriers depend most, and at last with any choices.
 */
static bool vary(const struct genome *like, int turn, struct genome *genome)
{
    int which = -1, value = 0;
    bool one = turn >= NUMBERS_FIRST && other_choice(like, turn - NUMBERS_FIRST, &which, &value);
    bool any = turn >= NUMBERS_FIRST && !one;

    for (int i = 0; i < DRAWS; i++) {
        struct rng rng = rng_at(11, 2, all.draw++);

        *genome = *like;
        for (int g = 0; g < all.family->gene_count; g++) {
            if (is_choice(&all.family->genes[g]) == any) {
                genome->at[g] = (uint8_t)rng_below(&rng, (uint32_t)all.family->genes[g].count);
            }
        }
        if (one) {
            genome->at[which] = (uint8_t)value;
        }
        if (values_of(genome) != NULL) {
            return true;
        }
    }
    return false;
}

static void insist(const struct barrier *barrier)
{
    const struct genome like = barrier->genome;

    for (int turn = 0; !barrier->needed && turn < TRIES; turn++) {
        struct genome genome;

        choose_problem(shapes[turn % SHAPES]);
        if (vary(&like, turn, &genome)) {
            run_genome(&genome, shapes[turn % SHAPES]);
        }
    }
}

static void print_site(const struct site *site)
{
    print_message("  %-28s", site->what);
    for (int i = 0; i < site->count; i++) {
        print_message(" %s%s:%d", i > 0 ? "< " : "", site->places[i].file, site->places[i].line);
    }
    print_message("\n");
}

static void every_barrier_is_necessary(void **state)
{
    int64_t start = clock_now_ms();
    int idle = 0;

    (void)state;
    meet_barriers();
    for (int i = 0; i < met.count; i++) {
        insist(&met.barriers[i]);
    }
    for (int i = 0; i < met.count; i++) {
        const struct barrier *barrier = &met.barriers[i];

        print_site(&barrier->site);
        if (!barrier->needed) {
            print_message("    is not necessary to any genome like %s on %s\n",
                          genome_text(all.arena, all.family, &barrier->genome), barrier->shape);
            idle++;
        }
    }
    print_message("%s: %d barriers, %d of them idle; %d runs in %.1f s\n", all.family->name,
                  met.count, idle, met.runs, (double)(clock_now_ms() - start) / 1e3);
    assert_int_equal(idle, 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_barrier_is_necessary),
    };
    int failed;

    if (!family_open(argc > 1 ? argv[1] : "attention_tiled")) {
        return 1;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(all.arena);
    return failed;
}
