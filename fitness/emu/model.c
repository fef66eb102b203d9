#include "fitness/emu/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/*
 * One row a chip. per_clock, latencies and the exponent are those of one multiprocessor; the clock
 * is what a short kernel sees, not what the power limit leaves to a long one.
 */
static const struct chip chips[] = {
    {
        .name = "H200",
        .device = "emulated H200",
        .arch = 90,
        .sms = 132,
        .gpcs = {18, 18, 18, 16, 16, 16, 16, 14},
        .smem_sm = 233472,
        .smem_block = 232448,
        .smem_reserved = 1024,
        .registers_sm = 65536,
        .warps_sm = 64,
        .blocks_sm = 32,
        .l1_bytes = 262144,
        .l2_bytes = 62914560,
        .clock_mhz = 1980,
        .per_clock = {[PIPE_ISSUE] = 4,
                      [PIPE_FMA] = 4,
                      [PIPE_ALU] = 2,
                      [PIPE_SPECIAL] = 0.5,
                      [PIPE_DOUBLE] = 2,
                      [PIPE_SHARED] = 1,
                      [PIPE_TENSOR] = 4096,
                      [PIPE_L2] = 1.3},
        .latency = {[LATENCY_ARITHMETIC] = 4,
                    [LATENCY_SPECIAL] = 23,
                    [LATENCY_SHARED] = 23,
                    [LATENCY_L1] = 38,
                    [LATENCY_L2] = 278,
                    [LATENCY_SHUFFLE] = 26,
                    [LATENCY_TENSOR] = 27,
                    [LATENCY_WARPGROUP] = 64,
                    [LATENCY_BARRIER] = 12,
                    [LATENCY_BARRIER_WARP] = 2,
                    [LATENCY_MBARRIER] = 28,
                    [LATENCY_BULK] = 290,
                    [LATENCY_REMOTE] = 190,
                    [LATENCY_CLUSTER] = 180},
        .l2_sectors_clock = 156,
        .dram_gb_s = 4560,
        .launch_us = 0.74,
        .block_us = 1,
        .cluster_us = 1,
        .overlap = 4,
        .mixing = 0.9,
        .exposed = 0.5,
    },
};

enum {
    CHIPS = sizeof chips / sizeof *chips,
    LANES = 32,
    REGISTER_STEP = 256, /* registers are given to a warp in steps of this */
};

const struct chip *chip_find(const char *name)
{
    if (name == NULL || *name == '\0') {
        return &chips[0];
    }
    for (int i = 0; i < CHIPS; i++) {
        if (strcmp(chips[i].name, name) == 0) {
            return &chips[i];
        }
    }
    return NULL;
}

const char *chip_names(struct arena *arena)
{
    const char *names = "";

    for (int i = 0; i < CHIPS; i++) {
        names = arena_printf(arena, "%s%s%s", names, i > 0 ? " " : "", chips[i].name);
    }
    return names;
}

static void digest_number(struct hasher *hasher, const char *name, double value)
{
    char text[32];

    snprintf(text, sizeof text, "%.17g", value);
    hash_text(hasher, name, text);
}

struct hash chip_digest(const struct chip *chip)
{
    struct hasher hasher;

    hash_begin(&hasher, "evo chip 1");
    hash_text(&hasher, "name", chip->name);
    hash_i64(&hasher, "model", EMU_VERSION);
    hash_i64(&hasher, "arch", chip->arch);
    hash_i64(&hasher, "sms", chip->sms);
    hash_i64(&hasher, "smem_sm", chip->smem_sm);
    hash_i64(&hasher, "smem_block", chip->smem_block);
    hash_i64(&hasher, "smem_reserved", chip->smem_reserved);
    hash_i64(&hasher, "registers_sm", chip->registers_sm);
    hash_i64(&hasher, "warps_sm", chip->warps_sm);
    hash_i64(&hasher, "blocks_sm", chip->blocks_sm);
    hash_i64(&hasher, "l1_bytes", chip->l1_bytes);
    hash_i64(&hasher, "l2_bytes", chip->l2_bytes);
    for (int i = 0; i < CHIP_GPCS; i++) {
        hash_i64(&hasher, "gpc", chip->gpcs[i]);
    }
    digest_number(&hasher, "clock_mhz", chip->clock_mhz);
    for (int i = 0; i < PIPES; i++) {
        digest_number(&hasher, pipe_names[i], chip->per_clock[i]);
    }
    for (int i = 0; i < LATENCIES; i++) {
        hash_i64(&hasher, "latency", chip->latency[i]);
    }
    digest_number(&hasher, "l2_sectors_clock", chip->l2_sectors_clock);
    digest_number(&hasher, "dram_gb_s", chip->dram_gb_s);
    digest_number(&hasher, "launch_us", chip->launch_us);
    digest_number(&hasher, "block_us", chip->block_us);
    digest_number(&hasher, "cluster_us", chip->cluster_us);
    digest_number(&hasher, "overlap", chip->overlap);
    digest_number(&hasher, "mixing", chip->mixing);
    digest_number(&hasher, "exposed", chip->exposed);
    return hash_end(&hasher);
}

/* ---- occupancy ----------------------------------------------------------------------------- */

static int least(int a, int64_t b) { return b < a ? (int)b : a; }

