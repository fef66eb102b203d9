#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"
#include "fitness/emu/tensormap.h"

/*
 * Small kernels of PTX, each run by the machine. A kernel has a tensor map, an input of IN_WORDS
 * words (word i is 1000 + i) and an output as long. HEAD gives every thread: %r1 its index, %r2
 * shared memory (16 KiB), %r3 room for 16 mbarriers, %r5 and %d4, %d5 its own 16 bytes of shared
 * memory, input and output, %p1 "thread 0".
 */
enum { IN_WORDS = 1 << 14, IN_BYTES = 4 * IN_WORDS };

#define HEAD                                                                                       \
    ".version 9.0\n.target sm_90a\n.address_size 64\n"                                             \
    ".visible .entry k(.param .align 128 .b8 map[128], .param .u64 in, .param .u64 out)\n{\n"      \
    ".reg .pred %p<16>;\n.reg .b16 %h<8>;\n.reg .b32 %r<64>;\n.reg .b64 %d<32>;\n.reg .f32 "       \
    "%f<8>;\n"                                                                                     \
    ".shared .align 1024 .b8 s[16384];\n.shared .align 8 .b64 b[16];\n"                            \
    "ld.param.u64 %d1, [in];\nld.param.u64 %d2, [out];\n"                                          \
    "mov.u32 %r1, %tid.x;\nmov.u32 %r2, s;\nmov.u32 %r3, b;\n"                                     \
    "shl.b32 %r4, %r1, 4;\nadd.u32 %r5, %r2, %r4;\n"                                               \
    "mul.wide.u32 %d3, %r1, 16;\nadd.u64 %d4, %d1, %d3;\nadd.u64 %d5, %d2, %d3;\n"                 \
    "setp.eq.u32 %p1, %r1, 0;\n"                                                                   \
    "mov.b64 %d6, map;\ncvta.param.u64 %d7, %d6;\n"
#define TAIL "END:\nret;\n}\n"

#define COPY_OUT                                                                                   \
    "ld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r5];\n"                                          \
    "st.global.v4.b32 [%d5], {%r10, %r11, %r12, %r13};\n"
#define INIT  "@%p1 mbarrier.init.shared::cta.b64 [%r3], 1;\n"
#define FENCE "@%p1 fence.mbarrier_init.release.cluster;\n"
#define SYNC  "bar.sync 0;\n"
#define WAIT(LABEL, BARRIER, PARITY)                                                               \
    LABEL ":\nmbarrier.try_wait.parity.shared::cta.b64 %p2, [" BARRIER "], " PARITY ";\n"          \
          "@!%p2 bra " LABEL ";\n"
#define EXPECT(BYTES) "@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3], " BYTES ";\n"
#define BULK(BYTES)                                                                                \
    "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%d1], " BYTES  \
    ", [%r3];\n"

struct shape {
    int threads, blocks, cluster;
};

static struct {
    struct arena *arena;
    struct memory *memory;
    uint64_t in_at, out_at;
    uint32_t in[IN_WORDS], out[IN_WORDS];
    struct emu_tensor_map map;
    struct outcome outcome;
    struct err err;
} machine;

static int machine_up(void **state)
{
    (void)state;
    memset(&machine, 0, sizeof(machine));
    machine.arena = arena_new();
    machine.memory = memory_new();
    for (int i = 0; i < IN_WORDS; i++) {
        machine.in[i] = 1000 + (uint32_t)i;
    }
    machine.in_at = memory_buffer(machine.memory, IN_BYTES, "in");
    machine.out_at = memory_buffer(machine.memory, IN_BYTES, "out");
    assert_true(memory_host_write(machine.memory, machine.in_at, machine.in, IN_BYTES));
    memory_buffer_access(machine.memory, machine.in_at, BUFFER_READ_ONLY);
    return 0;
}

static int machine_down(void **state)
{
    (void)state;
    memory_free(machine.memory);
    arena_free(machine.arena);
    return 0;
}

static bool decode(const char *text, struct code **code)
{
    struct ptx_module *module;

    return ptx_parse(machine.arena, text, strlen(text), &module, &machine.err) &&
           program_decode(machine.arena, module, "k", code, &machine.err);
}

static void run(const char *text, struct shape shape)
{
    struct code *code;
    uint8_t params[144] = {0};

    if (!decode(text, &code)) {
        fail_msg("%s", machine.err.what);
    }
    assert_int_equal(code->param_bytes, sizeof(params));
    memcpy(params, &machine.map, sizeof(machine.map));
    memcpy(params + 128, &machine.in_at, 8);
    memcpy(params + 136, &machine.out_at, 8);
    struct launch launch = {
        .program = code,
        .grid = {(uint32_t)(shape.blocks ? shape.blocks : 1), 1, 1},
        .block = {(uint32_t)shape.threads, 1, 1},
        .cluster = {(uint32_t)(shape.cluster ? shape.cluster : 1), 1, 1},
        .params = params,
        .sanitize = SANITIZE_ALL,
        .threads = 1,
        .op_budget = 1000000,
    };
    memset(&machine.outcome, 0, sizeof(machine.outcome));
    memory_host_fill(machine.memory, machine.out_at, 0xdeadbeef, IN_BYTES);
    machine_run(machine.memory, &launch, &machine.outcome);
    assert_true(memory_host_read(machine.memory, machine.out_at, machine.out, IN_BYTES));
}

static void print_findings(void)
{
    for (int i = 0; i < machine.outcome.finding_count; i++) {
        print_message("%s: %s\n", finding_names[machine.outcome.findings[i].kind],
                      machine.outcome.findings[i].text);
    }
}

static void run_clean(const char *text, struct shape shape)
{
    run(text, shape);
    print_findings();
    assert_int_equal(machine.outcome.findings_total, 0);
    assert_true(machine.outcome.ended);
}

static const char *found(enum finding_kind kind)
{
    for (int i = 0; i < machine.outcome.finding_count; i++) {
        if (machine.outcome.findings[i].kind == kind) {
            return machine.outcome.findings[i].text;
        }
    }
    return NULL;
}

static const char *run_finds(const char *text, struct shape shape, enum finding_kind kind)
{
    run(text, shape);
    if (found(kind) == NULL) {
        print_findings();
        fail_msg("no finding of kind '%s' in\n%s", finding_names[kind], strstr(text, "cvta.param"));
    }
    return found(kind);
}

/* The text with one piece of it replaced; the piece must be there. */
static const char *with(const char *text, const char *piece, const char *by)
{
    const char *at = strstr(text, piece);

    assert_non_null(at);
    return arena_printf(machine.arena, "%.*s%s%s", (int)(at - text), text, by, at + strlen(piece));
}

static const char *without(const char *text, const char *piece) { return with(text, piece, ""); }

static void assert_copied(int words)
{
    assert_memory_equal(machine.out, machine.in, 4 * (size_t)words);
}

/* ---- cp.async ---- */

#define CP16      "cp.async.cg.shared.global [%r5], [%d4], 16;\n"
#define CP16_WAIT HEAD CP16 "cp.async.commit_group;\ncp.async.wait_group 0;\n"

static void cp_async_copies_4_8_and_16_bytes_with_all_qualifiers(void **state)
{
    (void)state;
    run_clean(CP16_WAIT COPY_OUT TAIL, (struct shape){.threads = 64});
    assert_copied(256);
    run_clean(HEAD "createpolicy.fractional.L2::evict_last.b64 %d8, 1.0;\n"
                   "cp.async.ca.shared::cta.global.L2::cache_hint.L2::128B [%r5], [%d4], 4, %d8;\n"
                   "cp.async.ca.shared.global.L2::64B [%r5+8], [%d4+8], 8;\n"
                   "cp.async.ca.shared.global.L2::256B [%r5+4], [%d4+4], 4;\n"
                   "cp.async.wait_all;\n" COPY_OUT TAIL,
              (struct shape){.threads = 64});
    assert_copied(256);
}

