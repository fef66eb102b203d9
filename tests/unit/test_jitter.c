/* Jitter twins: what is put where in the text, and what it brings to light on the PTX machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fitness/device.h"
#include "fitness/emu/ptx.h"
#include "fitness/jitter.h"
#include "fitness/latecopy.h"

#define HEAD ".version 9.0\n.target sm_90a\n.address_size 64\n"

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static const char *twin_of(const char *text, struct jitter_sites *sites)
{
    struct buf twin = {0};
    struct ptx_module *module;
    struct err err = {0};
    const char *made;

    if (!jitter_twin(text, strlen(text), &twin, sites, &err)) {
        fail_msg("%s\n%s", err.what, text);
    }
    if (!ptx_parse(arena, twin.data, twin.length, &module, &err)) {
        fail_msg("%s\n%.*s", err.what, (int)twin.length, twin.data);
    }
    made = arena_text(arena, twin.data, twin.length);
    buf_free(&twin);
    return made;
}

/* Delays as "<>", so that a test can say where they are; the variable as "$". */
static const char *shortened(const char *text)
{
    static const char variable[] = "\n.visible .global .align 8 .u32 evo_jitter[4];\n";
    struct buf out = {0};
    const char *made;

    while (*text != '\0') {
        const char *end = strstr(text, "nanosleep.u32 %evo_t;\n}\n");

        if (strncmp(text, "\n{\n.reg .b32 %evo_h", 19) == 0 && end != NULL) {
            buf_puts(&out, "<>");
            text = strchr(end, '}') + 2;
        } else if (strncmp(text, variable, sizeof variable - 1) == 0) {
            buf_puts(&out, "$");
            text += sizeof variable - 1;
        } else {
            buf_add(&out, text++, 1);
        }
    }
    made = arena_text(arena, out.data, out.length);
    buf_free(&out);
    return made;
}