int model_resident(const struct chip *chip, const struct model_launch *launch)
{
    int warps = (launch->threads + LANES - 1) / LANES, resident;
    int64_t of_warp =
        ((int64_t)launch->registers * LANES + REGISTER_STEP - 1) / REGISTER_STEP * REGISTER_STEP;

    if (warps <= 0 || launch->smem_bytes > chip->smem_block) {
        return 0;
    }
    resident = least(chip->blocks_sm, chip->warps_sm / warps);
    resident = least(resident, chip->smem_sm / (launch->smem_bytes + chip->smem_reserved));
    return launch->registers > 0 ? least(resident, chip->registers_sm / (of_warp * warps))
                                 : resident;
}

int64_t model_wave(const struct chip *chip, const struct model_launch *launch)
{
    int resident = model_resident(chip, launch), cluster = launch->cluster;
    int64_t blocks = 0;

    for (int i = 0; i < CHIP_GPCS && cluster > 1; i++) {
        blocks += (int64_t)chip->gpcs[i] * resident / cluster * cluster;
    }
    return cluster > 1 ? blocks : (int64_t)resident * chip->sms;
}

/* ---- time ---------------------------------------------------------------------------------- */

/* Bounds that overlap, though never wholly: their norm of exponent `overlap`. */
static double join(const struct chip *chip, double a, double b)
{
    double most = fmax(a, b), rest = fmin(a, b);

    return most > 0 ? most * pow(1 + pow(rest / most, chip->overlap), 1 / chip->overlap) : 0;
}

double issue_slots(const struct chip *chip, const uint64_t used[PIPES])
{
    static const enum pipe arithmetic[] = {PIPE_FMA, PIPE_ALU, PIPE_SPECIAL, PIPE_DOUBLE};
    uint64_t slots = used[PIPE_ISSUE], most = 0;

    for (size_t i = 0; i < sizeof arithmetic / sizeof *arithmetic; i++) {
        most = used[arithmetic[i]] > most ? used[arithmetic[i]] : most;
    }
    return (double)slots + (most < slots ? chip->mixing * (double)(slots - most) : 0);
}

struct means {                 /* of a block */
    double length, length_max; /* cycles */
    double busy[PIPES];        /* cycles of a multiprocessor */
    double most;
};

static struct means means_of(const struct chip *chip, const struct profile_totals *totals)
{
    struct means means = {.length_max = (double)totals->length_max};

    means.length = (double)totals->length / (double)totals->blocks;
    for (int i = 0; i < PIPES; i++) {
        double units = i == PIPE_ISSUE ? issue_slots(chip, totals->busy) : (double)totals->busy[i];

        means.busy[i] = units / (double)totals->blocks / chip->per_clock[i];
        means.most = join(chip, means.most, means.busy[i]);
    }
    return means;
}

/*
 * Cycles that `count` blocks take together on one multiprocessor. A block's length holds what it
 * asks of the pipes already: the others' part is joined to it.
 */
static double wave_cycles(const struct chip *chip, const struct means *means, double length,
                          double count)
{
    double e = chip->overlap, alone = means->most / length, all = count * alone;

    return length * pow(1 + pow(all, e) - pow(alone, e), 1 / e);
}

static double grid_cycles(const struct chip *chip, const struct means *means,
                          const struct model_launch *launch, int64_t wave, int resident)
{
    int64_t full = (launch->blocks - 1) / wave;
    int64_t rest = launch->blocks - full * wave;
    double each = (double)((rest + chip->sms - 1) / chip->sms);

    /* The last wave lasts as long as its longest block. */
    return (double)full * wave_cycles(chip, means, means->length, resident) +
           wave_cycles(chip, means, means->length_max, each);
}

/*
 * What lies between waves: a block follows another once that has left with its memory, and the
 * blocks of a cluster come and go together.
 */
static double gaps_us(const struct chip *chip, const struct model_launch *launch, double waves)
{
    double turns = fmax(1, ceil(waves));

    return (turns - 1) * chip->block_us + turns * chip->cluster_us * log2(launch->cluster);
}

void model_time(const struct chip *chip, const struct profile_totals *totals,
                const struct model_launch *launch, struct model_time *time)
{
    double cycles, us_of_cycle = 1 / chip->clock_mhz, l2, dram = 0;
    struct means means;
    int64_t wave = model_wave(chip, launch);
    int worst = PIPE_ISSUE;

    *time = (struct model_time){.resident = model_resident(chip, launch), .bound = ""};
    if (wave == 0 || totals->blocks == 0) {
        return;
    }
    means = means_of(chip, totals);
    time->waves = (double)launch->blocks / (double)wave;
    time->occupancy =
        100.0 * time->resident * ((launch->threads + LANES - 1) / LANES) / chip->warps_sm;
    time->length_us = means.length * us_of_cycle;
    cycles = grid_cycles(chip, &means, launch, wave, time->resident);
    l2 = (double)totals->busy[PIPE_L2] / (double)totals->blocks * (double)launch->blocks /
         chip->l2_sectors_clock * us_of_cycle;
    if (launch->footprint_bytes > (double)chip->l2_bytes) {
        dram = launch->footprint_bytes / chip->dram_gb_s / 1e3;
    }
    for (int i = 0; i < PIPES; i++) {
        time->busy_us[i] = means.busy[i] * ceil((double)launch->blocks / chip->sms) * us_of_cycle;
        worst = time->busy_us[i] > time->busy_us[worst] ? i : worst;
    }
    time->us = chip->launch_us + gaps_us(chip, launch, time->waves) +
               join(chip, join(chip, cycles * us_of_cycle, l2), dram);
    time->bound = dram > time->busy_us[worst] && dram > l2 ? "dram"
                  : l2 > time->busy_us[worst]              ? "l2 of the chip"
                  : time->length_us * fmax(time->waves, 1) > time->busy_us[worst]
                      ? "latency"
                      : pipe_names[worst];
}