static void cp_async_fills_with_zeros_what_the_source_does_not_give(void **state)
{
    (void)state;
    run_clean(
        HEAD
        "and.b32 %r20, %r1, 15;\n"
        "cp.async.cg.shared.global [%r5], [%d4], 16, %r20;\ncp.async.wait_all;\n" COPY_OUT TAIL,
        (struct shape){.threads = 64});
    for (int thread = 0; thread < 64; thread++) {
        uint8_t want[16] = {0};

        memcpy(want, &machine.in[4 * thread], (size_t)(thread % 16));
        assert_memory_equal(&machine.out[4 * thread], want, 16);
    }
    run_clean(
        HEAD "and.b32 %r20, %r1, 1;\nsetp.eq.u32 %p3, %r20, 1;\n"
             "cp.async.cg.shared.global [%r5], [%d4], 16, %p3;\ncp.async.wait_all;\n" COPY_OUT TAIL,
        (struct shape){.threads = 64});
    for (int word = 0; word < 256; word++) {
        assert_int_equal(machine.out[word], word / 4 % 2 ? 0 : machine.in[word]);
    }
    run_finds(HEAD "mov.u32 %r20, 17;\ncp.async.cg.shared.global [%r5], [%d4], 16, %r20;\n"
                   "cp.async.wait_all;\n" TAIL,
              (struct shape){.threads = 32}, FINDING_OUT_OF_BOUNDS);
}

static void a_source_of_no_bytes_is_not_looked_at(void **state)
{
    (void)state;
    run_clean(HEAD "mov.u64 %d8, 0;\ncp.async.cg.shared.global [%r5], [%d8], 16, 0;\n"
                   "cp.async.wait_all;\n" COPY_OUT TAIL,
              (struct shape){.threads = 32});
    assert_int_equal(machine.out[17], 0);
}

static void cp_async_is_checked_for_bounds_and_alignment(void **state)
{
    (void)state;
    run_finds(with(CP16_WAIT TAIL, "[%d4]", "[%d4+4]"), (struct shape){.threads = 32},
              FINDING_MISALIGNED);
    run_finds(with(CP16_WAIT TAIL, "[%r5]", "[%r5+8]"), (struct shape){.threads = 32},
              FINDING_MISALIGNED);
    run_finds(with(CP16_WAIT TAIL, "[%d4]", "[%d4+65536]"), (struct shape){.threads = 32},
              FINDING_OUT_OF_BOUNDS);
    run_finds(with(CP16_WAIT TAIL, "[%r5]", "[%r5+1048576]"), (struct shape){.threads = 32},
              FINDING_OUT_OF_BOUNDS);
}

static void reading_before_the_wait_is_a_race_with_the_copy(void **state)
{
    (void)state;
    run_finds(HEAD CP16 "cp.async.commit_group;\n" COPY_OUT "cp.async.wait_group 0;\n" TAIL,
              (struct shape){.threads = 32}, FINDING_RACE);
}

static void a_copy_outside_of_a_group_is_not_waited_for(void **state)
{
    (void)state;
    run_finds(without(CP16_WAIT COPY_OUT TAIL, "cp.async.commit_group;\n"),
              (struct shape){.threads = 32}, FINDING_RACE);
}

#define TWO_GROUPS                                                                                 \
    HEAD CP16 "cp.async.commit_group;\n"                                                           \
              "cp.async.cg.shared.global [%r5+4096], [%d4+4096], 16;\ncp.async.commit_group;\n"

static void wait_group_leaves_the_newest_groups_on_their_way(void **state)
{
    (void)state;
    run_clean(TWO_GROUPS "cp.async.wait_group 1;\n" COPY_OUT "cp.async.wait_group 0;\n" TAIL,
              (struct shape){.threads = 64});
    assert_copied(256);
    run_finds(with(TWO_GROUPS "cp.async.wait_group 1;\n" COPY_OUT TAIL,
                   "ld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r5]",
                   "ld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r5+4096]"),
              (struct shape){.threads = 64}, FINDING_RACE);
    /* A second commit makes an empty group, and the wait stricter. */
    run_clean(with(TWO_GROUPS "cp.async.commit_group;\ncp.async.wait_group 1;\n" COPY_OUT TAIL,
                   "ld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r5]",
                   "ld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r5+4096]"),
              (struct shape){.threads = 64});
    assert_memory_equal(machine.out, machine.in + 1024, 1024);
}

/* Each thread reads what the thread 33 places further has copied. */
#define NEIGHBOUR                                                                                  \
    "add.u32 %r20, %r1, 33;\nand.b32 %r20, %r20, 63;\nshl.b32 %r20, %r20, 4;\n"                    \
    "add.u32 %r20, %r20, %r2;\nld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r20];\n"               \
    "st.global.v4.b32 [%d5], {%r10, %r11, %r12, %r13};\n"

static void what_another_thread_copied_needs_its_wait_and_a_barrier(void **state)
{
    (void)state;
    run_clean(CP16_WAIT SYNC NEIGHBOUR TAIL, (struct shape){.threads = 64});
    for (int thread = 0; thread < 64; thread++) {
        assert_int_equal(machine.out[4 * thread], machine.in[4 * ((thread + 33) % 64)]);
    }
    run_finds(CP16_WAIT NEIGHBOUR TAIL, (struct shape){.threads = 64}, FINDING_RACE);
    run_finds(HEAD CP16 "cp.async.commit_group;\n" SYNC "cp.async.wait_group 0;\n" NEIGHBOUR TAIL,
              (struct shape){.threads = 64}, FINDING_RACE);
}

static void copying_over_what_others_still_read_is_a_race(void **state)
{
    const char *text = CP16_WAIT SYNC NEIGHBOUR SYNC
        "cp.async.cg.shared.global [%r5], [%d4+4096], 16;\ncp.async.wait_all;\n" COPY_OUT TAIL;

    (void)state;
    run_clean(text, (struct shape){.threads = 64});
    assert_memory_equal(machine.out, machine.in + 1024, 1024);
    run_finds(with(text, "st.global.v4.b32 [%d5], {%r10, %r11, %r12, %r13};\n" SYNC,
                   "st.global.v4.b32 [%d5], {%r10, %r11, %r12, %r13};\n"),
              (struct shape){.threads = 64}, FINDING_RACE);
}

static void cp_async_arrives_at_an_mbarrier_when_its_copies_have_landed(void **state)
{
    const char *noinc = HEAD
        "@%p1 mbarrier.init.shared.b64 [%r3], 64;\n" SYNC CP16
        "cp.async.mbarrier.arrive.noinc.shared.b64 [%r3];\n" WAIT("W", "%r3", "0") NEIGHBOUR TAIL;
    const char *inc =
        HEAD "@%p1 mbarrier.init.shared.b64 [%r3], 64;\n" SYNC CP16
             "cp.async.mbarrier.arrive.shared.b64 [%r3];\n"
             "mbarrier.arrive.shared.b64 %d8, [%r3];\n" WAIT("W", "%r3", "0") NEIGHBOUR TAIL;

    (void)state;
    run_clean(noinc, (struct shape){.threads = 64});
    assert_int_equal(machine.out[0], machine.in[4 * 33]);
    run_clean(inc, (struct shape){.threads = 64});
    assert_int_equal(machine.out[0], machine.in[4 * 33]);
    run_finds(without(noinc, ".noinc"), (struct shape){.threads = 64}, FINDING_DEADLOCK);
    /* An arrival of its own does not wait for the copies. */
    run_finds(with(noinc, "cp.async.mbarrier.arrive.noinc.shared.b64 [%r3];",
                   "mbarrier.arrive.shared.b64 %d8, [%r3];"),
              (struct shape){.threads = 64}, FINDING_RACE);
}

/* ---- mbarrier ---- */

#define STORE_OWN "add.u32 %r20, %r1, 7;\nst.shared.v4.b32 [%r5], {%r20, %r20, %r20, %r20};\n"