static void delays_stand_where_races_hide(void **state)
{
    static const struct {
        const char *body, *twin;
        int barriers, waits, starts;
    } cases[] = {
        {"ret;", "ret;", 0, 0, 0},
        {"bar.sync 0;\nret;", "bar.sync 0;<>\nret;", 1, 0, 0},
        {"@%p0 bar.sync 0;", "@%p0 bar.sync 0;<>", 1, 0, 0},
        {"barrier.sync.aligned 1, 64;", "barrier.sync.aligned 1, 64;<>", 1, 0, 0},
        {"bar.arrive 1, 64;bar.red.popc.u32 %r0, 0, %p0;",
         "bar.arrive 1, 64;<>bar.red.popc.u32 %r0, 0, %p0;<>", 2, 0, 0},
        {"bar.warp.sync -1;", "bar.warp.sync -1;<>", 1, 0, 0},
        {"barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;",
         "barrier.cluster.arrive.aligned;<>\nbarrier.cluster.wait.aligned;<>", 2, 0, 0},
        {"cp.async.wait_group 0;", "<>cp.async.wait_group 0;", 0, 1, 0},
        {"cp.async.commit_group;\ncp.async.wait_all;", "cp.async.commit_group;\n<>cp.async.wait_all;",
         0, 1, 0},
        {"cp.async.bulk.wait_group.read 0;", "<>cp.async.bulk.wait_group.read 0;", 0, 1, 0},
        {"wgmma.wait_group.sync.aligned 0;", "<>wgmma.wait_group.sync.aligned 0;", 0, 1, 0},
        {"@!%p0 cp.async.wait_all;", "<>@!%p0 cp.async.wait_all;", 0, 1, 0},
        {"LOOP: mbarrier.try_wait.parity.shared::cta.b64 %p0, [%r0], %r1;\n@!%p0 bra LOOP;",
         "LOOP: <>mbarrier.try_wait.parity.shared::cta.b64 %p0, [%r0], %r1;\n@!%p0 bra LOOP;", 0, 1, 0},
        {"mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r0], 16;",
         "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r0], 16;<>", 1, 0, 0},
        {"mbarrier.init.shared.b64 [%r0], 1;", "mbarrier.init.shared.b64 [%r0], 1;", 0, 0, 0},
        {"// bar.sync 0;\n/* bar.sync 0; } */ ret;", "// bar.sync 0;\n/* bar.sync 0; } */ ret;", 0, 0, 0},
        {".loc 1 5 3\ncp.async.wait_all;", ".loc 1 5 3\n<>cp.async.wait_all;", 0, 1, 0},
        {".loc 1 5 3, function_name $L0, inlined_at 1 9 2\n@%p0 cp.async.wait_all;",
         ".loc 1 5 3, function_name $L0, inlined_at 1 9 2\n<>@%p0 cp.async.wait_all;", 0, 1, 0},
        {"{ .reg .b32 %x; bar.sync 0; }", "{ .reg .b32 %x; bar.sync 0;<> }", 1, 0, 0},
        {".pragma \"nounroll; bar.sync\";\nret;", ".pragma \"nounroll; bar.sync\";\nret;", 0, 0, 0},
        {"barrier_of_mine: ret;", "barrier_of_mine: ret;", 0, 0, 0},
        {"@%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r0], [%r1], 16, "
         "[%r2];\nmbarrier.test_wait.shared.b64 %p0, [%r0], %a0;",
         "<>@%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r0], [%r1], "
         "16, [%r2];\n<>mbarrier.test_wait.shared.b64 %p0, [%r0], %a0;",
         0, 1, 1},
        {"cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%r0, {%r1, %r2}], [%r3];\n"
         "cp.async.bulk.commit_group;",
         "<>cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%r0, {%r1, %r2}], [%r3];\n"
         "cp.async.bulk.commit_group;",
         0, 0, 1},
        {"cp.async.bulk.prefetch.L2.global [%r0], 16;", "cp.async.bulk.prefetch.L2.global [%r0], 16;",
         0, 0, 0},
        {"cp.async.mbarrier.arrive.noinc.shared.b64 [%r0];",
         "<>cp.async.mbarrier.arrive.noinc.shared.b64 [%r0];", 0, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char *const form = "%s%s.visible .entry k()\n{%s"
                                        ".reg .pred %%p<2>; .reg .b32 %%r<4>;\n%s\n}\n";
        const char *text = arena_printf(arena, form, HEAD, "", "", cases[i].body);
        struct jitter_sites sites;
        const char *twin = shortened(twin_of(text, &sites));

        assert_string_equal(twin, arena_printf(arena, form, HEAD, "$", "<>", cases[i].twin));
        assert_int_equal(sites.entries, 1);
        assert_int_equal(sites.barriers, cases[i].barriers);
        assert_int_equal(sites.waits, cases[i].waits);
        assert_int_equal(sites.starts, cases[i].starts);
        assert_int_equal(sites.held, 0);
    }
}

static void functions_and_declarations_are_told_apart(void **state)
{
    const char *text = HEAD ".file 1 \"a {b}.cu\"\n"
                            ".extern .entry elsewhere(.param .u64 p);\n"
                            ".global .align 4 .u32 table[2] = {1, 2};\n"
                            ".func helper(.param .b32 x)\n{\nbar.sync 0;\nret;\n}\n"
                            ".entry a(.param .u64 p) .maxntid 128, 1, 1\n{\nret;\n}\n"
                            ".entry b()\n{\nret;\n}\n";
    struct jitter_sites sites;
    const char *twin;

    (void)state;
    twin = shortened(twin_of(text, &sites));
    assert_int_equal(sites.entries, 2);
    assert_int_equal(sites.barriers, 1);
    assert_non_null(strstr(twin, "{b}.cu\"\n$.extern"));
    assert_non_null(strstr(twin, ".func helper(.param .b32 x)\n{\nbar.sync 0;<>"));
    assert_non_null(strstr(twin, ".maxntid 128, 1, 1\n{<>\nret;"));
}

static void what_is_no_program_has_no_twin(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "there is no kernel"},
        {HEAD, "there is no kernel"},
        {HEAD ".func f()\n{\nret;\n}\n", "there is no kernel"},
        {".entry k()\n{\nret;\n}\n", "must come first"},
        {".version 9.0\n.entry k()\n{\nret;\n}\n", "must come first"},
        {".version x\n", "line 1: '.version' without a number"},
        {".version 6.2\n.target sm_70\n.entry k()\n{\n}\n", "6.3 is the first"},
        {HEAD ".entry k()\n{\nret;\n", "a '}' is missing"},
        {HEAD ".entry k()\n}\n", "line 5: a '}' closes nothing"},
        {HEAD ".entry k()\n{\n.pragma \"x\n;\n}\n", "line 6: a string does not end"},
        {HEAD ".global .u32 evo_jitter[2];\n.entry k()\n{\n}\n", "only a twin has"},
        {HEAD ".entry k()\n{\n.reg .b32 %evo_head;\n}\n", "'%evo_head' is a name that only"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct jitter_sites sites;
        struct buf twin = {0};
        struct err err = {0};

        assert_false(jitter_twin(bad[i].text, strlen(bad[i].text), &twin, &sites, &err));
        if (strstr(err.what, bad[i].says) == NULL) {
            fail_msg("'%s', not '%s'", err.what, bad[i].says);
        }
        buf_free(&twin);
    }
}

