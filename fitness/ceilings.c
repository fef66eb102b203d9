#include "fitness/ceilings.h"

#include <math.h>
#include <string.h>

#include "fitness/physics.h"

/* Rows of a kind: a rate asks all multiprocessors for more than they can, a chain asks one warp. */
enum { ROUNDS = 64, MANY = 1 << 19, FEW = 8 };
#define ROW(name, kind, probe, genes, doc) {name, kind, probe, genes, ROUNDS, MANY, FEW, doc}
#define PRODUCT(name, product, doc)                                                                \
    ROW(name, CEILING_FLOPS, "tensor", "CHAINS=8 WARPS=16 EVERYWHERE=1 Product=" product, doc)
#define WARPGROUP(name, width, rows, sums, doc)                                                    \
    ROW(name, CEILING_FLOPS, "warpgroup",                                                          \
        "WARPGROUPS=2 GROUP=8 EVERYWHERE=1 WIDTH=" width " Rows=" rows " Sums=" sums, doc)
#define SHARED_ROWS(name, width, doc) WARPGROUP(name, width, "a_shared", "float_sums", doc)
#define REGISTER_ROWS(name, width, doc) WARPGROUP(name, width, "a_registers", "float_sums", doc)
#define RATE(name, op, doc)                                                                        \
    ROW(name, CEILING_OPS, "arithmetic", "CHAINS=8 WARPS=16 EVERYWHERE=1 Operation=" op, doc)
#define CHAIN(name, probe, genes, doc)                                                             \
    ROW(name, CEILING_CYCLES, probe, "WARPS=1 EVERYWHERE=0 " genes, doc)
#define WGMMA_CHAIN(name, width, doc)                                                              \
    ROW(name, CEILING_CYCLES, "warpgroup",                                                         \
        "WARPGROUPS=1 GROUP=1 EVERYWHERE=0 Rows=a_shared Sums=float_sums WIDTH=" width, doc)
#define WAIT(name, warps, what, doc)                                                               \
    ROW(name, CEILING_CYCLES, "waits", "WARPS=" warps " Wait=" what, doc)