static void an_mbarrier_orders_those_who_arrive_before_those_who_wait(void **state)
{
    const char *parity =
        HEAD "@%p1 mbarrier.init.shared::cta.b64 [%r3], 64;\n" SYNC STORE_OWN
             "mbarrier.arrive.shared::cta.b64 %d8, [%r3];\n" WAIT("W", "%r3", "0") NEIGHBOUR TAIL;
    const char *token = HEAD
        "@%p1 mbarrier.init.b64 [%d9], 64;\n" SYNC STORE_OWN
        "mbarrier.arrive.release.cta.b64 %d8, [%d9];\n"
        "W: mbarrier.test_wait.acquire.cta.b64 %p2, [%d9], %d8;\n@!%p2 bra W;\n" NEIGHBOUR TAIL;

    (void)state;
    run_clean(parity, (struct shape){.threads = 64});
    assert_int_equal(machine.out[0], 33 + 7);
    token = with(token, "@%p1 mbarrier.init",
                 "mov.u64 %d9, b;\ncvta.shared.u64 %d9, %d9;\n"
                 "@%p1 mbarrier.init");
    run_clean(token, (struct shape){.threads = 64});
    assert_int_equal(machine.out[0], 33 + 7);
    run_finds(without(parity, WAIT("W", "%r3", "0")), (struct shape){.threads = 64}, FINDING_RACE);
    run_finds(
        with(parity, "mbarrier.arrive.shared::cta", "mbarrier.arrive.relaxed.cta.shared::cta"),
        (struct shape){.threads = 64}, FINDING_RACE);
    run_finds(with(parity, "try_wait.parity.shared", "try_wait.parity.relaxed.cta.shared"),
              (struct shape){.threads = 64}, FINDING_RACE);
}

static void waiting_for_the_wrong_parity_passes_at_once_or_never(void **state)
{
    const char *text =
        HEAD "@%p1 mbarrier.init.shared::cta.b64 [%r3], 64;\n" SYNC STORE_OWN
             "mbarrier.arrive.shared::cta.b64 %d8, [%r3];\n" WAIT("W", "%r3", "0") NEIGHBOUR
        "mbarrier.arrive.shared::cta.b64 %d8, [%r3];\n" WAIT("V", "%r3", "1") STORE_OWN TAIL;

    (void)state;
    run_clean(text, (struct shape){.threads = 64});
    run_finds(with(text, "[%r3], 0;", "[%r3], 1;"), (struct shape){.threads = 64}, FINDING_RACE);
    run_finds(with(text, "[%r3], 1;", "[%r3], 0;"), (struct shape){.threads = 64}, FINDING_RACE);
    const char *late =
        run_finds(with(text, WAIT("V", "%r3", "1"), WAIT("V", "%r3", "1") WAIT("U", "%r3", "0")),
                  (struct shape){.threads = 64}, FINDING_DEADLOCK);
    assert_non_null(strstr(late, "phase parity 0 of the mbarrier at b+0 (pending arrivals "
                                 "64, pending bytes 0)"));
}

static void too_few_arrivals_are_a_deadlock_and_too_many_a_finding(void **state)
{
    const char *text =
        HEAD "@%p1 mbarrier.init.shared::cta.b64 [%r3], 64;\n" SYNC
             "mbarrier.arrive.shared::cta.b64 %d8, [%r3];\n" WAIT("W", "%r3", "0") TAIL;

    (void)state;
    run_clean(text, (struct shape){.threads = 64});
    assert_non_null(
        strstr(run_finds(with(text, "64;", "65;"), (struct shape){.threads = 64}, FINDING_DEADLOCK),
               "pending arrivals 1, pending bytes 0"));
    run_finds(with(text, "%d8, [%r3];", "%d8, [%r3], 3;"), (struct shape){.threads = 64},
              FINDING_BARRIER);
}

static void counted_arrivals_drops_and_pending_counts_add_up(void **state)
{
    (void)state;
    run_clean(HEAD
              "@!%p1 bra END;\n"
              "mbarrier.init.shared::cta.b64 [%r3], 10;\n"
              "mbarrier.arrive.noComplete.shared::cta.b64 %d8, [%r3], 3;\n"
              "mbarrier.pending_count.b64 %r20, %d8;\nst.global.u32 [%d2], %r20;\n"
              "mbarrier.arrive_drop.shared::cta.b64 %d9, [%r3], 4;\n"
              "mbarrier.pending_count.b64 %r20, %d9;\nst.global.u32 [%d2+4], %r20;\n"
              "mbarrier.test_wait.shared::cta.b64 %p2, [%r3], %d9;\n"
              "selp.u32 %r20, 1, 0, %p2;\nst.global.u32 [%d2+8], %r20;\n"
              "mbarrier.arrive.shared::cta.b64 %d10, [%r3], 3;\n"
              "mbarrier.test_wait.shared::cta.b64 %p2, [%r3], %d9;\n"
              "selp.u32 %r20, 1, 0, %p2;\nst.global.u32 [%d2+12], %r20;\n"
              "mbarrier.arrive.shared::cta.b64 %d11, [%r3], 6;\n" /* the second phase expects 6 */
              "mbarrier.pending_count.b64 %r20, %d11;\nst.global.u32 [%d2+16], %r20;\n"
              "mbarrier.test_wait.parity.shared::cta.b64 %p2, [%r3], 1;\n"
              "selp.u32 %r20, 1, 0, %p2;\nst.global.u32 [%d2+20], %r20;\n"
              "mbarrier.inval.shared::cta.b64 [%r3];\n"
              "mbarrier.init.shared::cta.b64 [%r3], 1;\n" TAIL,
              (struct shape){.threads = 32});
    static const uint32_t want[] = {10, 7, 0, 1, 6, 1};
    assert_memory_equal(machine.out, want, sizeof(want));
}

static void transactions_hold_a_phase_open_until_their_bytes_are_complete(void **state)
{
    (void)state;
    run_clean(HEAD "@!%p1 bra END;\n"
                   "mbarrier.init.shared::cta.b64 [%r3], 1;\n"
                   "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r3], 48;\n"
                   "mbarrier.arrive.expect_tx.shared::cta.b64 %d8, [%r3], 16;\n"
                   "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r3], 40;\n"
                   "mbarrier.test_wait.shared::cta.b64 %p2, [%r3], %d8;\n"
                   "selp.u32 %r20, 1, 0, %p2;\nst.global.u32 [%d2], %r20;\n"
                   "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r3], 24;\n"
                   "mbarrier.test_wait.shared::cta.b64 %p2, [%r3], %d8;\n"
                   "selp.u32 %r20, 1, 0, %p2;\nst.global.u32 [%d2+4], %r20;\n" TAIL,
              (struct shape){.threads = 32});
    assert_int_equal(machine.out[0], 0);
    assert_int_equal(machine.out[1], 1);
}

static void mbarriers_that_are_none_are_found(void **state)
{
    const char *text = HEAD INIT SYNC
        "@%p1 mbarrier.arrive.shared::cta.b64 %d8, [%r3];\n" WAIT("W", "%r3", "0") TAIL;

    (void)state;
    run_clean(text, (struct shape){.threads = 64});
    run_finds(without(text, INIT), (struct shape){.threads = 64}, FINDING_BARRIER);
    run_finds(without(text, SYNC), (struct shape){.threads = 64}, FINDING_RACE);
    run_finds(with(text, INIT, INIT INIT), (struct shape){.threads = 64}, FINDING_BARRIER);
    run_finds(with(text, "[%r3], 1;", "[%r3], 0;"), (struct shape){.threads = 64}, FINDING_BARRIER);
    run_finds(with(text, "[%r3], 1;", "[%r3+4], 1;"), (struct shape){.threads = 64},
              FINDING_MISALIGNED);
    run_finds(with(text, INIT, INIT "@%p1 st.shared.u32 [%r3], %r1;\n"),
              (struct shape){.threads = 64}, FINDING_BARRIER);
    run_finds(with(text, "[%r3], 1;", "[%r3+65536], 1;"), (struct shape){.threads = 64},
              FINDING_OUT_OF_BOUNDS);
}