static void a_zero_at_the_end_is_no_part_of_the_text(void **state)
{
    static const char text[] = HEAD ".entry k()\n{\nret;\n}\n\0";
    struct buf twin = {0};
    struct jitter_sites sites;
    struct err err = {0};

    (void)state;
    assert_true(jitter_twin(text, sizeof text, &twin, &sites, &err));
    assert_null(memchr(twin.data, '\0', twin.length));
    buf_free(&twin);
}

static void jitters_differ_and_grow(void **state)
{
    uint32_t seen[JITTERS][JITTER_WORDS];
    int late = 0;

    (void)state;
    for (int n = 0; n < JITTERS; n++) {
        jitter_words(n, 12345, seen[n]);
        assert_in_range(seen[n][0], n > 0 ? 64 : 0, n > 0 ? JITTER_NS_MAX : 0);
        assert_int_equal(seen[n][1] & 1, n > JITTERS / 2);
        late += seen[n][2] > 0;
        for (int m = 0; m < n; m++) {
            assert_memory_not_equal(seen[m], seen[n], sizeof seen[n]);
        }
    }
    assert_int_equal(seen[0][2], LATE_COPIES_MAX);
    assert_int_equal(late, 1 + JITTER_AMPLITUDES);
}

/* ---- on the machine -------------------------------------------------------------------------- */

enum { THREADS = 128, WORDS = THREADS };

/* Kernels of one block of 128 threads; thread t writes the word t of the output. */
static const char start[] =
    HEAD ".visible .entry k(.param .u64 output)\n{\n"
         ".reg .pred %p<4>;\n.reg .b32 %r<16>;\n.reg .b64 %a<8>;\n"
         ".shared .align 16 .b8 memory[2048];\n"
         "ld.param.u64 %a0, [output];\ncvta.to.global.u64 %a0, %a0;\n"
         "mov.u32 %r0, %tid.x;\nmov.u32 %r1, memory;\n"
         "shl.b32 %r2, %r0, 2;\nadd.u32 %r3, %r1, %r2;\n"
         "cvt.u64.u32 %a1, %r2;\nadd.s64 %a2, %a0, %a1;\n"
         /* its own slot, and that of the thread a warp before it; the first warp's: its own */
         "setp.lt.u32 %p0, %r0, 32;\nadd.u32 %r4, %r3, -128;\nselp.b32 %r4, %r3, %r4, %p0;\n";

static const struct {
    const char *name, *body;
    bool racy;
} kernels[] = {
    {"a barrier between writing and reading",
     "mad.lo.u32 %r5, %r0, 3, 7;\nst.shared.u32 [%r3], %r5;\nbar.sync 0;\n"
     "ld.shared.u32 %r6, [%r4];\nst.global.u32 [%a2], %r6;\nret;\n}\n",
     false},
    {"none between them: right as long as warps come in order",
     "mad.lo.u32 %r5, %r0, 3, 7;\nst.shared.u32 [%r3], %r5;\n"
     "ld.shared.u32 %r6, [%r4];\nst.global.u32 [%a2], %r6;\nret;\n}\n",
     true},
    {"two barriers a turn",
     "mov.u32 %r7, 0;\nmov.u32 %r8, 0;\nTURN:\nmad.lo.u32 %r5, %r0, 3, %r7;\n"
     "st.shared.u32 [%r3], %r5;\nbar.sync 0;\nld.shared.u32 %r6, [%r4];\n"
     "mad.lo.u32 %r8, %r8, 5, %r6;\nbar.sync 0;\nadd.u32 %r7, %r7, 1;\n"
     "setp.lt.u32 %p1, %r7, 12;\n@%p1 bra TURN;\nst.global.u32 [%a2], %r8;\nret;\n}\n",
     false},
    {"one barrier a turn: the next turn's writes may come first",
     "mov.u32 %r7, 0;\nmov.u32 %r8, 0;\nTURN:\nmad.lo.u32 %r5, %r0, 3, %r7;\n"
     "st.shared.u32 [%r3], %r5;\nbar.sync 0;\nld.shared.u32 %r6, [%r4];\n"
     "mad.lo.u32 %r8, %r8, 5, %r6;\nadd.u32 %r7, %r7, 1;\n"
     "setp.lt.u32 %p1, %r7, 12;\n@%p1 bra TURN;\nst.global.u32 [%a2], %r8;\nret;\n}\n",
     true},
    {"a warp barrier where a block's is due",
     "mad.lo.u32 %r5, %r0, 3, 7;\nst.shared.u32 [%r3], %r5;\nbar.warp.sync -1;\n"
     "ld.shared.u32 %r6, [%r4];\nst.global.u32 [%a2], %r6;\nret;\n}\n",
     true},
};