const struct ceiling_row ceiling_table[CEILINGS] = {
    [CEILING_MMA_HALF] = PRODUCT("mma_f16_f32", "mma_half", "mma.sync m16n8k16, half, FP32 sums"),
    [CEILING_MMA_BFLOAT16] =
        PRODUCT("mma_bf16_f32", "mma_bfloat16", "mma.sync m16n8k16, bfloat16, FP32 sums"),
    [CEILING_MMA_HALF_SUMS] =
        PRODUCT("mma_f16_f16", "mma_half_sums", "mma.sync m16n8k16, half, FP16 sums"),
    [CEILING_WMMA_HALF] = PRODUCT("wmma_f16_f32", "wmma_half", "wmma 16x16x16, half, FP32 sums"),
    [CEILING_WMMA_HALF_SUMS] =
        PRODUCT("wmma_f16_f16", "wmma_half_sums", "wmma 16x16x16, half, FP16 sums"),
    [CEILING_WGMMA_16] =
        SHARED_ROWS("wgmma_n16", "16", "wgmma m64n16k16, A and B in shared memory, FP32 sums"),
    [CEILING_WGMMA_32] = SHARED_ROWS("wgmma_n32", "32", "wgmma m64n32k16, the same"),
    [CEILING_WGMMA_64] = SHARED_ROWS("wgmma_n64", "64", "wgmma m64n64k16"),
    [CEILING_WGMMA_96] = SHARED_ROWS("wgmma_n96", "96", "wgmma m64n96k16"),
    [CEILING_WGMMA_128] = SHARED_ROWS("wgmma_n128", "128", "wgmma m64n128k16"),
    [CEILING_WGMMA_192] = SHARED_ROWS("wgmma_n192", "192", "wgmma m64n192k16"),
    [CEILING_WGMMA_256] = SHARED_ROWS("wgmma_n256", "256", "wgmma m64n256k16"),
    [CEILING_WGMMA_64_REGISTERS] =
        REGISTER_ROWS("wgmma_n64_registers", "64", "wgmma m64n64k16, A in registers"),
    [CEILING_WGMMA_128_REGISTERS] =
        REGISTER_ROWS("wgmma_n128_registers", "128", "wgmma m64n128k16, A in registers"),
    [CEILING_WGMMA_256_REGISTERS] =
        REGISTER_ROWS("wgmma_n256_registers", "256", "wgmma m64n256k16, A in registers"),
    [CEILING_WGMMA_256_HALF_SUMS] =
        WARPGROUP("wgmma_n256_f16", "256", "a_shared", "half_sums", "wgmma m64n256k16, FP16 sums"),
    [CEILING_FMA] = RATE("fma", "multiply_add", "multiply and add in FP32"),
    [CEILING_FMA_HALVES] = RATE("fma_f16x2", "multiply_add_halves", "multiply and add two halves"),
    [CEILING_ALU] = RATE("alu", "rotate", "integers: a funnel shift"),
    [CEILING_EXP2] = RATE("exp2", "exponential", "powers of two, by the special function unit"),
    [CEILING_SHARED] = ROW("shared", CEILING_BYTES, "shared", "WARPS=16 EVERYWHERE=1",
                           "read from shared memory, 16 bytes a thread"),
    [CEILING_L2] = {"l2", CEILING_BYTES, "global", "WARPS=16 STREAM=0", 4, MANY, FEW,
                    "read from L2: 16 MiB, by all multiprocessors"},
    [CEILING_DRAM] = {"dram", CEILING_BYTES, "global", "WARPS=16 STREAM=1", 16, 60, 16,
                      "read from DRAM, all of it once"},
    [CEILING_FMA_LATENCY] = CHAIN("fma_latency", "arithmetic", "CHAINS=1 Operation=multiply_add",
                                  "from a multiplication to one that needs it"),
    [CEILING_EXP2_LATENCY] = CHAIN("exp2_latency", "arithmetic", "CHAINS=1 Operation=exponential",
                                   "from a power of two to one that needs it"),
    [CEILING_MMA_LATENCY] = CHAIN("mma_latency", "tensor", "CHAINS=1 Product=mma_half",
                                  "from an mma.sync to one that adds to its sums"),
    [CEILING_WGMMA_64_LATENCY] =
        WGMMA_CHAIN("wgmma_n64_latency", "64", "one wgmma m64n64k16, issued and awaited"),
    [CEILING_WGMMA_128_LATENCY] =
        WGMMA_CHAIN("wgmma_n128_latency", "128", "one wgmma m64n128k16, issued and awaited"),
    [CEILING_SHARED_LATENCY] =
        CHAIN("shared_latency", "shared", "", "a word of shared memory that the last one names"),
    [CEILING_L2_LATENCY] = {"l2_latency", CEILING_CYCLES, "global", "WARPS=1 STREAM=0", 4, MANY,
                            FEW, "a word of L2, when the last has come"},
    [CEILING_DRAM_LATENCY] = {"dram_latency", CEILING_CYCLES, "global", "WARPS=1 STREAM=1", 64,
                              900, 0, "a word of DRAM, each far from the last"},
    [CEILING_SHUFFLE] =
        WAIT("shuffle_latency", "1", "shuffle", "a shuffle of what was just shuffled"),
    [CEILING_BARRIER_4] =
        WAIT("barrier_128", "4", "barrier", "a barrier of 128 threads, all of them there"),
    [CEILING_BARRIER_8] = WAIT("barrier_256", "8", "barrier", "a barrier of 256 threads"),
    [CEILING_BARRIER_16] = WAIT("barrier_512", "16", "barrier", "a barrier of 512 threads"),
    [CEILING_MBARRIER_4] = WAIT("mbarrier_128", "4", "phase",
                                "128 threads arrive at an mbarrier and wait for its phase"),
    [CEILING_MBARRIER_8] = WAIT("mbarrier_256", "8", "phase", "256 threads do"),
    [CEILING_COPY_ASYNC] =
        WAIT("cp_async", "1", "copy", "cp.async of 512 bytes from L2, issued and awaited"),
    [CEILING_COPY_BULK_SMALL] =
        WAIT("bulk_128", "1", "bulk_small", "128 bytes from L2 by the copy engine (TMA), awaited"),
    [CEILING_COPY_BULK_LARGE] = WAIT("bulk_8192", "1", "bulk_large", "8192 bytes so"),
    [CEILING_LAUNCH] = {"launch", CEILING_SPAN, "empty", "EVERYWHERE=1", 4, 4, 4,
                        "a kernel that does nothing, a block on each multiprocessor"},
    [CEILING_LAUNCH_GAP] = {"launch_gap", CEILING_GAP, "empty", "EVERYWHERE=1", 4, 4, 0,
                            "from its end to the next one's start, in a graph"},
};

const char *const ceiling_units[CEILING_KINDS] = {
    [CEILING_FLOPS] = "TFLOP/s", [CEILING_OPS] = "Gop/s", [CEILING_BYTES] = "GB/s",
    [CEILING_CYCLES] = "cycles", [CEILING_SPAN] = "us",   [CEILING_GAP] = "us"};

enum ceiling ceiling_find(const char *name)
{
    for (int i = 0; i < CEILINGS; i++) {
        if (strcmp(ceiling_table[i].name, name) == 0) {
            return (enum ceiling)i;
        }
    }
    return CEILINGS;
}

void ceilings_clear(struct ceilings *ceilings)
{
    *ceilings = (struct ceilings){.device = "", .version = "", .clock_mhz = NAN};
    for (int i = 0; i < CEILINGS; i++) {
        ceilings->value[i] = ceilings->per_clock[i] = NAN;
    }
}

