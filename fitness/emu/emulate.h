/*
 * emulate -- one call of a program on the emulated device, for a person who wants to look inside.
 *
 * The program goes through one case of the gate (normal inputs, or those of a case that is known
 * from evidence; its output is compared with FP64) under the sanitizers asked for; whatever they
 * found is told, not only the first. Then, if asked, the same call is profiled. In-process: no
 * worker, no GPU, no CUDA. Owner: evo emulate and the tests. Threads: those of the machine; calls
 * come from one.
 */
#ifndef EVO_EMU_EMULATE_H
#define EVO_EMU_EMULATE_H

#include "fitness/emu/findings.h"
#include "fitness/emu/model.h"
#include "fitness/inputs.h"
#include "fitness/job.h"

struct emulate_request {
    const char *chip; /* NULL: the first */
    const struct judge_image *image;
    struct problem problem;
    unsigned sanitize;      /* of sanitize_parse */
    int64_t profile_blocks; /* run for the profile: -1: none, 0: all */
    bool unchecked;         /* only these blocks run: of the output nothing is known */
    uint64_t secret;        /* the inputs are drawn from it */
    bool known; /* or these inputs, launched twice */
    enum input_family family;
    uint64_t key;
};

struct emulation {
    enum verdict verdict; /* PASS: nothing found, and the output is right; NONE: unchecked */
    const char *reason;   /* "" for a pass */
    const char *chip;     /* its device's name */
    struct finding_told findings[FINDINGS_TOLD_MAX];
    int finding_count;
    int64_t findings_total; /* as often as they were made */
    bool atomics;           /* were used on global memory: the order between blocks is open */
    bool compared;          /* with FP64, where the error is nearest its limit: */
    double error_max, error_allowed;
    uint64_t ops, lane_ops; /* of the last kernel of the call */
    double ms;              /* of the host, for the case */
    struct kernel_profile kernels[PROGRAM_KERNELS_MAX];
    int kernel_count; /* profiled */
};

/* False when this is no fault of the program: an unknown chip, a shape it does not support. */
bool emulate(struct arena *arena, const struct emulate_request *request,
             struct emulation *emulation, struct err *err);

/* "all", "none" or names with commas, as --sanitize takes them. */
bool sanitize_parse(const char *text, unsigned *sanitize, struct err *err);

#endif
