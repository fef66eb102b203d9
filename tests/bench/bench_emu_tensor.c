/*
 * bench_emu_tensor -- GFLOP/s of the emulated tensor unit on one core, without and with sanitizers.
 *
 *     bench_emu_tensor [BAR [BAR_WATCHED]]    fails when a kernel is slower than these
 *
 * Each kernel is a loop of products as attention has them, run by the machine from its PTX:
 * fragments that come from shared memory once each turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "fitness/emu/machine.h"
#include "fitness/emu/memory.h"
#include "fitness/emu/ptx.h"

enum { TURNS = 200, SHARED = 32768 };

struct bench {
    const char *name;
    int warps;
    double flops; /* of a warp and turn */
    void (*turn)(FILE *f);
};

static void registers(FILE *f, char name, int first, int count)
{
    for (int i = 0; i < count; i++) {
        fprintf(f, "%s%%%c%d", i == 0 ? "{" : ", ", name, first + i);
    }
    fprintf(f, "}");
}

/* 16 x 64 by 64: four ldmatrix.x4 of A, sixteen of B, 32 products. */
static void mma_turn(FILE *f)
{
    for (int k = 0; k < 4; k++) {
        fprintf(f, "ldmatrix.sync.aligned.m8n8.x4.shared.b16 ");
        registers(f, 'a', 0, 4);
        fprintf(f, ", [%%r1+%d];\n", k * 1024);
        for (int n = 0; n < 4; n++) {
            fprintf(f, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 ");
            registers(f, 'a', 4, 4);
            fprintf(f, ", [%%r1+%d];\n", 4096 + (4 * k + n) * 1024);
            for (int half = 0; half < 2; half++) {
                const int c = (2 * n + half) * 4;
                fprintf(f, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 ");
                registers(f, 'c', c, 4);
                fprintf(f, ", ");
                registers(f, 'a', 0, 4);
                fprintf(f, ", ");
                registers(f, 'a', 4 + 2 * half, 2);
                fprintf(f, ", ");
                registers(f, 'c', c, 4);
                fprintf(f, ";\n");
            }
        }
    }
}

/* 16 x 64 by 32, each fragment loaded once, the result stored. */
static void wmma_turn(FILE *f)
{
    for (int k = 0; k < 4; k++) {
        fprintf(f, "wmma.load.a.sync.aligned.row.m16n16k16.shared.f16 ");
        registers(f, 'a', 0, 8);
        fprintf(f, ", [%%r0+%d], %%r2;\n", k * 32);
        for (int n = 0; n < 2; n++) {
            fprintf(f, "wmma.load.b.sync.aligned.%s.m16n16k16.shared.f16 ", n == 0 ? "row" : "col");
            registers(f, 'a', 8, 8);
            fprintf(f, ", [%%r0+%d], %%r2;\n", 4096 + k * 32);
            fprintf(f, "wmma.mma.sync.aligned.row.%s.m16n16k16.f32.f32 ", n == 0 ? "row" : "col");
            registers(f, 'c', 8 * n, 8);
            fprintf(f, ", ");
            registers(f, 'a', 0, 8);
            fprintf(f, ", ");
            registers(f, 'a', 8, 8);
            fprintf(f, ", ");
            registers(f, 'c', 8 * n, 8);
            fprintf(f, ";\n");
        }
    }
    for (int n = 0; n < 2; n++) {
        fprintf(f, "wmma.store.d.sync.aligned.row.m16n16k16.shared.f32 [%%r3+%d], ", n * 64);
        registers(f, 'c', 8 * n, 8);
        fprintf(f, ", %%r2;\n");
    }
}

/* 64 x 64 by 128 of a warpgroup: four products of k 16, B as K lies. */
static void wgmma_turn(FILE *f)
{
    fprintf(f, "wgmma.fence.sync.aligned;\n");
    for (int k = 0; k < 4; k++) {
        fprintf(f,
                "add.s64 %%q1, %%q0, %lld;\nadd.s64 %%q2, %%q0, %lld;\n"
                "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 ",
                (long long)(UINT64_C(1) << 62 | UINT64_C(64) << 32 | (uint64_t)k * 2),
                (long long)(UINT64_C(1) << 62 | UINT64_C(64) << 32 | (512 + (uint64_t)k * 2)));
        registers(f, 'c', 0, 64);
        fprintf(f, ", %%q1, %%q2, %d, 1, 1, 0, 0;\n", k > 0);
    }
    fprintf(f, "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n");
}

static const struct bench benches[] = {
    {"mma.sync, ldmatrix", 4, 32 * 4096.0, mma_turn},
    {"wmma, load and store", 4, 8 * 8192.0, wmma_turn},
    {"wgmma m64n128k16", 4, 4 * 65536.0, wgmma_turn},
};

static char *bench_text(const struct bench *bench)
{
    char *text = NULL;
    size_t length = 0;
    FILE *f = open_memstream(&text, &length);
    fprintf(
        f,
        ".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry k()\n{\n"
        ".reg .pred %%p<4>;\n.reg .b32 %%r<16>;\n.reg .b32 %%a<16>;\n.reg .b32 %%c<64>;\n"
        ".reg .b64 %%q<8>;\n.shared .align 1024 .b8 smem[%d];\n"
        "mov.u32 %%r0, smem;\nmov.u32 %%r4, %%tid.x;\nshl.b32 %%r5, %%r4, 4;\n"
        "mov.u32 %%r6, 0x3c003c00;\nmov.u32 %%r2, 64;\n"
        "FILL:\nadd.u32 %%r1, %%r0, %%r5;\n"
        "st.shared.v4.u32 [%%r1], {%%r6, %%r6, %%r6, %%r6};\n"
        "add.u32 %%r5, %%r5, %d;\nsetp.lt.u32 %%p0, %%r5, %d;\n@%%p0 bra FILL;\n"
        "fence.proxy.async.shared::cta;\nbar.sync 0;\n"
        "and.b32 %%r5, %%r4, 31;\nshl.b32 %%r5, %%r5, 4;\nadd.u32 %%r1, %%r0, %%r5;\n"
        "shr.u32 %%r7, %%r4, 5;\nmad.lo.u32 %%r3, %%r7, 4096, %%r0;\nadd.u32 %%r3, %%r3, 16384;\n"
        "cvt.u64.u32 %%q0, %%r0;\nshr.u64 %%q0, %%q0, 4;\nmov.u32 %%r8, 0;\n",
        SHARED, bench->warps * 512, SHARED);
    for (int i = 0; i < 64; i++) {
        fprintf(f, "mov.b32 %%c%d, 0;\n", i);
    }
    fprintf(f, "TURN:\n");
    bench->turn(f);
    fprintf(f, "add.u32 %%r8, %%r8, 1;\nsetp.lt.u32 %%p0, %%r8, %d;\n@%%p0 bra TURN;\nret;\n}\n",
            TURNS);
    fclose(f);
    return text;
}

/* Seconds of one run; exits when it does not end without findings. */
static double bench_run(const struct bench *bench, unsigned sanitize)
{
    struct arena *arena = arena_new();
    struct memory *memory = memory_new();
    struct ptx_module *module;
    struct code *code;
    struct err err = {0};
    struct outcome *outcome = xcalloc(1, sizeof *outcome);
    struct timespec begin, end;
    char *text = bench_text(bench);
    if (!ptx_parse(arena, text, strlen(text), &module, &err) ||
        !program_decode(arena, module, "k", &code, &err)) {
        fprintf(stderr, "%s\n", err.what);
        exit(1);
    }
    const struct launch launch = {.program = code,
                                  .grid = {1, 1, 1},
                                  .block = {(uint32_t)bench->warps * LANES, 1, 1},
                                  .cluster = {1, 1, 1},
                                  .params = (const uint8_t *)"",
                                  .sanitize = sanitize,
                                  .threads = 1};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    machine_run(memory, &launch, outcome);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    if (!outcome->ended || outcome->findings_total > 0) {
        fprintf(stderr, "%s: %s\n", bench->name, outcome->findings[0].text);
        exit(1);
    }
    free(text);
    free(outcome);
    memory_free(memory);
    arena_free(arena);
    return (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
}

static double bench_speed(const struct bench *bench, unsigned sanitize)
{
    double best = 0;
    for (int round = 0; round < 3; round++) {
        const double speed =
            bench->flops * bench->warps * TURNS / bench_run(bench, sanitize) * 1e-9;
        best = speed > best ? speed : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    const double bar = argc > 1 ? atof(argv[1]) : 0, watched_bar = argc > 2 ? atof(argv[2]) : 0;
    bool slow = false;
    printf("%-24s %12s %12s   GFLOP/s on one core\n", "", "plain", "sanitizers");
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++) {
        const double plain = bench_speed(&benches[i], SANITIZE_BOUNDS);
        const double watched = bench_speed(&benches[i], SANITIZE_ALL);
        printf("%-24s %12.2f %12.2f\n", benches[i].name, plain, watched);
        slow |= plain < bar || watched < watched_bar;
    }
    return slow;
}
