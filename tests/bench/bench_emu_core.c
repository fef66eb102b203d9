/*
 * bench_emu_core -- million lane instructions a second of the emulated device on one core, without
 * and with sanitizers.
 *
 *     bench_emu_core [BAR [BAR_WATCHED]]    fails when the kernels' mean is lower than these
 *
 * Each kernel is an inner loop of a family without tensor cores, as NVRTC writes it, run by the
 * machine from its PTX: a lane instruction is one instruction done by one thread. Seconds are those
 * of the process, so a machine that is shared is measured all the same.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"
#include "fitness/emu/ptx.h"

enum { TURNS = 4000, WARPS = 4, INPUT = 1 << 16, ROUNDS = 3 };

struct bench {
    const char *name;
    const char *turn; /* of the loop */
};

/*
 * %d0: this turn's place in an input of halves, %r1: the thread's place in shared memory, %f0 …:
 * sums.
 */
static const struct bench benches[] = {
    {"scores from global", /* attention_scalar: a row of K, the same for all */
     "ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%d0];\n"
     "mov.b32 {%h0, %h1}, %r4;\nmov.b32 {%h2, %h3}, %r5;\n"
     "mov.b32 {%h4, %h5}, %r6;\nmov.b32 {%h6, %h7}, %r7;\n"
     "cvt.f32.f16 %f8, %h0;\ncvt.f32.f16 %f9, %h1;\ncvt.f32.f16 %f10, %h2;\n"
     "cvt.f32.f16 %f11, %h3;\ncvt.f32.f16 %f12, %h4;\ncvt.f32.f16 %f13, %h5;\n"
     "cvt.f32.f16 %f14, %h6;\ncvt.f32.f16 %f15, %h7;\n"
     "fma.rn.f32 %f0, %f8, %f16, %f0;\nfma.rn.f32 %f0, %f9, %f17, %f0;\n"
     "fma.rn.f32 %f0, %f10, %f18, %f0;\nfma.rn.f32 %f0, %f11, %f19, %f0;\n"
     "fma.rn.f32 %f0, %f12, %f16, %f0;\nfma.rn.f32 %f0, %f13, %f17, %f0;\n"
     "fma.rn.f32 %f0, %f14, %f18, %f0;\nfma.rn.f32 %f0, %f15, %f19, %f0;\n"},
    {"tiles in shared memory", /* attention_tiled: two rows by two columns, four deep */
     "ld.shared.v4.f32 {%f8, %f9, %f10, %f11}, [%r1];\n"
     "ld.shared.v4.f32 {%f12, %f13, %f14, %f15}, [%r1+2048];\n"
     "fma.rn.f32 %f0, %f8, %f12, %f0;\nfma.rn.f32 %f0, %f9, %f13, %f0;\n"
     "fma.rn.f32 %f0, %f10, %f14, %f0;\nfma.rn.f32 %f0, %f11, %f15, %f0;\n"
     "fma.rn.f32 %f1, %f8, %f13, %f1;\nfma.rn.f32 %f1, %f9, %f14, %f1;\n"
     "fma.rn.f32 %f1, %f10, %f15, %f1;\nfma.rn.f32 %f1, %f11, %f12, %f1;\n"
     "fma.rn.f32 %f2, %f8, %f14, %f2;\nfma.rn.f32 %f2, %f9, %f15, %f2;\n"
     "fma.rn.f32 %f2, %f10, %f12, %f2;\nfma.rn.f32 %f2, %f11, %f13, %f2;\n"},
    {"a row's weights", /* an online softmax, reduced over eight lanes */
     "sub.f32 %f8, %f16, %f17;\nmul.f32 %f9, %f8, 0f3FB8AA3B;\nex2.approx.ftz.f32 %f10, %f9;\n"
     "setp.gt.f32 %p1, %f10, %f18;\nselp.f32 %f11, %f10, %f18, %p1;\n"
     "mov.b32 %r4, %f11;\nshfl.sync.bfly.b32 %r5|%p2, %r4, 4, 31, -1;\nmov.b32 %f12, %r5;\n"
     "max.f32 %f11, %f11, %f12;\n"
     "mov.b32 %r4, %f11;\nshfl.sync.bfly.b32 %r5|%p2, %r4, 2, 31, -1;\nmov.b32 %f12, %r5;\n"
     "max.f32 %f11, %f11, %f12;\nadd.f32 %f0, %f0, %f11;\nmul.f32 %f1, %f1, %f10;\n"
     "st.shared.f32 [%r1], %f11;\n"},
    {"addresses", /* which row, which column, inside or not */
     "shl.b32 %r4, %r2, 2;\nand.b32 %r5, %r4, 252;\nshr.u32 %r6, %r2, 5;\n"
     "mad.lo.s32 %r7, %r6, 72, %r5;\nsetp.lt.s32 %p1, %r7, 4096;\nselp.b32 %r8, %r7, 0, %p1;\n"
     "mul.wide.s32 %d2, %r8, 2;\nadd.s64 %d3, %d0, %d2;\nxor.b32 %r9, %r8, %r5;\n"
     "add.s32 %r10, %r10, %r9;\ncvt.u32.u64 %r11, %d3;\nadd.s32 %r10, %r10, %r11;\n"},
};
enum { BENCHES = sizeof benches / sizeof *benches };