void ceilings_take(struct ceilings *ceilings, enum ceiling ceiling,
                   const struct probe_result *result, double work)
{
    double *value = &ceilings->value[ceiling], *per_clock = &ceilings->per_clock[ceiling];
    double rounds = (double)(result->rounds[1] - result->rounds[0]);
    double round_us = (result->us[1] - result->us[0]) / rounds;
    enum ceiling_kind kind = ceiling_table[ceiling].kind;

    ceilings->modelled = ceilings->modelled || result->modelled;
    if (kind == CEILING_SPAN || kind == CEILING_GAP) {
        *value = kind == CEILING_SPAN ? result->us[0] : result->graph_us - result->us[0];
        return;
    }
    if (!(round_us > 0)) { /* more rounds took no longer: nothing was measured */
        return;
    }
    if (kind == CEILING_CYCLES) {
        *value = round_us * result->clock_mhz / work;
        return;
    }
    *per_clock = work / (round_us * result->clock_mhz);
    *value = work * (double)ceilings->sms / round_us / (kind == CEILING_FLOPS ? 1e6 : 1e3);
}

const char *ceilings_check(struct arena *arena, struct ceilings *ceilings, enum ceiling ceiling,
                           int64_t arch)
{
    static const double forgiven = 1.02; /* the clock was read beside the work */
    enum ceiling_kind kind = ceiling_table[ceiling].kind;
    double peak = kind == CEILING_FLOPS     ? physics_flops(arch)
                  : ceiling == CEILING_L2   ? physics_l2_bytes(arch)
                                            : 0;
    double found = ceilings->per_clock[ceiling];

    if (peak <= 0 || !(found > forgiven * peak)) {
        return "";
    }
    ceilings->value[ceiling] = ceilings->per_clock[ceiling] = NAN;
    return arena_printf(arena, "%.0f in a clock of a multiprocessor, which has %.0f at most", found,
                        peak);
}

/* ---- as text ---- */

static const char HEAD[] = "evo ceilings 1";

static void print_number(struct buf *text, double value)
{
    if (isnan(value)) {
        buf_puts(text, " -");
    } else {
        buf_printf(text, " %.9g", value);
    }
}

void ceilings_print(const struct ceilings *ceilings, struct buf *text)
{
    buf_printf(text, "%s\ndevice %s\nversion %s\nsms %lld\nclock_mhz", HEAD, ceilings->device,
               ceilings->version, (long long)ceilings->sms);
    print_number(text, ceilings->clock_mhz);
    buf_printf(text, "\nmodelled %d\n", ceilings->modelled);
    for (int i = 0; i < CEILINGS; i++) {
        buf_puts(text, ceiling_table[i].name);
        print_number(text, ceilings->value[i]);
        print_number(text, ceilings->per_clock[i]);
        buf_puts(text, "\n");
    }
}

static bool read_number(const char *text, double *value)
{
    *value = NAN;
    return strcmp(text, "-") == 0 || (str_to_f64(text, value) && isfinite(*value));
}

static bool read_values(char *rest, double *value, double *per_clock)
{
    char *blank = strchr(rest, ' ');

    if (blank == NULL) {
        return false;
    }
    *blank = '\0';
    return read_number(rest, value) && read_number(blank + 1, per_clock);
}

static bool read_line(struct arena *arena, char *line, struct ceilings *ceilings)
{
    char *blank = strchr(line, ' '), *rest = blank == NULL ? line : blank + 1;
    int64_t flag = 0;
    enum ceiling ceiling;

    if (blank == NULL) {
        return false;
    }
    *blank = '\0';
    if (strcmp(line, "device") == 0 || strcmp(line, "version") == 0) {
        *(line[0] == 'd' ? &ceilings->device : &ceilings->version) = arena_dup(arena, rest);
        return true;
    }
    if (strcmp(line, "sms") == 0) {
        return str_to_i64(rest, &ceilings->sms) && ceilings->sms > 0;
    }
    if (strcmp(line, "clock_mhz") == 0) {
        return read_number(rest, &ceilings->clock_mhz);
    }
    if (strcmp(line, "modelled") == 0) {
        ceilings->modelled = str_to_i64(rest, &flag) && flag == 1;
        return flag == 0 || flag == 1;
    }
    ceiling = ceiling_find(line);
    return ceiling == CEILINGS ||
           read_values(rest, &ceilings->value[ceiling], &ceilings->per_clock[ceiling]);
}

bool ceilings_parse(struct arena *arena, const char *text, struct ceilings *ceilings,
                    struct err *err)
{
    char *rest = arena_dup(arena, text), *save = NULL;
    char *line = strtok_r(rest, "\n", &save);
    int number = 1;

    ceilings_clear(ceilings);
    if (line == NULL || strcmp(line, HEAD) != 0) {
        return err_set(err, ERR_USER, "it does not begin with '%s'", HEAD);
    }
    while ((line = strtok_r(NULL, "\n", &save)) != NULL) {
        const char *whole = arena_dup(arena, line);

        number++;
        if (!read_line(arena, line, ceilings)) {
            return err_set(err, ERR_USER, "line %d: malformed '%.200s'", number, whole);
        }
    }
    return ceilings->sms > 0 || err_set(err, ERR_USER, "it does not say how many multiprocessors");
}