/* A thread that looks at a phase, and itself does what ends it. */
static void polling_a_phase_is_no_deadlock(void **state)
{
    (void)state;
    run_clean(HEAD "@!%p1 bra END;\nmbarrier.init.shared::cta.b64 [%r3], 1;\nmov.u32 %r20, 0;\n"
                   "L:\nmbarrier.try_wait.parity.shared::cta.b64 %p2, [%r3], 0, 1000;\n"
                   "add.u32 %r20, %r20, 1;\nsetp.eq.u32 %p3, %r20, 5;\n"
                   "@%p3 mbarrier.arrive.shared::cta.b64 %d8, [%r3];\n@!%p2 bra L;\n"
                   "M:\nmbarrier.test_wait.parity.shared::cta.b64 %p2, [%r3], 1;\n"
                   "add.u32 %r20, %r20, 1;\nsetp.eq.u32 %p3, %r20, 20;\n"
                   "@%p3 mbarrier.arrive.shared::cta.b64 %d8, [%r3];\n@!%p2 bra M;\n"
                   "st.global.u32 [%d2], %r20;\n" TAIL,
              (struct shape){.threads = 32});
    assert_int_equal(machine.out[0], 21);
}

/* ---- bulk copies ---- */

#define BULK_LOAD                                                                                  \
    HEAD INIT FENCE SYNC EXPECT("1024") BULK("1024") WAIT("W", "%r3", "0") COPY_OUT TAIL

static void a_bulk_copy_brings_global_to_shared_memory(void **state)
{
    (void)state;
    run_clean(BULK_LOAD, (struct shape){.threads = 64});
    assert_copied(256);
    run_clean(with(BULK_LOAD, "shared::cluster.global", "shared::cta.global"),
              (struct shape){.threads = 64});
    run_clean(with(BULK_LOAD, "@%p1 fence.mbarrier_init.release.cluster;",
                   "@%p1 fence.proxy.async.shared::cta;"),
              (struct shape){.threads = 64});
    /* The copy may be started before its bytes are expected. */
    run_clean(HEAD INIT FENCE SYNC BULK("1024") EXPECT("1024") WAIT("W", "%r3", "0") COPY_OUT TAIL,
              (struct shape){.threads = 64});
    assert_copied(256);
}

static void mistakes_around_a_bulk_copy_are_found(void **state)
{
    (void)state;
    run_finds(without(BULK_LOAD, WAIT("W", "%r3", "0")), (struct shape){.threads = 64},
              FINDING_RACE);
    run_finds(with(BULK_LOAD, "[%r3], 0;", "[%r3], 1;"), (struct shape){.threads = 64},
              FINDING_RACE);
    run_finds(without(BULK_LOAD, FENCE), (struct shape){.threads = 64}, FINDING_PROXY);
    run_finds(with(BULK_LOAD, EXPECT("1024"), EXPECT("512")), (struct shape){.threads = 64},
              FINDING_DEADLOCK);
    assert_non_null(strstr(run_finds(with(BULK_LOAD, EXPECT("1024"), EXPECT("1040")),
                                     (struct shape){.threads = 64}, FINDING_DEADLOCK),
                           "pending arrivals 0, pending bytes 16"));
    run_finds(with(BULK_LOAD, BULK("1024"), BULK("1000")), (struct shape){.threads = 64},
              FINDING_MISALIGNED);
    run_finds(with(BULK_LOAD, "[%d1], 1024", "[%d1+8], 1024"), (struct shape){.threads = 64},
              FINDING_MISALIGNED);
    run_finds(with(BULK_LOAD, "[%d1], 1024", "[%d1+65520], 1024"), (struct shape){.threads = 64},
              FINDING_OUT_OF_BOUNDS);
    run_finds(with(BULK_LOAD, "bytes [%r2]", "bytes [%r2+16384]"), (struct shape){.threads = 64},
              FINDING_OUT_OF_BOUNDS);
    run_finds(HEAD INIT FENCE SYNC EXPECT("1024") BULK("1024") TAIL, (struct shape){.threads = 64},
              FINDING_IN_FLIGHT);
}

/* Two copies of which only the first one's bytes are expected: the phase ends too early. */
static void bytes_that_nobody_expects_are_found(void **state)
{
    (void)state;
    run_finds(
        HEAD INIT FENCE SYNC EXPECT("1024") BULK(
            "1024") "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                    "[%r2+1024], "
                    "[%d1+1024], 1024, [%r3];\n" WAIT(
                        "W", "%r3",
                        "0") "ld.shared.u32 %r20, [%r5+1024];\nst.global.u32 [%d5], %r20;\n" TAIL,
        (struct shape){.threads = 64}, FINDING_RACE);
}

#define BULK_STORE                                                                                 \
    HEAD STORE_OWN "fence.proxy.async.shared::cta;\n" SYNC                                         \
                   "@%p1 cp.async.bulk.global.shared::cta.bulk_group [%d2], [%r2], 1024;\n"        \
                   "@%p1 cp.async.bulk.commit_group;\n@%p1 cp.async.bulk.wait_group 0;\n" TAIL

static void a_bulk_store_takes_shared_memory_to_global(void **state)
{
    (void)state;
    run_clean(BULK_STORE, (struct shape){.threads = 64});
    for (int word = 0; word < 256; word++) {
        assert_int_equal(machine.out[word], word / 4 + 7);
    }
    /* Its source may be used again when it has been read; the rest ends with the block. */
    run_clean(with(BULK_STORE, "wait_group 0;\n", "wait_group.read 0;\n" SYNC STORE_OWN),
              (struct shape){.threads = 64});
    assert_int_equal(machine.out[255], 63 + 7);
}

static void mistakes_around_a_bulk_store_are_found(void **state)
{
    (void)state;
    run_finds(without(BULK_STORE, "fence.proxy.async.shared::cta;\n"),
              (struct shape){.threads = 64}, FINDING_PROXY);
    run_finds(without(BULK_STORE, SYNC), (struct shape){.threads = 64}, FINDING_RACE);
    run_finds(without(BULK_STORE, "@%p1 cp.async.bulk.wait_group 0;\n"),
              (struct shape){.threads = 64}, FINDING_IN_FLIGHT);
    run_finds(with(BULK_STORE, "@%p1 cp.async.bulk.wait_group 0;\n",
                   SYNC "st.shared.u32 [%r5], %r1;\n@%p1 cp.async.bulk.wait_group 0;\n"),
              (struct shape){.threads = 64}, FINDING_RACE);
    run_finds(with(BULK_STORE, "wait_group 0;\n", "wait_group 1;\n"), (struct shape){.threads = 64},
              FINDING_IN_FLIGHT);
    run_finds(with(BULK_STORE, "[%d2], [%r2]", "[%d1], [%r2]"), (struct shape){.threads = 64},
              FINDING_READ_ONLY);
    /* Read back by the thread before the write is complete. */
    run_finds(with(BULK_STORE, "wait_group 0;\n",
                   "wait_group.read 0;\n@%p1 ld.global.u32 %r21, [%d2];\n"),
              (struct shape){.threads = 64}, FINDING_RACE);
}

static void bulk_reductions_change_what_is_there(void **state)
{
    const char *text =
        HEAD "st.global.u32 [%d5], %r1;\nst.global.u32 [%d5+4], 100;\n"
             "st.global.u32 [%d5+8], 5;\nst.global.u32 [%d5+12], 6;\n" STORE_OWN
             "fence.proxy.async;\n" SYNC
             "@%p1 cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%d2], [%r2], 1024;\n"
             "@%p1 cp.async.bulk.commit_group;\n@%p1 cp.async.bulk.wait_group 0;\n" TAIL;

    (void)state;
    run_clean(text, (struct shape){.threads = 64});
    for (uint32_t thread = 0; thread < 64; thread++) {
        assert_int_equal(machine.out[4 * thread], thread + thread + 7);
        assert_int_equal(machine.out[4 * thread + 1], 100 + thread + 7);
    }
    run_clean(with(text, "group.add.u32", "group.max.s32"), (struct shape){.threads = 64});
    assert_int_equal(machine.out[4 * 40 + 1], 100);
    assert_int_equal(machine.out[4 * 40 + 2], 47);
}

/* Of more than the machine keeps on their way the oldest land early; to the same places they race.
 */
