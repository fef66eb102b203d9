/*
 * The families that come with evo, through the real compiler: every value of every gene builds, for
 * every device and problem, changes the machine code, and breaks no rule of the contract.
 *
 * What is built is a sample that is drawn the same way each time. EVO_THOROUGH=1 builds far more.
 * One family a call, or all in the folder:
 *
 *     test_templates attention_tiled
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/frame.h"
#include "base/proc.h"
#include "base/rng.h"
#include "base/str.h"
#include "fitness/job.h"
#include "genome/render.h"

enum {
    FAMILIES_MAX = 32,
    SKIPPED = 77, /* CTest's word for it is in CMakeLists.txt */
    WORKERS = 2,
    ANSWER_MS = 120 * 1000,
    CANDIDATES_MAX = 1 << 14,
    DRAWS = 20000,      /* genomes drawn for one that is feasible and as wanted, before giving up */
    BASE_DRAWS = 1000,  /* genomes among which a base for single mutations is chosen */
    COVER_DRAWS = 200,  /* feasible genomes among which the one that covers most is chosen */
    ROUNDS = 6,         /* contexts in which a value may show that it changes something */
    CONTEXTS = 10,      /* of each value, for EVO_THOROUGH: single mutations from anywhere */
    SPILL_BYTES_MAX = 128, /* of a kernel */
    PAIR_GENOMES = 10,  /* of a family, that cover pairs of values */
    COVERED_VALUES = 16, /* of a gene, at most */
    PAIRS_MAX = GENES_MAX * COVERED_VALUES * GENES_MAX * COVERED_VALUES,
};

static const struct target {
    const char *arch;
    int64_t number, smem_max;
} targets[] = {
    {"sm_90a", 90, 232448}, {"sm_80", 80, 166912},  {"sm_86", 86, 101376},
    {"sm_89", 89, 101376},  {"sm_100", 100, 232448}, {"sm_120", 120, 101376},
};
enum { TARGETS = sizeof targets / sizeof *targets };

/* What is fixed for a genome. */
struct setting {
    const struct target *target;
    int head_dim, causal, bf16, lse;
};

static const struct setting plain = {.target = targets, .head_dim = 64};
/* Some values are of use under a causal mask alone. */
static const struct setting causal = {.target = targets, .head_dim = 64, .causal = 1};

struct candidate {
    struct setting setting;
    struct genome genome;
    struct hash plan; /* how it is launched for one shape */
    struct hash code_key;
    struct entry_facts facts;
};

static struct {
    struct arena *arena;
    struct template_set *set;
    const char *only; /* NULL: every family in the folder */
    struct family *families[FAMILIES_MAX];
    int family_count;
    bool thorough;
    struct peer {
        struct proc proc;
        struct arena *arena; /* of one job: thousands of programs would not fit in memory */
        struct buf wire;
        struct candidate *at; /* what it builds; NULL: idle */
    } peers[WORKERS];
    struct candidate *candidates[CANDIDATES_MAX]; /* all that was ever asked for, each once */
    int count, built;                              /* those from `built` on are still to be built */
} all;

/* Workers -------------------------------------------------------------------------------------- */

static void peer_wait(struct peer *peer, short events)
{
    struct pollfd stream = {.fd = events == POLLIN ? peer->proc.from : peer->proc.to,
                            .events = events};

    if (poll(&stream, 1, ANSWER_MS) <= 0) {
        fail_msg("a compile worker did not answer");
    }
}

/* The next message if all of it is there, reading once; NULL: not yet. */
static struct message *peer_take(struct peer *peer)
{
    struct message *message = NULL;
    struct err err = {0};
    char chunk[65536];
    ssize_t got = read(peer->proc.from, chunk, sizeof chunk);

    if (got == 0) {
        fail_msg("a compile worker has ended");
    }
    buf_add(&peer->wire, chunk, got > 0 ? (size_t)got : 0);
    if (!frame_take(&peer->wire, peer->arena, &message, &err)) {
        fail_msg("%s", err.what);
    }
    return message;
}