static char *bench_text(const struct bench *bench)
{
    char *text = NULL;
    size_t length = 0;
    FILE *f = open_memstream(&text, &length);
    fprintf(f,
            ".version 8.0\n.target sm_90a\n.address_size 64\n"
            ".visible .entry k(.param .u64 in)\n{\n"
            ".reg .pred %%p<4>;\n.reg .b16 %%h<8>;\n.reg .b32 %%r<16>;\n.reg .f32 %%f<24>;\n"
            ".reg .b64 %%d<8>;\n.shared .align 16 .b8 smem[%d];\n"
            "ld.param.u64 %%d1, [in];\ncvta.to.global.u64 %%d1, %%d1;\nmov.u64 %%d0, %%d1;\n"
            "mov.u32 %%r2, %%tid.x;\nmov.u32 %%r0, smem;\nshl.b32 %%r3, %%r2, 4;\n"
            "add.u32 %%r1, %%r0, %%r3;\nmov.u32 %%r10, 0;\nmov.u32 %%r12, 0;\n"
            "st.shared.v4.u32 [%%r1], {%%r2, %%r2, %%r2, %%r2};\n"
            "st.shared.v4.u32 [%%r1+2048], {%%r2, %%r2, %%r2, %%r2};\nbar.sync 0;\n",
            2 * WARPS * LANES * 16);
    for (int i = 0; i < 24; i++) {
        fprintf(f, "mov.f32 %%f%d, 0f3F800000;\n", i);
    }
    fprintf(f,
            "TURN:\n%s"
            "add.s64 %%d0, %%d0, 16;\nadd.u32 %%r12, %%r12, 1;\nand.b32 %%r13, %%r12, 1023;\n"
            "setp.ne.u32 %%p0, %%r13, 0;\nselp.b64 %%d0, %%d0, %%d1, %%p0;\n"
            "setp.lt.u32 %%p0, %%r12, %d;\n@%%p0 bra TURN;\nret;\n}\n",
            bench->turn, TURNS);
    fclose(f);
    return text;
}

/* Millions a second of one run; exits when it does not end without findings. */
static double bench_run(const struct bench *bench, unsigned sanitize)
{
    struct arena *arena = arena_new();
    struct memory *memory = memory_new();
    struct outcome *outcome = xcalloc(1, sizeof *outcome);
    struct timespec begin, end;
    struct ptx_module *module;
    struct code *code;
    struct err err = {0};
    char *text = bench_text(bench);
    uint64_t in = memory_buffer(memory, INPUT, "in");
    double seconds, lane_ops;

    memory_host_fill(memory, in, 0x3c003c00, INPUT);
    memory_buffer_access(memory, in, BUFFER_READ_ONLY);
    if (!ptx_parse(arena, text, strlen(text), &module, &err) ||
        !program_decode(arena, module, "k", &code, &err)) {
        fprintf(stderr, "%s\n", err.what);
        exit(1);
    }
    const struct launch launch = {.program = code,
                                  .grid = {1, 1, 1},
                                  .block = {WARPS * LANES, 1, 1},
                                  .cluster = {1, 1, 1},
                                  .params = (const uint8_t *)&in,
                                  .sanitize = sanitize,
                                  .threads = 1};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    machine_run(memory, &launch, outcome);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    if (!outcome->ended || outcome->findings_total > 0) {
        fprintf(stderr, "%s: %s\n", bench->name, outcome->findings[0].text);
        exit(1);
    }
    seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
    lane_ops = (double)outcome->lane_ops;
    free(text);
    free(outcome);
    memory_free(memory);
    arena_free(arena);
    return lane_ops / seconds * 1e-6;
}

static double bench_speed(const struct bench *bench, unsigned sanitize)
{
    double best = 0;

    for (int round = 0; round < ROUNDS; round++) {
        best = fmax(best, bench_run(bench, sanitize));
    }
    return best;
}

int main(int argc, char **argv)
{
    static const unsigned levels[] = {SANITIZE_BOUNDS, SANITIZE_BOUNDS | SANITIZE_INITIALISED,
                                      SANITIZE_BOUNDS | SANITIZE_RACES, SANITIZE_ALL};
    double bars[] = {argc > 1 ? atof(argv[1]) : 0, 0, 0, argc > 2 ? atof(argv[2]) : 0};
    double inverse[4] = {0};
    bool slow = false;

    printf("%-24s %10s %12s %10s %10s   million lane instructions a second, one core\n", "",
           "plain", "initialised", "races", "all");
    for (size_t i = 0; i < BENCHES; i++) {
        printf("%-24s", benches[i].name);
        for (int level = 0; level < 4; level++) {
            double speed = bench_speed(&benches[i], levels[level]);

            printf(" %*.0f", level == 1 ? 12 : 10, speed);
            inverse[level] += 1 / speed;
        }
        printf("\n");
    }
    printf("%-24s", "all of them alike");
    for (int level = 0; level < 4; level++) {
        double mean = BENCHES / inverse[level];

        printf(" %*.0f", level == 1 ? 12 : 10, mean);
        slow |= mean < bars[level];
    }
    printf("\n");
    return slow;
}
