#include "fitness/diagnosis.h"

#include <math.h>

#include "fitness/stalls.h"

const char *const resource_names[RESOURCES] = {
    [RESOURCE_TENSOR] = "tensor cores",      [RESOURCE_FMA] = "FMA pipes",
    [RESOURCE_SPECIAL] = "special functions", [RESOURCE_SHARED] = "shared memory",
    [RESOURCE_ISSUE] = "issue slots",         [RESOURCE_L2] = "L2",
    [RESOURCE_DRAM] = "DRAM"};

/* From here on a resource is what limits; and a multiprocessor without work this often is idle. */
static const double much = 0.6, idle = 0.6;
/* Conflicts that are worth a word, and occupancy that hides little. */
static const double many_conflicts = 0.2, few_warps = 20;
/* Percent of the samples below which a reason is not worth a word; how many are told. */
static const double few_samples = 5;
enum { WAITS_TOLD = 3 };

/*
 * In a clock of a multiprocessor, where nobody measured: warps' FMAs and powers of two, bytes of
 * shared memory, instructions issued. So on all architectures that evo knows.
 */
enum { SHARED_BYTES = 128, ISSUED = 4, FMAS = 4, WAVEFRONT_BYTES = 128, SECTOR_BYTES = 32 };
static const double special_ops = 0.5;

/* What warps wait for, by counters; samples (stalls.h) know it better. */
static const struct {
    enum metric counter;
    enum metric sampled;
} waits_of[] = {
    {METRIC_HW_STALL_LONG, METRIC_PC_LONG},       {METRIC_HW_STALL_SHORT, METRIC_PC_SHORT},
    {METRIC_HW_STALL_BARRIER, METRIC_PC_BARRIER}, {METRIC_HW_STALL_WAIT, METRIC_PC_WAIT},
    {METRIC_HW_STALL_MATH, METRIC_PC_MATH},       {METRIC_HW_STALL_MIO, METRIC_PC_MIO},
    {METRIC_HW_STALL_WGMMA, METRIC_PC_WGMMA},
};

/* What was counted, wherever it was: in one set of names. */
struct counts {
    double cycles; /* in which a multiprocessor had work */
    double tensor; /* share */
    double fma, special, wavefronts, conflicts, instructions, sectors, dram_bytes;
    double busy; /* of the time, a multiprocessor's share with work */
};

static double ceiling_or(const struct ceilings *ceilings, enum ceiling which, double otherwise)
{
    return ceilings != NULL && !isnan(ceilings->per_clock[which]) ? ceilings->per_clock[which]
                                                                  : otherwise;
}

/* The fastest way of multiplying that was found; NAN: nobody looked. */
static double best_flops(const struct ceilings *ceilings, bool per_clock)
{
    double best = NAN;

    for (int i = 0; ceilings != NULL && i < CEILINGS; i++) {
        if (ceiling_table[i].kind == CEILING_FLOPS) {
            best = fmax(best, per_clock ? ceilings->per_clock[i] : ceilings->value[i]);
        }
    }
    return best;
}

static struct counts hardware_counts(const struct diagnosis_subject *subject)
{
    const double *m = subject->metrics;
    double clock = subject->ceilings != NULL ? subject->ceilings->clock_mhz : NAN;

    clock = isnan(m[METRIC_SM_CLOCK_MHZ]) ? clock : m[METRIC_SM_CLOCK_MHZ];
    return (struct counts){.cycles = m[METRIC_HW_SM_CYCLES],
                           .tensor = m[METRIC_HW_TENSOR] / 100,
                           .fma = m[METRIC_HW_FMA_OPS],
                           .special = m[METRIC_HW_SPECIAL_OPS],
                           .wavefronts = m[METRIC_HW_SHARED_WAVEFRONTS],
                           .conflicts = m[METRIC_HW_BANK_CONFLICTS],
                           .instructions = m[METRIC_HW_INSTRUCTIONS],
                           .sectors = m[METRIC_HW_L2_SECTORS],
                           .dram_bytes = m[METRIC_HW_DRAM_READ] + m[METRIC_HW_DRAM_WRITE],
                           .busy = m[METRIC_HW_SM_CYCLES] / (subject->us * clock)};
}

static struct counts modelled_counts(const struct diagnosis_subject *subject)
{
    const double *m = subject->metrics;
    const struct ceilings *ceilings = subject->ceilings;
    double cycles = ceilings != NULL ? subject->us * ceilings->clock_mhz : NAN;
    double peak = best_flops(ceilings, true);