static void any_number_of_copies_may_be_started(void **state)
{
    (void)state;
    run_finds(HEAD INIT FENCE SYNC EXPECT("80000") "@!%p1 bra READY;\nmov.u32 %r20, 0;\n"
                                                   "L:\nand.b32 %r21, %r20, 1023;\nshl.b32 %r21, "
                                                   "%r21, 4;\nadd.u32 %r21, %r21, %r2;\n"
                                                   "and.b32 %r22, %r20, 4095;\nmul.wide.u32 %d8, "
                                                   "%r22, 16;\nadd.u64 %d8, %d8, %d1;\n"
                                                   "cp.async.bulk.shared::cluster.global.mbarrier::"
                                                   "complete_tx::bytes [%r21], [%d8], 16, "
                                                   "[%r3];\nadd.u32 %r20, %r20, 1;\nsetp.lt.u32 "
                                                   "%p4, %r20, 5000;\n@%p4 bra L;\nREADY:\n" WAIT(
                                                       "W", "%r3", "0") COPY_OUT TAIL,
              (struct shape){.threads = 64}, FINDING_RACE);
    assert_true(machine.outcome.ended);
    assert_memory_equal(machine.out, machine.in, 1024); /* round 4096 came last here */
    run_finds(HEAD
              "mov.u32 %r20, 0;\nL:\n" CP16 "cp.async.commit_group;\nadd.u32 %r20, %r20, 1;\n"
              "setp.lt.u32 %p4, %r20, 3000;\n@%p4 bra L;\ncp.async.wait_group 0;\n" COPY_OUT TAIL,
              (struct shape){.threads = 64}, FINDING_RACE);
    assert_copied(256);
}

/* ---- tensor copies ---- */

static bool map_encode(enum emu_tensor_type type, uint32_t rank, uint64_t address,
                       const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
                       enum emu_tensor_swizzle swizzle)
{
    static const uint32_t ones[] = {1, 1, 1, 1, 1};
    struct emu_tensor_request request = {.type = type,
                                         .rank = rank,
                                         .address = address,
                                         .dims = dims,
                                         .strides = strides,
                                         .box = box,
                                         .element_strides = ones,
                                         .swizzle = swizzle};

    return emu_tensor_map_encode(&machine.map, &request, &machine.err);
}

#define TENSOR_LOAD                                                                                \
    HEAD INIT FENCE "prefetch.tensormap [%d7];\n" SYNC EXPECT(                                     \
        "BYTES") "@%p1 "                                                                           \
                 "cp.async.bulk.tensor.DIM.shared::cluster.global.tile.mbarrier::complete_tx::"    \
                 "bytes "                                                                          \
                 "[%r2], [%d7, {COORDINATES}], [%r3];\n" WAIT(                                     \
                     "W", "%r3",                                                                   \
                     "0") "mov.u32 %r30, 0;\nL:\nshl.b32 %r31, %r30, 9;\nshl.b32 %r32, %r1, "      \
                          "2;\nadd.u32 %r31, %r31, %r32;\n"                                        \
                          "setp.lt.u32 %p4, %r31, BYTES;\n"                                        \
                          "add.u32 %r33, %r2, %r31;\ncvt.u64.u32 %d10, %r31;\nadd.u64 %d10, %d2, " \
                          "%d10;\n"                                                                \
                          "@%p4 ld.shared.u32 %r34, [%r33];\n@%p4 st.global.u32 [%d10], %r34;\n"   \
                          "add.u32 %r30, %r30, 1;\nsetp.lt.u32 %p5, %r30, 32;\n@%p5 bra L;\n" TAIL

static const char *tensor_text(const char *text, int rank, int bytes, const char *coordinates)
{
    const char *number = arena_printf(machine.arena, "%d", bytes);

    while (strstr(text, "BYTES") != NULL) {
        text = with(text, "BYTES", number);
    }
    text = with(text, "DIM", arena_printf(machine.arena, "%dd", rank));
    return with(text, "COORDINATES", coordinates);
}

static void a_two_dimensional_box_is_loaded_with_every_swizzle(void **state)
{
    (void)state;
    for (int swizzle = EMU_SWIZZLE_NONE; swizzle <= EMU_SWIZZLE_128B; swizzle++) {
        uint32_t row = swizzle == EMU_SWIZZLE_NONE ? 96 : 16u << swizzle, rows = 20;
        const uint64_t dims[] = {100, 40}, strides[] = {512};
        const uint32_t box[] = {row / 2, rows};

        assert_true(map_encode(EMU_TENSOR_F16, 2, machine.in_at, dims, strides, box,
                               (enum emu_tensor_swizzle)swizzle));
        run_clean(tensor_text(TENSOR_LOAD, 2, (int)(row * rows), "8, 3"),
                  (struct shape){.threads = 128});
        for (uint32_t r = 0; r < rows; r++) {
            for (uint32_t x = 0; x < row; x += 16) {
                uint32_t at = r * row + x;

                at ^= (at >> 7 & ((1u << swizzle) - 1)) << 4;
                assert_memory_equal((uint8_t *)machine.out + at,
                                    (uint8_t *)machine.in + (3 + r) * 512 + 16 + x, 16);
            }
        }
    }
}

/* What lies outside of the tensor, on every side, is zero; the transaction is the whole box. */
static void a_box_that_reaches_out_of_the_tensor_is_filled_with_zeros(void **state)
{
    static const int begins[][2] = {{-3, -2}, {20, 30}, {-40, 0}, {0, 100}, {24, -7}};

    (void)state;
    for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
        const uint64_t dims[] = {30, 35}, strides[] = {128};
        const uint32_t box[] = {16, 8};
        char coordinates[32];

        snprintf(coordinates, sizeof(coordinates), "%d, %d", begins[i][0], begins[i][1]);
        assert_true(map_encode(EMU_TENSOR_U32, 2, machine.in_at + 256, dims, strides, box,
                               EMU_SWIZZLE_64B));
        run_clean(tensor_text(TENSOR_LOAD, 2, 512, coordinates), (struct shape){.threads = 128});
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 16; x++) {
                int column = begins[i][0] + x, line = begins[i][1] + y;
                uint32_t at = (uint32_t)(y * 64 + x * 4), want = 0;

                at ^= (at >> 7 & 3) << 4;
                if (column >= 0 && column < 30 && line >= 0 && line < 35) {
                    want = machine.in[64 + line * 32 + column];
                }
                assert_int_equal(machine.out[at / 4], want);
            }
        }
    }
}

static void boxes_of_one_to_five_dimensions_are_loaded(void **state)
{
    static const char *const coordinates[] = {"5", "5, 1", "5, 1, 2", "5, 1, 2, 0",
                                              "5, 1, 2, 0, 1"};
    static const int begin[] = {5, 1, 2, 0, 1};
    const uint64_t dims[] = {16, 5, 4, 3, 3}, strides[] = {64, 512, 2048, 8192};
    const uint32_t box[] = {8, 3, 2, 2, 2};

    (void)state;
    for (uint32_t rank = 1; rank <= 5; rank++) {
        uint32_t count = 1, at[5] = {0};

        for (uint32_t i = 0; i < rank; i++) {
            count *= box[i];
        }
        assert_true(
            map_encode(EMU_TENSOR_F32, rank, machine.in_at, dims, strides, box, EMU_SWIZZLE_NONE));
        run_clean(tensor_text(TENSOR_LOAD, (int)rank, (int)(4 * count), coordinates[rank - 1]),
                  (struct shape){.threads = 128});
        for (uint32_t n = 0; n < count; n++) {
            uint64_t word = (uint64_t)begin[0] + at[0];
            bool inside = word < dims[0];

            for (uint32_t i = 1; i < rank; i++) {
                inside = inside && begin[i] + at[i] < dims[i];
                word += (begin[i] + at[i]) * strides[i - 1] / 4;
            }
            assert_int_equal(machine.out[n], inside ? machine.in[word] : 0);
            for (uint32_t i = 0; i < rank && ++at[i] == box[i]; i++) {
                at[i] = 0;
            }
        }
    }
}

