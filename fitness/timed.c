/*
 * The sets of buffers that timed calls work on. A candidate that behaves while the gate looks and
 * not while it is timed has to tell the one from the other, and to have an answer where it is
 * looked at in the end. So outputs are looked at in the middle of the timing too, and must be what
 * an untimed call makes of the same inputs; and the inputs that stand there in the end are others
 * than those that were timed: whoever kept an answer has none for them.
 */
#include "fitness/gate.h"

#include <stdlib.h>
#include <string.h>

/* What the first look at a set's output saw. */
struct glimpse {
    bool taken, changed; /* changed: a later look saw something else */
    bool written;        /* an input was not as it was drawn any more */
    uint64_t digest;     /* with an auditor; else the elements themselves */
    uint16_t *out;
    float *lse;
};

struct verify_sets {
    struct verify_subject subject;
    struct gate gate;
    int count;
    struct rig *rigs;
    struct device_buffers *buffers;
    struct glimpse *glimpses;
};

static uint64_t set_key(const struct gate *gate, int set, int64_t round)
{
    return gate_derive(gate, "timed", set, round);
}

enum device_status verify_sets_make(struct arena *arena, const struct verify_subject *subject,
                                    uint64_t secret, int count, struct verify_sets **sets,
                                    struct err *err)
{
    struct verify_sets *made = xcalloc(1, sizeof(*made));
    struct gate *gate = &made->gate;
    enum device_status status;

    made->subject = *subject;
    made->rigs = xcalloc((size_t)count, sizeof(*made->rigs));
    made->buffers = xcalloc((size_t)count, sizeof(*made->buffers));
    made->glimpses = xcalloc((size_t)count, sizeof(*made->glimpses));
    *gate = gate_of(arena, &made->subject, secret, NULL, err);
    gate->there = gate->auditor != NULL;
    bool well = gate_open(gate);
    for (int s = 0; s < count && well; s++) {
        struct rig *rig = &made->rigs[made->count++];
        well = rig_make(gate, rig, 1 + s) && rig_draw(gate, rig, INPUT_NORMAL, set_key(gate, s, 0));
        if (well) {
            gate->calls = 0;
            gate->status = rig_poison(gate, rig);
            well = gate->status == DEVICE_OK;
        }
        made->buffers[s] = rig->buffers;
    }
    status = gate->status;
    if (!well) {
        verify_sets_free(made);
        made = NULL;
    }
    *sets = made;
    return status;
}

const struct device_buffers *verify_sets_buffers(const struct verify_sets *sets, int *count)
{
    *count = sets->count;
    return sets->buffers;
}

/* ---- while they are timed ---- */

/* Whether the set's output is what it was at the first look; that one is kept. */
static enum device_status look_at_output(struct gate *gate, const struct rig *rig,
                                         struct glimpse *glimpse)
{
    const struct region *o = &rig->regions[REGION_O];
    struct device_scan scan;
    enum device_status status;

    if (gate->auditor != NULL) {
        status = gate->auditor->scan(o->at, o->bytes, gate_derive(gate, "digest", REGION_O, 0),
                                     AUDIT_NEVER, AUDIT_NEVER, &scan, gate->err);
        glimpse->digest = glimpse->taken ? glimpse->digest : scan.digest;
        glimpse->changed = glimpse->changed || glimpse->digest != scan.digest;
        return status;
    }
    status = device_read(gate->next, o->at, o->bytes, gate->err);
    if (status == DEVICE_OK && !glimpse->taken) {
        glimpse->out = memcpy(xmalloc(o->bytes), gate->next, o->bytes);
    } else if (status == DEVICE_OK) {
        glimpse->changed = glimpse->changed || memcmp(glimpse->out, gate->next, o->bytes) != 0;
    }
    return status;
}

static enum device_status look_at_lse(struct gate *gate, const struct rig *rig,
                                      struct glimpse *glimpse)
{
    const struct region *l = &rig->regions[REGION_LSE];
    enum device_status status = device_read(gate->next_lse, l->at, l->bytes, gate->err);

    if (status == DEVICE_OK && !glimpse->taken) {
        glimpse->lse = memcpy(xmalloc(l->bytes), gate->next_lse, l->bytes);
    } else if (status == DEVICE_OK) {
        glimpse->changed = glimpse->changed || memcmp(glimpse->lse, gate->next_lse, l->bytes) != 0;
    }
    return status;
}

static enum device_status look(void *context, int count, struct err *err)
{
    struct verify_sets *sets = context;
    struct gate *gate = &sets->gate;
    enum device_status status = DEVICE_OK;