struct machine_rig {
    struct device_module *module;
    struct plan plan;
    struct device_buffers buffers;
};

static void open_rig(struct machine_rig *rig, const char *text)
{
    struct judge_image image = {0};
    struct hello hello;
    struct err err = {0};

    *rig = (struct machine_rig){.plan = {.kernel_count = 1}};
    image.program.kernel_count = 1;
    image.program.kernels[0] = (struct program_kernel){
        .name = "k", .grid = {"1", "1", "1"}, .threads = "128", .smem = "0", .args = {"O"},
        .arg_count = 1};
    rig->plan.kernels[0] = (struct plan_kernel){
        .name = "k", .grid = {1, 1, 1}, .threads = THREADS, .args = {{.kind = ARG_O}},
        .arg_count = 1};
    rig->buffers.problem = (struct problem_args){
        .batch = 1, .heads = 1, .kv_heads = 1, .q_len = 4, .kv_len = 4, .head_dim = 64};
    assert_true(device_open(arena, "0/1", &hello, &err));
    if (device_load_twin(&image, text, strlen(text), &rig->module, &err) != DEVICE_OK ||
        device_alloc(WORDS * 4, &rig->buffers.o, &err) != DEVICE_OK) {
        fail_msg("%s", err.what);
    }
}

static void close_rig(struct machine_rig *rig)
{
    device_free(rig->buffers.o);
    device_unload(rig->module);
    device_close();
}

/* Without words: it is no twin. */
static void run_rig(struct machine_rig *rig, const uint32_t words[JITTER_WORDS],
                    uint32_t out[WORDS])
{
    struct err err = {0};

    if ((words != NULL && device_twin_set(rig->module, words, &err) != DEVICE_OK) ||
        device_call(rig->module, &rig->plan, &rig->buffers, &err) != DEVICE_OK ||
        device_read(out, rig->buffers.o, WORDS * 4, &err) != DEVICE_OK) {
        fail_msg("%s", err.what);
    }
}

/* Without sanitizers: the bits alone tell. */
static void a_race_that_is_always_won_shows_under_jitter(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        const char *text = arena_printf(arena, "%s%s", start, kernels[i].body);
        uint32_t still[WORDS], delayed[WORDS], words[JITTER_WORDS] = {0};
        struct jitter_sites sites;
        struct machine_rig rig;
        int changed = 0;

        open_rig(&rig, twin_of(text, &sites));
        run_rig(&rig, words, still);
        run_rig(&rig, words, delayed);
        assert_memory_equal(still, delayed, sizeof still);
        assert_true(strstr(kernels[i].body, "TURN") != NULL || still[40] == 3 * 8 + 7);
        for (int n = 0; n < JITTERS; n++) {
            jitter_words(n, 99, words);
            run_rig(&rig, words, delayed);
            changed += memcmp(still, delayed, sizeof still) != 0;
        }
        if ((changed > 0) != kernels[i].racy) {
            fail_msg("%s: %d of %d jitters changed the output", kernels[i].name, changed, JITTERS);
        }
        close_rig(&rig);
    }
}

/* ---- late copies ----------------------------------------------------------------------------- */