    return (struct counts){
        .cycles = cycles,
        .tensor = ceilings != NULL
                      ? m[METRIC_EMU_TENSOR_FLOPS] / (peak * (double)ceilings->sms * cycles)
                      : NAN,
        .fma = NAN,
        .special = m[METRIC_EMU_SPECIAL_OPS],
        .wavefronts = m[METRIC_EMU_SHARED_WAVEFRONTS],
        .conflicts = m[METRIC_EMU_BANK_CONFLICTS],
        .instructions = m[METRIC_EMU_WARP_OPS],
        .sectors = m[METRIC_EMU_L2_SECTORS],
        .dram_bytes = NAN,
        .busy = ceilings != NULL ? fmin(1, m[METRIC_EMU_BLOCKS] / (double)ceilings->sms) : NAN};
}

/* ---- shares ---- */

static void add(struct arena *arena, struct diagnosis *diagnosis, enum resource resource,
                double used, double available, const char *unit)
{
    diagnosis->share[resource] = used / available;
    diagnosis->numbers[resource] =
        isnan(used / available)
            ? ""
            : arena_printf(arena, "%.4g of %.4g %s", used, available, unit);
}

static void add_shares(struct arena *arena, const struct diagnosis_subject *subject,
                       const struct counts *counts, struct diagnosis *diagnosis)
{
    const struct ceilings *ceilings = subject->ceilings;
    double sm_cycles = counts->cycles * (ceilings != NULL ? (double)ceilings->sms : NAN);

    diagnosis->share[RESOURCE_TENSOR] = counts->tensor;
    diagnosis->numbers[RESOURCE_TENSOR] = "of the cycles with work";
    add(arena, diagnosis, RESOURCE_FMA, counts->fma / sm_cycles,
        ceiling_or(ceilings, CEILING_FMA, FMAS), "warp instructions a clock");
    add(arena, diagnosis, RESOURCE_SPECIAL, counts->special / sm_cycles,
        ceiling_or(ceilings, CEILING_EXP2, special_ops), "warp instructions a clock");
    add(arena, diagnosis, RESOURCE_SHARED, counts->wavefronts * WAVEFRONT_BYTES / sm_cycles,
        ceiling_or(ceilings, CEILING_SHARED, SHARED_BYTES), "B a clock");
    add(arena, diagnosis, RESOURCE_ISSUE, counts->instructions / sm_cycles, ISSUED,
        "warp instructions a clock");
    add(arena, diagnosis, RESOURCE_L2, counts->sectors * SECTOR_BYTES / subject->us / 1e3,
        ceilings != NULL ? ceilings->value[CEILING_L2] : NAN, "GB/s");
    add(arena, diagnosis, RESOURCE_DRAM, counts->dram_bytes / subject->us / 1e3,
        ceilings != NULL ? ceilings->value[CEILING_DRAM] : NAN, "GB/s");
    diagnosis->conflicts = counts->wavefronts > 0 ? counts->conflicts / counts->wavefronts : 0;
}

/* ---- words ---- */

static const char *words_of(enum metric sampled)
{
    return stall_table[sampled - METRIC_PC_ISSUING].words;
}

/* "; warps wait most for barriers of the block (1.9 for each that issues)" */
static const char *counted_waits(struct arena *arena, const double *metrics)
{
    const char *text = "";
    double most = 0;

    for (size_t i = 0; i < sizeof waits_of / sizeof *waits_of; i++) {
        if (metrics[waits_of[i].counter] > most) {
            most = metrics[waits_of[i].counter];
            text = arena_printf(arena, "; warps wait most for %s (%.1f for each that issues)",
                                words_of(waits_of[i].sampled), most);
        }
    }
    return text;
}

/* The next of what warps wait for, by size; NULL: that was all that is worth a word. */
static const struct stall *next_wait(const double *metrics, const struct stall *before)
{
    const struct stall *next = NULL;

    for (int i = 0; i < STALLS; i++) {
        const struct stall *stall = &stall_table[i];
        double share = metrics[stall->metric];
        bool later = before == NULL || share < metrics[before->metric] ||
                     (share == metrics[before->metric] && stall > before);

        if (stall->words != NULL && later && share >= few_samples &&
            (next == NULL || share > metrics[next->metric])) {
            next = stall;
        }
    }
    return next;
}