static void peer_start(struct peer *peer)
{
    char *argv[] = {EVO_BINARY_DIR "/bin/evo-compile", "--cache",
                    EVO_BINARY_DIR "/test-templates.cache", NULL};
    struct message *message;
    struct hello hello;
    struct err err = {0};

    peer->arena = arena_new();
    assert_true(proc_spawn(&peer->proc, argv, &err));
    do {
        peer_wait(peer, POLLIN);
    } while ((message = peer_take(peer)) == NULL);
    assert_true(hello_decode(peer->arena, message, &hello, &err));
}

static struct givens givens_of(const struct setting *setting)
{
    return (struct givens){{
        [GIVEN_HEAD_DIM] = setting->head_dim, [GIVEN_CAUSAL] = setting->causal,
        [GIVEN_BF16] = setting->bf16, [GIVEN_LSE] = setting->lse,
        [GIVEN_DEVICE_SMEM_MAX] = setting->target->smem_max,
        [GIVEN_DEVICE_ARCH] = setting->target->number,
    }};
}

static void peer_write(struct peer *peer, const struct message *message)
{
    struct buf wire = {0};
    size_t done = 0;

    message_encode(message, &wire);
    while (done < wire.length) {
        ssize_t put;

        peer_wait(peer, POLLOUT);
        put = write(peer->proc.to, wire.data + done, wire.length - done);
        assert_true(put > 0 || errno == EAGAIN);
        done += put > 0 ? (size_t)put : 0;
    }
    buf_free(&wire);
}

static void peer_send(struct peer *peer, struct candidate *candidate)
{
    const struct family *family = all.families[candidate->genome.family];
    struct givens givens = givens_of(&candidate->setting);
    struct compile_job job = {.id = all.built, .arch = candidate->setting.target->arch,
                              .entry_count = family->program.kernel_count};
    struct buf source = {0};
    struct err err = {0};

    arena_reset(peer->arena);
    for (int i = 0; i < job.entry_count; i++) {
        job.entries[i] = family->program.kernels[i].name;
    }
    if (!render_source(all.set, family, &candidate->genome, &givens, &source, &err)) {
        fail_msg("%s", err.what);
    }
    job.source = source.data;
    job.source_bytes = source.length;
    job.name = arena_printf(peer->arena, "%s.cu", family->name);
    peer_write(peer, compile_encode(peer->arena, &job));
    buf_free(&source);
    peer->at = candidate;
}

static const char *name_of(const struct candidate *candidate)
{
    const struct setting *setting = &candidate->setting;

    return arena_printf(all.arena, "%s (%s, D=%d%s%s%s)",
                        genome_text(all.arena, all.families[candidate->genome.family],
                                    &candidate->genome),
                        setting->target->arch, setting->head_dim,
                        setting->causal ? ", causal" : "", setting->bf16 ? ", BF16" : "",
                        setting->lse ? ", LSE" : "");
}

/* What is built must be what the contract asks for: verdict NONE also says no state, no calls. */
static void check_built(const struct candidate *candidate, const struct built *built)
{
    if (built->verdict != VERDICT_NONE) {
        fail_msg("%s: %s: %s\n%.2000s", name_of(candidate), verdict_names[built->verdict],
                 built->reason, built->log);
    }
    for (int i = 0; i < built->entry_count; i++) {
        assert_int_equal(built->entries[i].static_smem_bytes, 0);
    }
    if (strstr(built->ptx, ".global .align") != NULL ||
        strstr(built->ptx, ".const .align") != NULL) {
        fail_msg("%s: its PTX holds a variable at file scope", name_of(candidate));
    }
}

static void peer_receive(struct peer *peer)
{
    struct candidate *candidate = peer->at;
    struct message *message = peer_take(peer);
    struct built built;
    struct err err = {0};

    if (message == NULL) {
        return;
    }
    if (!built_decode(peer->arena, message, &built, &err)) {
        fail_msg("%s", err.what);
    }
    check_built(candidate, &built);
    candidate->code_key = built.code_key;
    candidate->facts = built.entries[0];
    peer->at = NULL;
}

