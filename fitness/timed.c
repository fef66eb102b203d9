#include "fitness/gate.h"

#include <stdlib.h>

struct verify_sets {
    struct verify_subject subject;
    uint64_t secret;
    int count;
    struct rig *rigs;
    struct device_buffers *buffers;
};

enum device_status verify_sets_make(struct arena *arena, const struct verify_subject *subject,
                                    uint64_t secret, int count, struct verify_sets **sets,
                                    struct err *err)
{
    struct verify_sets *made = xcalloc(1, sizeof(*made));
    struct gate gate = gate_of(arena, subject, secret, NULL, err);

    gate.threads = reference_threads();
    gate.args = problem_args(subject->problem);
    gate.there = gate.auditor != NULL;
    made->subject = *subject;
    made->secret = secret;
    made->rigs = xcalloc((size_t)count, sizeof(*made->rigs));
    made->buffers = xcalloc((size_t)count, sizeof(*made->buffers));
    for (int s = 0; s < count && gate.status == DEVICE_OK; s++) {
        struct rig *rig = &made->rigs[made->count++];
        if (rig_make(&gate, rig, 1 + s) &&
            rig_draw(&gate, rig, INPUT_NORMAL, gate_derive(&gate, "timed", s, 0))) {
            gate.calls = 0;
            gate.status = rig_poison(&gate, rig);
        }
        made->buffers[s] = rig->buffers;
    }
    if (gate.status != DEVICE_OK) {
        verify_sets_free(made);
        made = NULL;
    }
    *sets = made;
    return gate.status;
}

const struct device_buffers *verify_sets_buffers(const struct verify_sets *sets, int *count)
{
    *count = sets->count;
    return sets->buffers;
}

enum device_status verify_sets_check(struct arena *arena, struct verify_sets *sets, bool briefly,
                                     struct judge_result *result, struct err *err)
{
    struct gate gate = gate_of(arena, &sets->subject, sets->secret, result, err);
    struct climb climb = {.rung = RUNG_TIMED, .launches = LAUNCHES_CASE};
    bool well;

    climb.brief = briefly && gate.auditor != NULL;
    well = gate_open(&gate);
    for (int s = 0; s < sets->count && well; s++) {
        well = case_run(&gate, &sets->rigs[s], &climb);
    }
    gate_close(&gate);
    return gate.status;
}

void verify_sets_free(struct verify_sets *sets)
{
    if (sets == NULL) {
        return;
    }
    for (int s = 0; s < sets->count; s++) {
        rig_free(&sets->rigs[s]);
    }
    free(sets->rigs);
    free(sets->buffers);
    free(sets);
}