static void mistakes_around_a_tensor_load_are_found(void **state)
{
    const uint64_t dims[] = {64, 64}, strides[] = {256};
    const uint32_t box[] = {32, 8};
    const char *text;

    (void)state;
    assert_true(map_encode(EMU_TENSOR_F32, 2, machine.in_at, dims, strides, box, EMU_SWIZZLE_128B));
    text = tensor_text(TENSOR_LOAD, 2, 1024, "0, 0");
    run_clean(text, (struct shape){.threads = 128});
    run_finds(with(text, "[%r2], [%d7", "[%r2+64], [%d7"), (struct shape){.threads = 128},
              FINDING_MISALIGNED);
    run_finds(with(text, "[%r2], [%d7", "[%r2+15616], [%d7"), (struct shape){.threads = 128},
              FINDING_OUT_OF_BOUNDS);
    run_finds(with(with(text, "2d", "3d"), "{0, 0}", "{0, 0, 0}"), (struct shape){.threads = 128},
              FINDING_OUT_OF_BOUNDS);
    run_finds(without(text, WAIT("W", "%r3", "0")), (struct shape){.threads = 128}, FINDING_RACE);
    /* The map may reach further than the buffer: then the load does. */
    assert_true(map_encode(EMU_TENSOR_F32, 2, machine.in_at + 65536 - 1024, dims, strides, box,
                           EMU_SWIZZLE_128B));
    run_finds(text, (struct shape){.threads = 128}, FINDING_OUT_OF_BOUNDS);
    memset(&machine.map, 0x5a, sizeof(machine.map));
    run_finds(text, (struct shape){.threads = 128}, FINDING_UNSUPPORTED);
}

#define TENSOR_STORE                                                                               \
    HEAD STORE_OWN "fence.proxy.async.shared::cta;\n" SYNC                                         \
                   "@%p1 cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%d7, "        \
                   "{COORDINATES}], [%r2];\n"                                                      \
                   "@%p1 cp.async.bulk.commit_group;\n@%p1 cp.async.bulk.wait_group 0;\n" TAIL

static void a_tensor_store_writes_what_lies_inside_of_the_tensor(void **state)
{
    const uint64_t dims[] = {60, 20}, strides[] = {512};
    const uint32_t box[] = {32, 8}; /* of float: rows of 128 bytes */

    (void)state;
    assert_true(
        map_encode(EMU_TENSOR_F32, 2, machine.out_at, dims, strides, box, EMU_SWIZZLE_128B));
    run_clean(with(TENSOR_STORE, "COORDINATES", "40, 15"), (struct shape){.threads = 64});
    for (int y = 0; y < 24; y++) {
        for (int x = 0; x < 128; x++) {
            uint32_t want = 0xdeadbeef;

            if (x >= 40 && x < 60 && y >= 15 && y < 20) {
                uint32_t at = (uint32_t)((y - 15) * 128 + (x - 40) * 4);

                at ^= (at >> 7 & 7) << 4;
                want = at / 16 + 7;
            }
            assert_int_equal(machine.out[y * 128 + x], want);
        }
    }
    /* Five rows of the box lie inside: the others need not have been written, but those must. */
    run_clean(with(TENSOR_STORE, "COORDINATES", "40, 15"), (struct shape){.threads = 40});
    run_finds(with(TENSOR_STORE, "COORDINATES", "40, 15"), (struct shape){.threads = 39},
              FINDING_UNINITIALISED);
    run_finds(
        without(with(TENSOR_STORE, "COORDINATES", "0, 0"), "fence.proxy.async.shared::cta;\n"),
        (struct shape){.threads = 64}, FINDING_PROXY);
}

static void tensor_maps_are_checked_as_the_driver_does(void **state)
{
    const uint64_t dims[] = {64, 64}, strides[] = {256}, odd[] = {264}, none[] = {64, 0};
    const uint32_t box[] = {32, 8}, wide[] = {257, 8}, empty[] = {32, 0}, crooked[] = {3, 8};

    (void)state;
    assert_true(map_encode(EMU_TENSOR_F32, 2, 4096, dims, strides, box, EMU_SWIZZLE_128B));
    assert_false(map_encode(EMU_TENSOR_F32, 2, 4104, dims, strides, box, EMU_SWIZZLE_128B));
    assert_false(map_encode(EMU_TENSOR_F32, 2, 4096, dims, odd, box, EMU_SWIZZLE_128B));
    assert_false(map_encode(EMU_TENSOR_F32, 2, 4096, none, strides, box, EMU_SWIZZLE_128B));
    assert_false(map_encode(EMU_TENSOR_F32, 2, 4096, dims, strides, wide, EMU_SWIZZLE_NONE));
    assert_false(map_encode(EMU_TENSOR_F32, 2, 4096, dims, strides, empty, EMU_SWIZZLE_NONE));
    assert_false(map_encode(EMU_TENSOR_F32, 2, 4096, dims, strides, crooked, EMU_SWIZZLE_NONE));
    assert_false(map_encode(EMU_TENSOR_F64, 2, 4096, dims, strides, box, EMU_SWIZZLE_128B));
    assert_false(map_encode(EMU_TENSOR_F32, 0, 4096, dims, strides, box, EMU_SWIZZLE_NONE));
    assert_false(map_encode(EMU_TENSOR_F32, 6, 4096, dims, strides, box, EMU_SWIZZLE_NONE));
    assert_false(map_encode(EMU_TENSOR_TF32, 2, 4096, dims, strides, box, EMU_SWIZZLE_NONE));
}

/* ---- rings ---- */

/*
 * Thread 0 loads eight tiles of 512 bytes into a ring of ST stages, two warps take them out again.
 * full[stage] is mbarrier stage, empty[stage] mbarrier 8 + stage.
 */
#define STAGE                                                                                      \
    "rem.u32 %r21, %r20, ST;\ndiv.u32 %r22, %r20, ST;\nand.b32 %r23, %r22, 1;\n"                   \
    "xor.b32 %r24, %r23, 1;\nshl.b32 %r25, %r21, 3;\nadd.u32 %r26, %r3, %r25;\n"                   \
    "add.u32 %r27, %r26, 64;\nshl.b32 %r28, %r21, 9;\nadd.u32 %r28, %r2, %r28;\n"                  \
    "mul.wide.u32 %d10, %r20, 512;\n"
#define RING                                                                                       \
    HEAD                                                                                           \
        "mov.u32 %r20, 0;\n@!%p1 bra READY;\nI:\nshl.b32 %r25, %r20, 3;\nadd.u32 %r26, %r3, "      \
        "%r25;\n"                                                                                  \
        "mbarrier.init.shared::cta.b64 [%r26], 1;\nmbarrier.init.shared::cta.b64 [%r26+64], 64;\n" \
        "add.u32 %r20, %r20, 1;\nsetp.lt.u32 %p4, %r20, ST;\n@%p4 bra I;\n"                        \
        "fence.mbarrier_init.release.cluster;\nREADY:\n" SYNC "mov.u32 %r20, 0;\n"                 \
        "setp.ge.u32 %p3, %r1, 32;\n@%p3 bra CONSUMER;\n@!%p1 bra END;\n"                          \
        "PRODUCER:\n" STAGE WAIT(                                                                  \
            "EMPTY", "%r27",                                                                       \
            "%r24") "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r26], 512;\nadd.u64 %d10, "    \
                    "%d1, %d10;\n"                                                                 \
                    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r28], "   \
                    "[%d10], 512, [%r26];\n"                                                       \
                    "add.u32 %r20, %r20, 1;\nsetp.lt.u32 %p4, %r20, 8;\n@%p4 bra PRODUCER;\nbra "  \
                    "END;\n"                                                                       \
                    "CONSUMER:\n" STAGE WAIT(                                                      \
                        "FULL", "%r26",                                                            \
                        "%r23") "sub.u32 %r30, %r1, 32;\nshl.b32 %r30, %r30, 3;\nadd.u32 %r31, "   \
                                "%r28, %r30;\n"                                                    \
                                "cvt.u64.u32 %d11, %r30;\nadd.u64 %d10, %d10, %d11;\nadd.u64 "     \
                                "%d10, %d2, %d10;\n"                                               \
                                "ld.shared.v2.b32 {%r32, %r33}, "                                  \
                                "[%r31];\nmbarrier.arrive.shared::cta.b64 _, [%r27];\n"            \
                                "st.global.v2.b32 [%d10], {%r32, %r33};\n"                         \
                                "add.u32 %r20, %r20, 1;\nsetp.lt.u32 %p4, %r20, 8;\n@%p4 bra "     \
                                "CONSUMER;\n" TAIL