/* "; warps wait most for barriers of the block (42 % of the samples), a busy pipe (17 %)" */
static const char *sampled_waits(struct arena *arena, const double *metrics)
{
    const struct stall *stall = next_wait(metrics, NULL);
    const char *text = "";

    for (int told = 0; stall != NULL && told < WAITS_TOLD; told++) {
        text = arena_printf(arena, "%s%s%s (%.0f %%%s)", text,
                            told == 0 ? "; warps wait most for " : ", ", stall->words,
                            metrics[stall->metric], told == 0 ? " of the samples" : "");
        stall = next_wait(metrics, stall);
    }
    return text;
}

static const char *waits(struct arena *arena, const double *metrics)
{
    return metrics[METRIC_PC_SAMPLES] > 0 ? sampled_waits(arena, metrics)
                                          : counted_waits(arena, metrics);
}

static const char *hot_of(struct arena *arena, const double *m)
{
    return !(m[METRIC_PC_SAMPLES] > 0)
               ? ""
               : arena_printf(arena,
                              "of %.0f samples of warps %.1f %% issued and %.1f %% could have; "
                              "%.1f %% were at one instruction, %.0f bytes into the code",
                              m[METRIC_PC_SAMPLES], m[METRIC_PC_ISSUING], m[METRIC_PC_READY],
                              m[METRIC_PC_HOTTEST], m[METRIC_PC_HOTTEST_AT]);
}

static const char *limit_of(struct arena *arena, const struct diagnosis_subject *subject,
                            const struct counts *counts, const struct diagnosis *diagnosis)
{
    const char *stall = waits(arena, subject->metrics);
    int most = -1;

    for (int i = 0; i < RESOURCES; i++) {
        if (diagnosis->share[i] >= (most < 0 ? much : diagnosis->share[most])) {
            most = i;
        }
    }
    if (most == RESOURCE_SHARED && diagnosis->conflicts >= many_conflicts) {
        return arena_printf(arena, "shared memory: %.0f %% of its passes are bank conflicts%s",
                            100 * diagnosis->conflicts, stall);
    }
    if (most >= 0) {
        return arena_printf(arena, "%s: %.0f %% used%s", resource_names[most],
                            100 * diagnosis->share[most], stall);
    }
    if (counts->busy < idle) {
        return arena_printf(arena,
                            "multiprocessors without work: busy %.0f %% of the time (few blocks, "
                            "the last ones, or the launch itself)%s",
                            100 * counts->busy, stall);
    }
    if (diagnosis->occupancy < few_warps) {
        return arena_printf(arena,
                            "latency: nothing is used up, and %.0f %% of the warps that fit are "
                            "few to hide it%s",
                            diagnosis->occupancy, stall);
    }
    return arena_printf(arena, "latency and barriers: nothing is used up%s", stall);
}

static const char *roof_of(struct arena *arena, const struct diagnosis_subject *subject)
{
    double peak = best_flops(subject->ceilings, false);
    double dram = subject->ceilings != NULL ? subject->ceilings->value[CEILING_DRAM] : NAN;
    double intensity = subject->flops / subject->bytes, ridge = peak * 1e3 / dram;
    double reached = subject->flops / subject->us / 1e6;
    double roof = fmin(peak, intensity * dram / 1e3);

    return isnan(peak) || isnan(dram) || !(subject->bytes > 0)
               ? ""
               : arena_printf(arena,
                              "%.4g of %.4g TFLOP/s, %.0f %% of the roof at %.4g FLOP a byte (%s; "
                              "from %.4g on it is flat)",
                              reached, roof, 100 * reached / roof, intensity,
                              intensity >= ridge ? "multiplying bounds" : "memory bounds", ridge);
}

void diagnose(struct arena *arena, const struct diagnosis_subject *subject,
              struct diagnosis *diagnosis)
{
    const double *m = subject->metrics;
    struct counts counts;

    *diagnosis = (struct diagnosis){
        .limit = "", .roof = roof_of(arena, subject), .hot = hot_of(arena, m)};
    diagnosis->modelled = isnan(m[METRIC_HW_SM_CYCLES]) && !isnan(m[METRIC_EMU_WARP_OPS]);
    diagnosis->known = diagnosis->modelled || !isnan(m[METRIC_HW_SM_CYCLES]);
    if (!diagnosis->known) {
        return;
    }
    counts = diagnosis->modelled ? modelled_counts(subject) : hardware_counts(subject);
    diagnosis->occupancy =
        diagnosis->modelled ? m[METRIC_OCCUPANCY] : m[METRIC_HW_OCCUPANCY];
    add_shares(arena, subject, &counts, diagnosis);
    diagnosis->limit = limit_of(arena, subject, &counts, diagnosis);
}