    gate->err = err;
    for (int s = 0; s < count && status == DEVICE_OK; s++) {
        struct glimpse *glimpse = &sets->glimpses[s];
        status = look_at_output(gate, &sets->rigs[s], glimpse);
        if (status == DEVICE_OK && sets->subject.problem->lse) {
            status = look_at_lse(gate, &sets->rigs[s], glimpse);
        }
        glimpse->taken = true;
    }
    return status;
}

static enum device_status renew(void *context, int count, int round, struct err *err)
{
    struct verify_sets *sets = context;
    struct gate *gate = &sets->gate;

    gate->err = err;
    gate->status = DEVICE_OK;
    for (int s = 0; s < count; s++) {
        struct rig *rig = &sets->rigs[s];
        int64_t at;
        int input;
        if (!rig_find_written(gate, rig, &input, &at)) {
            return gate->status;
        }
        sets->glimpses[s].written = sets->glimpses[s].written || at >= 0;
        if (!rig_draw(gate, rig, INPUT_NORMAL, set_key(gate, s, 1 + round))) {
            return gate->status;
        }
    }
    return DEVICE_OK;
}

struct measure_watch verify_sets_watch(struct verify_sets *sets)
{
    return (struct measure_watch){.context = sets,
                                  .look = look,
                                  .renew = renew,
                                  .secret = gate_derive(&sets->gate, "watch", 0, 0)};
}

/* ---- afterwards ---- */

static bool check_glimpse(struct gate *gate, const struct rig *rig, const struct glimpse *glimpse)
{
    size_t bytes = rig->regions[REGION_O].bytes, lse_bytes = rig->regions[REGION_LSE].bytes;
    bool same = gate->auditor != NULL ? gate->first_digest == glimpse->digest
                                      : memcmp(gate->first, glimpse->out, bytes) == 0;
    struct case_result row = case_new(gate, RUNG_TIMED, rig);

    if (gate->subject->problem->lse) {
        same = same && memcmp(gate->first_lse, glimpse->lse, lse_bytes) == 0;
    }
    return same || case_fail(gate, &row, VERDICT_UNSTABLE,
                             "calls that were timed, looked at in the middle of it, left another "
                             "output than an untimed one");
}

/*
 * What stands there now, and what was seen while it was timed, made once more: one of the two is
 * compared with the reference, by lot, and both with what an untimed call makes of their inputs.
 */
static bool check_set(struct verify_sets *sets, int s, bool briefly)
{
    struct gate *gate = &sets->gate;
    struct rig *rig = &sets->rigs[s];
    struct glimpse *glimpse = &sets->glimpses[s];
    bool lot = gate_derive(gate, "lot", s, 0) % 2 == 0;
    struct climb last = {.rung = RUNG_TIMED, .launches = LAUNCHES_CASE, .happened = true};
    struct climb again = {.rung = RUNG_TIMED, .launches = 1};

    struct case_result row = case_new(gate, RUNG_TIMED, rig);

    if (glimpse->written) {
        return case_fail(gate, &row, VERDICT_OUT_OF_BOUNDS,
                         "it wrote into its inputs while it was timed");
    }
    if (glimpse->changed) {
        return case_fail(gate, &row, VERDICT_UNSTABLE,
                         "calls that were timed left different outputs on the same input");
    }
    last.brief = briefly || (glimpse->taken && lot);
    again.brief = briefly || !lot;
    return case_run(gate, rig, &last) &&
           (!glimpse->taken || (rig_draw(gate, rig, INPUT_NORMAL, set_key(gate, s, 0)) &&
                                case_run(gate, rig, &again) && check_glimpse(gate, rig, glimpse)));
}

enum device_status verify_sets_check(struct arena *arena, struct verify_sets *sets, bool briefly,
                                     struct judge_result *result, struct err *err)
{
    struct gate *gate = &sets->gate;
    bool well = true;

    gate->arena = arena;
    gate->result = result;
    gate->err = err;
    gate->status = DEVICE_OK;
    for (int s = 0; s < sets->count && well; s++) {
        well = check_set(sets, s, briefly && gate->auditor != NULL);
    }
    return gate->status;
}

void verify_sets_free(struct verify_sets *sets)
{
    if (sets == NULL) {
        return;
    }
    for (int s = 0; s < sets->count; s++) {
        rig_free(&sets->rigs[s]);
        free(sets->glimpses[s].out);
        free(sets->glimpses[s].lse);
    }
    gate_close(&sets->gate);
    free(sets->rigs);
    free(sets->buffers);
    free(sets->glimpses);
    free(sets);
}