/* Builds all that was asked for. */
static void build_all(void)
{
    for (;;) {
        struct pollfd streams[WORKERS];
        int busy = 0;

        for (int i = 0; i < WORKERS; i++) {
            struct peer *peer = &all.peers[i];

            if (peer->at == NULL && all.built < all.count) {
                peer_send(peer, all.candidates[all.built++]);
            }
            busy += peer->at != NULL;
            streams[i] = (struct pollfd){.fd = peer->at != NULL ? peer->proc.from : -1,
                                         .events = POLLIN};
        }
        if (busy == 0) {
            return;
        }
        assert_true(poll(streams, WORKERS, ANSWER_MS) > 0);
        for (int i = 0; i < WORKERS; i++) {
            if (streams[i].revents != 0) {
                peer_receive(&all.peers[i]);
            }
        }
    }
}

/* Genomes -------------------------------------------------------------------------------------- */

static bool feasible(const struct setting *setting, const struct genome *genome)
{
    struct givens givens = givens_of(setting);
    int64_t values[FAMILY_SYMBOLS_MAX];

    return family_feasible(all.families[genome->family], genome, &givens, values, NULL);
}

/* How it is launched for a shape of the setting. */
static struct hash plan_of(const struct setting *setting, const struct genome *genome)
{
    const struct family *family = all.families[genome->family];
    struct problem problem = {.batch = 1, .heads = 8, .kv_heads = 8, .q_len = 512, .kv_len = 512,
                              .head_dim = setting->head_dim};
    struct givens givens = givens_of(setting);
    int64_t values[FAMILY_SYMBOLS_MAX];
    struct program program;
    struct plan plan;
    struct err err = {0};
    bool supported;

    assert_true(family_feasible(family, genome, &givens, values, NULL));
    if (!family_program(all.arena, family, values, &program, &err) ||
        !plan_resolve(all.arena, &program, &problem, 132, &plan, &supported, &err)) {
        fail_msg("%s", err.what);
    }
    return plan_hash(&plan);
}

/* The candidate of a genome that is feasible; it is built by the next build_all. */
static struct candidate *candidate_for(const struct setting *setting, const struct genome *genome)
{
    struct candidate *candidate;

    for (int i = 0; i < all.count; i++) {
        candidate = all.candidates[i];
        if (memcmp(&candidate->genome, genome, sizeof *genome) == 0 &&
            memcmp(&candidate->setting, setting, sizeof *setting) == 0) {
            return candidate;
        }
    }
    assert_true(all.count < CANDIDATES_MAX);
    candidate = arena_alloc(all.arena, sizeof *candidate);
    *candidate = (struct candidate){.setting = *setting, .genome = *genome,
                                    .plan = plan_of(setting, genome)};
    return all.candidates[all.count++] = candidate;
}

static bool alike(const struct candidate *a, const struct candidate *b)
{
    return hash_equal(&a->code_key, &b->code_key) && hash_equal(&a->plan, &b->plan);
}

static struct genome random_genome(int family, struct rng *rng)
{
    struct genome genome = {.family = (uint16_t)family};

    for (int i = 0; i < all.families[family]->gene_count; i++) {
        genome.at[i] = (uint8_t)rng_below(rng, (uint32_t)all.families[family]->genes[i].count);
    }
    return genome;
}

/* A feasible genome with these values of these genes (-1: any); false: none was found. */
static bool genome_with(const struct setting *setting, int family, const int wanted[GENES_MAX],
                        struct rng *rng, struct genome *genome)
{
    for (int draw = 0; draw < DRAWS; draw++) {
        *genome = random_genome(family, rng);
        for (int i = 0; i < all.families[family]->gene_count; i++) {
            genome->at[i] = wanted[i] >= 0 ? (uint8_t)wanted[i] : genome->at[i];
        }
        if (feasible(setting, genome)) {
            return true;
        }
    }
    return false;
}