/* The word i of `source` is 3 i + 7; the first places of `memory` are zeros before any copy. */
static const char *with_source(const char *functions, const char *body)
{
    struct buf text = {0};
    const char *made;

    buf_puts(&text, HEAD ".global .align 16 .u32 source[512] = {");
    for (int i = 0; i < 512; i++) {
        buf_printf(&text, "%s%d", i > 0 ? ", " : "", 3 * i + 7);
    }
    buf_printf(&text, "};\n%s", functions);
    buf_puts(&text, start + sizeof HEAD - 1);
    buf_puts(&text, "st.shared.u32 [%r3], 0;\nst.shared.u32 [%r3+512], 0;\n"
                    "st.shared.u32 [%r3+1024], 0;\nst.shared.u32 [%r3+1536], 0;\n"
                    "mov.u64 %a3, source;\nadd.s64 %a4, %a3, %a1;\nbar.sync 0;\n");
    buf_printf(&text, "%s%s", body,
               "ld.shared.u32 %r6, [%r4];\nld.shared.u32 %r7, [%r4+512];\n"
               "mad.lo.u32 %r6, %r7, 1000, %r6;\nld.shared.u32 %r7, [%r4+1024];\n"
               "mad.lo.u32 %r6, %r7, 1000000, %r6;\nst.global.u32 [%a2], %r6;\nret;\n}\n");
    made = arena_text(arena, text.data, text.length);
    buf_free(&text);
    return made;
}

#define COPY(stage)                                                                                \
    "cp.async.ca.shared.global [%r3+" stage "], [%a4+" stage "], 4;\ncp.async.commit_group;\n"