static const char *ring_text(const char *text, int stages)
{
    const char *number = arena_printf(machine.arena, ", %d;\n", stages);

    while (strstr(text, ", ST;\n") != NULL) {
        text = with(text, ", ST;\n", number);
    }
    return text;
}

static void rings_of_one_to_four_stages_are_right(void **state)
{
    (void)state;
    for (int stages = 1; stages <= 4; stages++) {
        run_clean(ring_text(RING, stages), (struct shape){.threads = 96});
        assert_copied(1024);
    }
}

static void every_wait_and_arrival_of_a_ring_is_needed(void **state)
{
    (void)state;
    for (int stages = 1; stages <= 4; stages++) {
        struct shape shape = {.threads = 96};

        run_finds(ring_text(without(RING, WAIT("EMPTY", "%r27", "%r24")), stages), shape,
                  FINDING_RACE);
        /* Whether consumers that do not wait meet a copy on its way or nothing yet, depends. */
        run(ring_text(without(RING, WAIT("FULL", "%r26", "%r23")), stages), shape);
        assert_true(found(FINDING_RACE) || found(FINDING_UNINITIALISED));
        run_finds(ring_text(with(RING, "[%r27], %r24", "[%r27], %r23"), stages), shape,
                  FINDING_DEADLOCK);
        run(ring_text(with(RING, "[%r26], %r23", "[%r26], %r24"), stages), shape);
        assert_true(found(FINDING_RACE) || found(FINDING_UNINITIALISED));
        run_finds(ring_text(without(RING, "mbarrier.arrive.shared::cta.b64 _, [%r27];\n"), stages),
                  shape, FINDING_DEADLOCK);
        run_finds(ring_text(with(RING, "_, [%r26], 512", "_, [%r26], 496"), stages), shape,
                  FINDING_DEADLOCK);
        run_finds(ring_text(with(RING,
                                 "ld.shared.v2.b32 {%r32, %r33}, [%r31];\n"
                                 "mbarrier.arrive.shared::cta.b64 _, [%r27];\n",
                                 "mbarrier.arrive.shared::cta.b64 _, [%r27];\n"
                                 "ld.shared.v2.b32 {%r32, %r33}, [%r31];\n"),
                            stages),
                  shape, FINDING_RACE);
        run_finds(ring_text(without(RING, "fence.mbarrier_init.release.cluster;\n"), stages), shape,
                  FINDING_PROXY);
    }
}

/* Two warps take turns at one place, by two named barriers; the second goes first. */
#define PINGPONG                                                                                   \
    HEAD "shr.u32 %r20, %r1, 5;\nadd.u32 %r21, %r20, 1;\nxor.b32 %r22, %r20, 1;\n"                 \
         "add.u32 %r22, %r22, 1;\nand.b32 %r23, %r1, 31;\nshl.b32 %r24, %r23, 2;\n"                \
         "add.u32 %r24, %r24, %r2;\nmov.u32 %r25, 0;\nsetp.eq.u32 %p3, %r20, 0;\n"                 \
         "@%p3 st.shared.u32 [%r24], %r25;\n@%p3 bar.arrive 2, 64;\n"                              \
         "L:\nbar.sync %r21, 64;\nld.shared.u32 %r26, [%r24];\nadd.u32 %r26, %r26, %r21;\n"        \
         "st.shared.u32 [%r24], %r26;\nadd.u32 %r25, %r25, 1;\nsetp.lt.u32 %p4, %r25, 6;\n"        \
         "and.pred %p6, %p3, %p4;\nnot.pred %p7, %p3;\nor.pred %p6, %p6, %p7;\n"                   \
         "@%p6 bar.arrive %r22, 64;\n@%p4 bra L;\n"                                                \
         "mul.wide.u32 %d8, %r23, 4;\nadd.u64 %d8, %d2, %d8;\n@%p3 st.global.u32 [%d8], "          \
         "%r26;\n" TAIL

static void warps_that_take_turns_by_named_barriers_are_right(void **state)
{
    (void)state;
    run_clean(PINGPONG, (struct shape){.threads = 64});
    assert_int_equal(machine.out[5], 6 * (1 + 2));
    run_finds(without(PINGPONG, "bar.sync %r21, 64;\n"), (struct shape){.threads = 64},
              FINDING_RACE);
}

/* ---- clusters ---- */

#define CLUSTER_SYNC "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n"
#define RANK         "mov.u32 %r40, %cluster_ctarank;\nxor.b32 %r41, %r40, 1;\n"
/* Output of each block behind that of the one before. */
#define OWN_OUT "mov.u32 %r42, %ctaid.x;\nmul.wide.u32 %d20, %r42, 1024;\nadd.u64 %d5, %d5, %d20;\n"

#define EXCHANGE                                                                                   \
    HEAD RANK OWN_OUT                                                                              \
        "mad.lo.u32 %r20, %r40, 1000, %r1;\n"                                                      \
        "mapa.shared::cluster.u32 %r21, %r5, %r41;\n"                                              \
        "st.shared::cluster.v4.b32 [%r21], {%r20, %r20, %r20, %r20};\n" CLUSTER_SYNC COPY_OUT TAIL

static void blocks_of_a_cluster_write_into_each_others_memory(void **state)
{
    (void)state;
    run_clean(EXCHANGE, (struct shape){.threads = 64, .blocks = 4, .cluster = 2});
    for (int block = 0; block < 4; block++) {
        assert_int_equal(machine.out[256 * block + 4 * 63], (block % 2 ^ 1) * 1000 + 63);
    }
    run_clean(with(EXCHANGE,
                   "mapa.shared::cluster.u32 %r21, %r5, %r41;\n"
                   "st.shared::cluster.v4.b32 [%r21]",
                   "cvt.u64.u32 %d8, %r5;\ncvta.shared.u64 %d8, %d8;\nmapa.u64 %d9, %d8, %r41;\n"
                   "getctarank.u64 %r43, %d9;\nsetp.ne.u32 %p3, %r43, %r41;\n@%p3 bra END;\n"
                   "st.v4.b32 [%d9]"),
              (struct shape){.threads = 64, .blocks = 2, .cluster = 2});
}

/* A descriptor that keeps more bits of an address than it has room for is right in lone blocks. */
static void own_addresses_in_a_cluster_tell_the_rank(void **state)
{
    static const char text[] =
        HEAD OWN_OUT "shr.u32 %r20, %r2, 24;\nst.global.b32 [%d5], %r20;\n" TAIL;
    (void)state;
    run_clean(text, (struct shape){.threads = 1, .blocks = 2});
    assert_int_equal(machine.out[256], 0);
    run_clean(text, (struct shape){.threads = 1, .blocks = 4, .cluster = 2});
    for (int block = 0; block < 4; block++) {
        assert_int_equal(machine.out[256 * block], 1 + block % 2);
    }
}

static void mistakes_between_blocks_of_a_cluster_are_found(void **state)
{
    struct shape shape = {.threads = 64, .blocks = 2, .cluster = 2};

    (void)state;
    run_finds(without(EXCHANGE, CLUSTER_SYNC), shape, FINDING_RACE);
    run_finds(without(EXCHANGE, "barrier.cluster.wait.aligned;\n"), shape, FINDING_RACE);
    run_finds(with(EXCHANGE, "arrive.aligned", "arrive.relaxed.aligned"), shape, FINDING_RACE);
    run_finds(without(EXCHANGE, "barrier.cluster.arrive.aligned;\n"), shape, FINDING_BARRIER);
    run_finds(
        with(EXCHANGE, "arrive.aligned;\n", "arrive.aligned;\nbarrier.cluster.arrive.aligned;\n"),
        shape, FINDING_BARRIER);
    run_finds(with(EXCHANGE, "xor.b32 %r41, %r40, 1", "add.u32 %r41, %r40, 1"), shape,
              FINDING_OUT_OF_BOUNDS);
    assert_non_null(strstr(run_finds(with(EXCHANGE, "barrier.cluster.arrive",
                                          "setp.eq.u32 %p3, %r40, 1;\n@%p3 bar.sync 1, 128;\n"
                                          "barrier.cluster.arrive"),
                                     shape, FINDING_DEADLOCK),
                           "cluster"));
}