static void want_any(int wanted[GENES_MAX])
{
    for (int i = 0; i < GENES_MAX; i++) {
        wanted[i] = -1;
    }
}

/* Single mutations of it that are feasible. */
static int neighbours(const struct setting *setting, const struct genome *genome)
{
    const struct family *family = all.families[genome->family];
    int count = 0;

    for (int gene = 0; gene < family->gene_count; gene++) {
        for (int at = 0; at < family->genes[gene].count; at++) {
            struct genome mutated = *genome;

            mutated.at[gene] = (uint8_t)at;
            count += at != genome->at[gene] && feasible(setting, &mutated);
        }
    }
    return count;
}

/* A genome from which most values of most genes are one mutation away. */
static struct genome base_of(const struct setting *setting, int family)
{
    struct rng rng = rng_at(1, (uint32_t)family, 0);
    struct genome best = {0}, genome;
    int wanted[GENES_MAX], most = -1;

    want_any(wanted);
    for (int draw = 0; draw < BASE_DRAWS; draw++) {
        int count = genome_with(setting, family, wanted, &rng, &genome)
                        ? neighbours(setting, &genome) : -1;

        if (count > most) {
            most = count;
            best = genome;
        }
    }
    assert_true(most > 0);
    return best;
}

/* Fixtures ------------------------------------------------------------------------------------- */

static void read_families(void)
{
    struct err err = {0};

    for (int i = 0; i < all.set->count; i++) {
        const char *file = all.set->files[i].name;
        size_t length = strlen(file);

        if (strchr(file, '/') == NULL && length > 3 && strcmp(file + length - 3, ".cu") == 0) {
            const char *name = arena_printf(all.arena, "%.*s", (int)length - 3, file);

            assert_true(all.family_count < FAMILIES_MAX);
            if ((all.only == NULL || strcmp(name, all.only) == 0) &&
                !template_set_family(all.set, name, &all.families[all.family_count++], &err)) {
                fail_msg("%s", err.what);
            }
        }
    }
    assert_true(all.family_count > 0);
}

static int set_up(void **state)
{
    struct err err = {0};

    (void)state;
    all.arena = arena_new();
    all.set = template_set_new(all.arena);
    all.thorough = getenv("EVO_THOROUGH") != NULL;
    if (!template_set_load(all.set, EVO_SOURCE_DIR "/templates", &err)) {
        fail_msg("%s", err.what);
    }
    read_families();
    for (int i = 0; i < WORKERS; i++) {
        peer_start(&all.peers[i]);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < WORKERS; i++) {
        proc_kill(&all.peers[i].proc);
        buf_free(&all.peers[i].wire);
        arena_free(all.peers[i].arena);
    }
    arena_free(all.arena);
    return 0;
}

/* Tests ---------------------------------------------------------------------------------------- */

/* Two genomes that differ in one gene alone, of which one has this value. */
struct mutation {
    int gene, at;
    struct candidate *with, *without;
};

/* From the base at first, then from anywhere. */
static bool mutation_find_in(const struct setting *setting, int family, const struct genome *base,
                             struct mutation *mutation, int round)
{
    struct rng rng = rng_at(2, (uint32_t)family,
                            (uint64_t)(mutation->gene * 1000 + mutation->at) * 1000 +
                                (uint64_t)round);
    int count = all.families[family]->genes[mutation->gene].count;
    struct genome with = *base, without;
    int wanted[GENES_MAX];

    want_any(wanted);
    wanted[mutation->gene] = mutation->at;
    with.at[mutation->gene] = (uint8_t)mutation->at;
    for (int draw = 0; draw < 100; draw++) {
        if ((draw == 0 && round == 0) ? feasible(setting, &with)
                                      : genome_with(setting, family, wanted, &rng, &with)) {
            for (int away = 1; away < count; away++) {
                without = with;
                without.at[mutation->gene] = (uint8_t)((mutation->at + away) % count);
                if (feasible(setting, &without)) {
                    mutation->with = candidate_for(setting, &with);
                    mutation->without = candidate_for(setting, &without);
                    return true;
                }
            }
        }
    }
    return false;
}