static const struct {
    const char *name, *body;
    bool racy;
    int stages; /* that must be there; -1: the first, a hundred times; 0: not checked */
    int held;
    const char *functions;
} copies[] = {
    {"waited for, then a barrier", COPY("0") "cp.async.wait_group 0;\nbar.sync 0;\n", false, 1, 1, ""},
    {"never waited for", COPY("0") "bar.sync 0;\n", true, 1, 1, ""},
    {"waited for after the barrier: but its own copies", COPY("0") "bar.sync 0;\n"
     "cp.async.wait_all;\n", true, 1, 1, ""},
    {"three groups, all but one waited for, and that one's stage not read",
     COPY("0") COPY("512") COPY("1024") COPY("1536") "cp.async.wait_group 1;\nbar.sync 0;\n", false, 3,
     4, ""},
    {"one group too few",
     COPY("0") COPY("512") COPY("1024") COPY("1536") "cp.async.wait_group 2;\nbar.sync 0;\n", true, 3,
     4, ""},
    {"an empty group counts",
     COPY("0") COPY("512") COPY("1024") "cp.async.commit_group;\ncp.async.wait_group 1;\n"
     "bar.sync 0;\n", false, 3, 3, ""},
    {"a group that was never closed",
     "cp.async.ca.shared.global [%r3], [%a4], 4;\ncp.async.wait_group 0;\nbar.sync 0;\n", true, 1, 1,
     ""},
    {"and is waited for with all",
     "cp.async.ca.shared.global [%r3], [%a4], 4;\ncp.async.wait_all;\nbar.sync 0;\n", false, 1, 1, ""},
    {"guards of all kinds",
     "setp.lt.u32 %p1, %r0, 70;\n"
     "@%p1 cp.async.ca.shared.global [%r3], [%a4], 4;\n"
     "@!%p1 cp.async.ca.shared.global [%r3+512], [%a4], 4;\n@%p1 cp.async.commit_group;\n"
     "@%p1 cp.async.wait_group 0;\n@!%p1 cp.async.wait_all;\nbar.sync 0;\n", false, 0, 2, ""},
    {"a wait that its guard keeps some from",
     "setp.lt.u32 %p1, %r0, 70;\n" COPY("0") "@%p1 cp.async.wait_group 0;\nbar.sync 0;\n", true, 1, 1,
     ""},
    {"sixteen bytes, and their tails filled with zeros",
     "setp.lt.u32 %p1, %r0, 32;\nshl.b32 %r8, %r0, 4;\nadd.u32 %r9, %r1, %r8;\n"
     "cvt.u64.u32 %a5, %r8;\nadd.s64 %a5, %a3, %a5;\nand.b32 %r10, %r0, 15;\n"
     "@%p1 cp.async.cg.shared::cta.global.L2::128B [ %r9 ], [%a5 + 16], 16;\n"
     "@%p1 cp.async.cg.shared.global [%r9+512], [%a5], 16, %r10; // a tail\n"
     "@%p1 cp.async.ca.shared.global [%r9+1024], [%a5], 8 /* half */, 3;\n"
     "cp.async.wait_all;\nbar.sync 0;\n", false, 0, 3, ""},
    {"sources ignored, hints for the cache",
     "setp.lt.u32 %p1, %r0, 50;\nmov.b64 %a6, 0x12f0000000000000;\n"
     "{ .reg .pred drop; mov.pred drop, %p1;\n"
     "cp.async.ca.shared.global [%r3], [%a4], 4, drop; }\n"
     "cp.async.ca.shared.global.L2::cache_hint [%r3+512], [%a4], 4, %a6;\n"
     "cp.async.ca.shared.global.L2::cache_hint [%r3+1024], [%a4], 4, 4, %a6;\n"
     "cp.async.wait_all;\nbar.sync 0;\n", false, 0, 3, ""},
    {"addresses by name and in 64 bits",
     "cvt.u64.u32 %a6, %r3;\nsetp.eq.u32 %p1, %r0, 5;\n"
     "cp.async.ca.shared.global [%a6+-0], [%a4], 4;\n"
     "@%p1 cp.async.ca.shared.global [memory+516], [source], 4;\n"
     "@%p1 cp.async.ca.shared.global [memory+1024], [source+8], 4;\n"
     "cp.async.wait_all;\nbar.sync 0;\n", false, 0, 3, ""},
    {"more than a thread holds back",
     "mov.u32 %r8, 0;\nTURN:\n" COPY("0") COPY("512") "add.u32 %r8, %r8, 1;\n"
     "setp.lt.u32 %p1, %r8, 40;\n@%p1 bra TURN;\n" COPY("1024")
     "cp.async.wait_group 0;\nbar.sync 0;\n", false, 3, 3, ""},
    {"a ring that goes round, one group too few in its last turn",
     "mov.u32 %r8, 0;\nTURN:\n" COPY("0") "setp.lt.u32 %p1, %r8, 99;\n"
     "@%p1 cp.async.wait_group 0;\n@!%p1 cp.async.wait_group 1;\nbar.sync 0;\n"
     "ld.shared.u32 %r9, [%r4];\nbar.sync 0;\nst.shared.u32 [%r3], 0;\nbar.sync 0;\n"
     "mad.lo.u32 %r10, %r10, 3, %r9;\nadd.u32 %r8, %r8, 1;\nsetp.lt.u32 %p1, %r8, 100;\n"
     "@%p1 bra TURN;\nst.shared.u32 [%r3], %r10;\nbar.sync 0;\n", true, -1, 1, ""},
    {"told to an mbarrier",
     "setp.eq.u32 %p1, %r0, 0;\n@%p1 mbarrier.init.shared.b64 [memory+1544], 128;\nbar.sync 0;\n"
     "cp.async.ca.shared.global [%r3], [%a4], 4;\n"
     "cp.async.mbarrier.arrive.noinc.shared.b64 [memory+1544];\n"
     "AGAIN:\nmbarrier.try_wait.parity.shared.b64 %p2, [memory+1544], 0;\n@!%p2 bra AGAIN;\n",
     false, 1, 1, ""},
    {"told to an mbarrier that nobody asks",
     "setp.eq.u32 %p1, %r0, 0;\n@%p1 mbarrier.init.shared.b64 [memory+1544], 128;\nbar.sync 0;\n"
     "cp.async.ca.shared.global [%r3], [%a4], 4;\n"
     "cp.async.mbarrier.arrive.noinc.shared.b64 [memory+1544];\n",
     true, 1, 1, ""},
    {"a bulk copy and its wait",
     "setp.eq.u32 %p1, %r0, 0;\n@%p1 mbarrier.init.shared.b64 [memory+1544], 1;\nbar.sync 0;\n"
     "fence.proxy.async;\n"
     "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [memory+1544], 512;\n"
     "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [memory], [source], "
     "512, [memory+1544];\n"
     "AGAIN:\nmbarrier.try_wait.parity.shared.b64 %p2, [memory+1544], 0;\n@!%p2 bra AGAIN;\n",
     false, 1, 0, ""},
    {"a bulk copy that nobody asks for",
     "setp.eq.u32 %p1, %r0, 0;\n@%p1 mbarrier.init.shared.b64 [memory+1544], 1;\nbar.sync 0;\n"
     "fence.proxy.async;\n"
     "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [memory+1544], 512;\n"
     "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [memory], [source], "
     "512, [memory+1544];\nbar.sync 0;\nnanosleep.u32 100000;\nbar.sync 0;\n",
     true, 1, 1, ""},
    {"a function that waits for its caller: nothing is held back",
     COPY("0") "call helper;\nbar.sync 0;\n", false, 1, 0,
     ".func helper()\n{\ncp.async.wait_all;\nret;\n}\n"},
};