/* Each block loads one half and sends it to both; each waits for both halves. */
#define MULTICAST                                                                                  \
    HEAD RANK OWN_OUT INIT FENCE CLUSTER_SYNC EXPECT(                                              \
        "1024") "shl.b32 %r20, %r40, 9;\nadd.u32 %r21, %r2, %r20;\ncvt.u64.u32 %d8, %r20;\n"       \
                "add.u64 %d8, %d1, %d8;\nmov.u16 %h1, 3;\n"                                        \
                "@%p1 "                                                                            \
                "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::"    \
                "cluster "                                                                         \
                "[%r21], [%d8], 512, [%r3], %h1;\n" WAIT("W", "%r3", "0")                          \
                    COPY_OUT CLUSTER_SYNC TAIL

static void a_copy_reaches_all_blocks_of_its_mask(void **state)
{
    struct shape shape = {.threads = 64, .blocks = 4, .cluster = 2};

    (void)state;
    run_clean(MULTICAST, shape);
    for (int block = 0; block < 4; block++) {
        assert_memory_equal(machine.out + 256 * block, machine.in, 1024);
    }
    /* The fence alone shows the mbarriers to the other block, if only they are there. */
    run_clean(with(MULTICAST, CLUSTER_SYNC,
                   "barrier.cluster.arrive.relaxed.aligned;\n"
                   "barrier.cluster.wait.acquire.aligned;\n"),
              shape);
    run_finds(with(MULTICAST, "mov.u16 %h1, 3", "mov.u16 %h1, 5"), shape, FINDING_OUT_OF_BOUNDS);
    run_finds(with(MULTICAST, "mov.u16 %h1, 3", "mov.u16 %h1, 1"), shape, FINDING_DEADLOCK);
    run_finds(without(MULTICAST, WAIT("W", "%r3", "0")), shape, FINDING_RACE);
}

/* Block 0 copies from its shared memory into block 1's; block 1 says when it has read it. */
#define SHARED_TO_SHARED                                                                           \
    HEAD RANK INIT FENCE STORE_OWN                                                                 \
        "fence.proxy.async.shared::cta;\n" CLUSTER_SYNC                                            \
        "setp.eq.u32 %p5, %r40, 0;\nmapa.shared::cluster.u32 %r21, %r2, 1;\n"                      \
        "mapa.shared::cluster.u32 %r22, %r3, %r41;\nand.pred %p6, %p1, %p5;\n"                     \
        "@%p6 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes "             \
        "[%r21+4096], "                                                                            \
        "[%r2], 1024, [%r22];\n@%p5 bra DONE;\n" EXPECT("1024")                                    \
            WAIT("W", "%r3",                                                                       \
                 "0") "ld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r5+4096];\n"                   \
                      "st.global.v4.b32 [%d5], {%r10, %r11, %r12, %r13};\n" SYNC                   \
                      "@%p1 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r22];\n"      \
                      "bra END;\nDONE:\n" WAIT("V", "%r3", "0") "st.shared.u32 [%r5], %r1;\n" TAIL

static void shared_memory_is_copied_to_another_block_and_an_arrival_comes_back(void **state)
{
    struct shape shape = {.threads = 64, .blocks = 2, .cluster = 2};

    (void)state;
    run_clean(SHARED_TO_SHARED, shape);
    for (int word = 0; word < 256; word++) {
        assert_int_equal(machine.out[word], word / 4 + 7);
    }
    run_finds(without(SHARED_TO_SHARED, WAIT("V", "%r3", "0")), shape, FINDING_IN_FLIGHT);
    run_finds(without(SHARED_TO_SHARED, "fence.proxy.async.shared::cta;\n"), shape, FINDING_PROXY);
    run_finds(with(SHARED_TO_SHARED, "1024, [%r22]", "1024, [%r3]"), shape, FINDING_BARRIER);
    run_finds(without(SHARED_TO_SHARED,
                      "@%p1 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r22];\n"),
              shape, FINDING_DEADLOCK);
}

/* ---- what is not known ---- */

static void unknown_variants_are_refused_with_their_line(void **state)
{
    static const char *const lines[] = {
        "cp.async.cg.shared.global [%r5], [%d4], 8;\n",
        "cp.async.ca.shared.global [%r5], [%d4], 12;\n",
        "cp.async.bulk.tensor.2d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%r2], "
        "[%d7, {%r1, %r1}], [%r3], {%h1};\n",
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], "
        "[%d7, {%r1}], [%r3];\n",
        "cp.async.bulk.global.shared::cta.bulk_group.cp_mask [%d2], [%r2], 16, %h1;\n",
        "cp.async.wait_group %r1;\n",
        "mbarrier.arrive.shared::cta.b64 %d8;\n",
        "mbarrier.init.shared::cta.b64 [%r3], 1, 2;\n",
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.b32 [%d2], [%r2], 16;\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct code *code;

        machine.err = (struct err){0};
        if (decode(arena_printf(machine.arena, "%s%s%s", HEAD, lines[i], TAIL), &code)) {
            fail_msg("decoded: %s", lines[i]);
        }
        assert_int_equal(machine.err.kind, ERR_USER);
        assert_non_null(strstr(machine.err.what, "line"));
    }
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, machine_up, machine_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cp_async_copies_4_8_and_16_bytes_with_all_qualifiers),
        TEST(cp_async_fills_with_zeros_what_the_source_does_not_give),
        TEST(a_source_of_no_bytes_is_not_looked_at),
        TEST(cp_async_is_checked_for_bounds_and_alignment),
        TEST(reading_before_the_wait_is_a_race_with_the_copy),
        TEST(a_copy_outside_of_a_group_is_not_waited_for),
        TEST(wait_group_leaves_the_newest_groups_on_their_way),
        TEST(what_another_thread_copied_needs_its_wait_and_a_barrier),
        TEST(copying_over_what_others_still_read_is_a_race),
        TEST(cp_async_arrives_at_an_mbarrier_when_its_copies_have_landed),
        TEST(an_mbarrier_orders_those_who_arrive_before_those_who_wait),
        TEST(waiting_for_the_wrong_parity_passes_at_once_or_never),
        TEST(too_few_arrivals_are_a_deadlock_and_too_many_a_finding),
        TEST(counted_arrivals_drops_and_pending_counts_add_up),
        TEST(transactions_hold_a_phase_open_until_their_bytes_are_complete),
        TEST(mbarriers_that_are_none_are_found),
        TEST(polling_a_phase_is_no_deadlock),
        TEST(a_bulk_copy_brings_global_to_shared_memory),
        TEST(mistakes_around_a_bulk_copy_are_found),
        TEST(bytes_that_nobody_expects_are_found),
        TEST(a_bulk_store_takes_shared_memory_to_global),
        TEST(mistakes_around_a_bulk_store_are_found),
        TEST(bulk_reductions_change_what_is_there),
        TEST(any_number_of_copies_may_be_started),
        TEST(a_two_dimensional_box_is_loaded_with_every_swizzle),
        TEST(a_box_that_reaches_out_of_the_tensor_is_filled_with_zeros),
        TEST(boxes_of_one_to_five_dimensions_are_loaded),
        TEST(mistakes_around_a_tensor_load_are_found),
        TEST(a_tensor_store_writes_what_lies_inside_of_the_tensor),
        TEST(tensor_maps_are_checked_as_the_driver_does),
        TEST(rings_of_one_to_four_stages_are_right),
        TEST(every_wait_and_arrival_of_a_ring_is_needed),
        TEST(warps_that_take_turns_by_named_barriers_are_right),
        TEST(blocks_of_a_cluster_write_into_each_others_memory),
        TEST(own_addresses_in_a_cluster_tell_the_rank),
        TEST(mistakes_between_blocks_of_a_cluster_are_found),
        TEST(a_copy_reaches_all_blocks_of_its_mask),
        TEST(shared_memory_is_copied_to_another_block_and_an_arrival_comes_back),
        TEST(unknown_variants_are_refused_with_their_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