static bool mutation_find(int family, const struct genome *base, struct mutation *mutation,
                          int round)
{
    return mutation_find_in(&plain, family, base, mutation, round) ||
           mutation_find_in(&causal, family, base, mutation, round);
}

static int all_mutations(int family, struct mutation *mutations)
{
    int count = 0;

    for (int gene = 0; gene < all.families[family]->gene_count; gene++) {
        for (int at = 0; at < all.families[family]->genes[gene].count; at++) {
            mutations[count++] = (struct mutation){.gene = gene, .at = at};
        }
    }
    return count;
}

/* Asks for a context for each mutation, builds them, and keeps those that changed nothing. */
static int show_mutations(int family, const struct genome *base, struct mutation *mutations,
                          int count, int round)
{
    int kept = 0;

    for (int i = 0; i < count; i++) {
        const struct gene *gene = &all.families[family]->genes[mutations[i].gene];

        if (!mutation_find(family, base, &mutations[i], round)) {
            fail_msg("%s: no feasible genome has %s=%s and another value beside it", all.families[family]->name,
                     gene->name, gene_value_text(all.arena, gene, mutations[i].at));
        }
    }
    build_all();
    for (int i = 0; i < count; i++) {
        if (alike(mutations[i].with, mutations[i].without)) {
            print_message("alias: %s\n   and %s\n", name_of(mutations[i].with),
                          name_of(mutations[i].without));
            mutations[kept++] = mutations[i];
        }
    }
    return kept;
}

static void every_value_of_every_gene_builds_and_changes_the_machine_code(void **state)
{
    static struct mutation mutations[GENES_MAX * GENE_VALUES_MAX];

    (void)state;
    for (int family = 0; family < all.family_count; family++) {
        struct genome base = base_of(&plain, family);
        int left = all_mutations(family, mutations);

        for (int round = 0; left > 0 && round < ROUNDS; round++) {
            left = show_mutations(family, &base, mutations, left, round);
        }
        if (left > 0) {
            const struct gene *gene = &all.families[family]->genes[mutations[0].gene];

            fail_msg("%s: %s=%s changes nothing", all.families[family]->name, gene->name,
                     gene_value_text(all.arena, gene, mutations[0].at));
        }
    }
}

/* What changes nothing in some context lacks a requirement: a search would pay for it. */
static void a_single_mutation_changes_the_machine_code_anywhere(void **state)
{
    static struct mutation mutations[GENES_MAX * GENE_VALUES_MAX];

    (void)state;
    if (!all.thorough) {
        skip();
    }
    for (int family = 0; family < all.family_count; family++) {
        struct genome base = base_of(&plain, family);
        int aliases = 0;

        for (int round = 1; round <= CONTEXTS; round++) {
            int count = all_mutations(family, mutations);

            aliases += show_mutations(family, &base, mutations, count, round);
        }
        assert_int_equal(aliases, 0);
    }
}

/* Covering ------------------------------------------------------------------------------------- */

/* Which values of which genes stand side by side in a genome; of a gene with itself, which do. */
struct cover {
    bool seen[PAIRS_MAX];
    int count;
};

/* Counts the pairs of the genome that are in `in` (NULL: any) and not yet in `cover`; adds them. */
static int cover_add(struct cover *cover, const struct cover *in, const struct genome *genome,
                     bool pairs, bool add)
{
    int count = all.families[genome->family]->gene_count, news = 0;

    for (int a = 0; a < count; a++) {
        for (int b = a; b < (pairs ? count : a + 1); b++) {
            int at = ((a * COVERED_VALUES + genome->at[a]) * GENES_MAX + b) * COVERED_VALUES +
                     genome->at[b];

            assert_true(genome->at[a] < COVERED_VALUES && genome->at[b] < COVERED_VALUES);
            news += !cover->seen[at] && (in == NULL || in->seen[at]);
            cover->seen[at] |= add;
        }
    }
    cover->count += add ? news : 0;
    return news;
}