static void run_text(const char *text, const uint32_t words[JITTER_WORDS], uint32_t out[WORDS])
{
    struct machine_rig rig;

    open_rig(&rig, text);
    run_rig(&rig, words, out);
    close_rig(&rig);
}

/* What a thread writes that finds so many stages, the others being zeros. */
static uint32_t awaited(uint32_t thread, int stages)
{
    uint32_t slot = thread < 32 ? thread : thread - 32, sum = 0, factor = 1, value = 3 * slot + 7;

    for (int turn = 0; stages < 0 && turn < 100; turn++) {
        sum = 3 * sum + value;
    }
    for (int stage = 0; stage < stages; stage++) {
        sum += factor * (value + 3 * THREADS * (uint32_t)stage);
        factor *= 1000;
    }
    return sum;
}

static bool is_right(const uint32_t got[WORDS], int stages)
{
    for (uint32_t t = 0; t < WORDS; t++) {
        if (got[t] != awaited(t, stages)) {
            return false;
        }
    }
    return true;
}

/* The kernel as it is and its twin, whose copies come late: the same and right, or else wrong. */
static void copies_that_nobody_awaits_do_not_come(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        const char *text = with_source(copies[i].functions, copies[i].body), *twin;
        uint32_t plain[WORDS], got[WORDS], words[JITTER_WORDS] = {0};
        struct jitter_sites sites;
        int wrong = 0;

        twin = twin_of(text, &sites);
        assert_int_equal(sites.held, copies[i].held);
        run_text(text, NULL, plain);
        run_text(twin, words, got);
        if (memcmp(plain, got, sizeof got) != 0) {
            fail_msg("%s: the twin is another kernel", copies[i].name);
        }
        for (int n = 0; n < JITTERS; n++) {
            jitter_words(n, 99, words);
            run_text(twin, words, got);
            wrong += copies[i].stages != 0 ? !is_right(got, copies[i].stages)
                                           : memcmp(plain, got, sizeof got) != 0;
            if (n == 0 && (wrong > 0) != copies[i].racy) {
                fail_msg("%s: %s when copies are late", copies[i].name, wrong ? "wrong" : "right");
            }
        }
        if ((wrong > 0) != copies[i].racy) {
            fail_msg("%s: wrong under %d of %d jitters", copies[i].name, wrong, JITTERS);
        }
    }
}

static void a_kernel_that_sleeps_is_not_stuck(void **state)
{
    const char *text = arena_printf(
        arena, "%s%s", start,
        "setp.eq.u32 %p1, %r0, 0;\nmov.u32 %r5, 5000;\n@%p1 nanosleep.u32 %r5;\n"
        "nanosleep.u32 100;\nbar.sync 0;\nst.global.u32 [%a2], %r0;\nret;\n}\n");
    uint32_t out[WORDS], words[JITTER_WORDS] = {0};
    struct jitter_sites sites;
    struct machine_rig rig;

    (void)state;
    open_rig(&rig, twin_of(text, &sites));
    run_rig(&rig, words, out);
    for (uint32_t t = 0; t < WORDS; t++) {
        assert_int_equal(out[t], t);
    }
    close_rig(&rig);
}

static void a_module_without_the_variable_is_no_twin(void **state)
{
    const char *text = HEAD ".visible .entry k(.param .u64 output)\n{\nret;\n}\n";
    const uint32_t words[JITTER_WORDS] = {1, 1};
    struct machine_rig rig;
    struct err err = {0};

    (void)state;
    open_rig(&rig, text);
    assert_int_equal(device_twin_set(rig.module, words, &err), DEVICE_REFUSED);
    assert_non_null(strstr(err.what, "no twin"));
    close_rig(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_stand_where_races_hide),
        cmocka_unit_test(functions_and_declarations_are_told_apart),
        cmocka_unit_test(what_is_no_program_has_no_twin),
        cmocka_unit_test(a_zero_at_the_end_is_no_part_of_the_text),
        cmocka_unit_test(jitters_differ_and_grow),
        cmocka_unit_test(a_race_that_is_always_won_shows_under_jitter),
        cmocka_unit_test(copies_that_nobody_awaits_do_not_come),
        cmocka_unit_test(a_kernel_that_sleeps_is_not_stuck),
        cmocka_unit_test(a_module_without_the_variable_is_no_twin),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