/* The genome of many drawn ones that adds most to the cover; false: none adds anything. */
static bool cover_best(const struct setting *setting, int family, struct cover *cover, bool pairs,
                       struct rng *rng, struct genome *best)
{
    int wanted[GENES_MAX], most = 0;
    struct genome genome;

    want_any(wanted);
    for (int draw = 0; draw < COVER_DRAWS; draw++) {
        int news;

        assert_true(genome_with(setting, family, wanted, rng, &genome));
        news = cover_add(cover, NULL, &genome, pairs, false);
        if (news > most) {
            most = news;
            *best = genome;
        }
    }
    if (most > 0) {
        cover_add(cover, NULL, best, pairs, true);
    }
    return most > 0;
}

/* Asks for up to `limit` genomes that together hold most values, or pairs of them. */
static int ask_for_cover(const struct setting *setting, int family, bool pairs, int limit,
                         struct cover *cover)
{
    struct rng rng = rng_at(3, (uint32_t)family, (uint64_t)pairs);
    struct genome genome;
    int count = 0;

    memset(cover, 0, sizeof *cover);
    while (count < limit && cover_best(setting, family, cover, pairs, &rng, &genome)) {
        candidate_for(setting, &genome);
        count++;
    }
    return count;
}

static void most_pairs_of_values_build(void **state)
{
    static struct cover some, whole;

    (void)state;
    for (int family = 0; family < all.family_count; family++) {
        int count = ask_for_cover(&plain, family, true, all.thorough ? 1000 : PAIR_GENOMES, &some);

        memset(&whole, 0, sizeof whole);
        for (int i = 0, wanted[GENES_MAX]; i < DRAWS / 10; i++) {
            struct rng rng = rng_at(4, (uint32_t)family, (uint64_t)i);
            struct genome genome;

            want_any(wanted);
            assert_true(genome_with(&plain, family, wanted, &rng, &genome));
            cover_add(&whole, NULL, &genome, true, true);
        }
        print_message("%s: %d genomes hold %d of %d pairs of values\n", all.families[family]->name, count,
                      some.count, whole.count);
        build_all();
    }
}

/* Some families are for one architecture; all are for the first target. */
static bool is_for(int family, const struct setting *setting)
{
    struct rng rng = rng_at(5, (uint32_t)family, 0);
    struct genome genome;
    int wanted[GENES_MAX];

    want_any(wanted);
    if (genome_with(setting, family, wanted, &rng, &genome)) {
        return true;
    }
    assert_true(setting->target != targets);
    return false;
}

static void every_family_builds_for_every_device_and_problem(void **state)
{
    static struct cover cover;

    (void)state;
    for (int family = 0; family < all.family_count; family++) {
        for (int target = 0; target < TARGETS; target++) {
            for (int variant = 0; variant < 16; variant++) {
                struct setting setting = {
                    .target = &targets[target], .head_dim = variant & 1 ? 128 : 64,
                    .causal = variant >> 1 & 1, .bf16 = variant >> 2 & 1, .lse = variant >> 3 & 1};

                if (!is_for(family, &setting)) {
                    continue;
                }
                /* Without thoroughness each of the four alone and all of them, or just these. */
                if (all.thorough) {
                    ask_for_cover(&setting, family, false, 1000, &cover);
                } else if (variant == 15 || (target == 0 && (variant == 1 || variant == 2 ||
                                                             variant == 4 || variant == 8))) {
                    ask_for_cover(&setting, family, false, 2, &cover);
                }
            }
        }
    }
    build_all();
}

/*
 * Spilling is no mistake, and ptxas spills a few words of its own choice to let more warps in. But
 * a family whose tiles do not fit in registers lacks a requirement. Of all that was built so far.
 */
static void few_kernels_spill_and_those_little(void **state)
{
    (void)state;
    for (int family = 0; family < all.family_count; family++) {
        int count = 0, spilling = 0;
        int64_t most = 0;

        for (int i = 0; i < all.count; i++) {
            int64_t bytes = all.candidates[i]->facts.spill_store_bytes;

            if (all.candidates[i]->genome.family == family) {
                count++;
                spilling += bytes > 0;
                most = bytes > most ? bytes : most;
            }
        }
        print_message("%s: %d of %d kernels spill, at most %lld bytes\n", all.families[family]->name, spilling,
                      count, (long long)most);
        assert_true(spilling * 5 <= count);
        assert_in_range(most, 0, SPILL_BYTES_MAX);
    }
}

/* One genome, by name -------------------------------------------------------------------------- */

/* The index of attention_tiled; without it the test is skipped. */
static int tiled_family(void)
{
    for (int i = 0; i < all.family_count; i++) {
        if (strcmp(all.families[i]->name, "attention_tiled") == 0) {
            return i;
        }
    }
    skip();
    return -1;
}

static struct genome tiled(const char *genes)
{
    static const char founder[] = "BLOCK_M=32 BLOCK_N=64 WARPS=4 BARRIERS=6";
    int family = tiled_family();
    struct genome genome = {.family = (uint16_t)family};
    struct err err = {0};

    if (!genome_parse(all.families[family], founder, &genome, &err) ||
        !genome_parse(all.families[family], genes, &genome, &err)) {
        fail_msg("%s", err.what);
    }
    return genome;
}

static void a_tile_of_64_rows_is_built(void **state)
{
    struct genome genome = tiled("BLOCK_M=64");

    (void)state;
    assert_true(feasible(&plain, &genome));
    candidate_for(&plain, &genome);
    build_all();
}

static void refused(int target, const char *genes, const char *arithmetic)
{
    struct genome genome = tiled(genes);
    struct setting setting = {.target = &targets[target], .head_dim = 128};
    struct givens givens = givens_of(&setting);
    int64_t values[FAMILY_SYMBOLS_MAX];
    struct refusal refusal;

    assert_false(family_feasible(all.families[genome.family], &genome, &givens, values, &refusal));
    if (strstr(refusal.text, arithmetic) == NULL) {
        fail_msg("'%s' is not in '%s'", arithmetic, refusal.text);
    }
}

static void a_tile_that_does_not_fit_is_refused_with_the_arithmetic(void **state)
{
    (void)state;
    /* Q, and K and V twice: 2 · 128 · (128 + 4 · 128); scores 4 · 128²; statistics 2048. */
    refused(3, "BLOCK_M=128 BLOCK_N=128 STAGES=2 WARPS=16",
            "must fit in shared memory: 231424 <= 101376 is false (SMEM_BYTES <= DEVICE_SMEM_MAX; "
            "SMEM_BYTES = 163840 + 65536 + 2048 + 0");
    refused(0, "BLOCK_M=128 BLOCK_N=128 STAGES=2 WARPS=16 PAD=8",
            "must fit in shared memory: 241664 <= 232448 is false");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tile_of_64_rows_is_built),
        cmocka_unit_test(a_tile_that_does_not_fit_is_refused_with_the_arithmetic),
        cmocka_unit_test(every_value_of_every_gene_builds_and_changes_the_machine_code),
        cmocka_unit_test(a_single_mutation_changes_the_machine_code_anywhere),
        cmocka_unit_test(most_pairs_of_values_build),
        cmocka_unit_test(every_family_builds_for_every_device_and_problem),
        cmocka_unit_test(few_kernels_spill_and_those_little),
    };

    if (access(EVO_BINARY_DIR "/bin/evo-compile", X_OK) != 0) {
        printf("skipped: there is no evo-compile to build the families with\n");
        return SKIPPED;
    }
    all.only = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
