#include "daemon/microbench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/folder.h"
#include "base/str.h"
#include "daemon/setup.h"

enum {
    WAIT_MS = 1000, /* the longest time between two calls of go_on */
    KEPT_BYTES_MAX = 1 << 16,
};

/* One ceiling on its way. */
struct probing {
    struct program program;
    double work; /* PER_ROUND */
    bool sent, done;
};

static bool is_modelled(const struct hello *judge) { return strcmp(judge->backend, "emu") == 0; }

/* ---- programs ---- */

/* EVO_PROBES in the environment, else the tree's, or share/evo/probes. */
static const char *probes_folder(struct arena *arena, struct err *err)
{
    static const char *const places[] = {"../fitness/probes", "../probes"};
    const char *asked = getenv("EVO_PROBES"), *templates;

    if (asked != NULL && *asked != '\0') {
        return asked;
    }
    templates = templates_folder(arena, err);
    for (size_t i = 0; templates != NULL && i < sizeof places / sizeof *places; i++) {
        const char *there = arena_printf(arena, "%s/%s", templates, places[i]);

        if (access(arena_printf(arena, "%s/include/probe.cuh", there), F_OK) == 0) {
            return there;
        }
    }
    if (templates != NULL) {
        err_set(err, ERR_SYSTEM, "the probes are not beside '%s'", templates);
        err_hint(err, "they are installed as share/evo/probes; EVO_PROBES names another folder");
    }
    return NULL;
}

static bool read_probes(struct arena *arena, struct template_set **set, struct err *err)
{
    const char *probes = probes_folder(arena, err), *templates = templates_folder(arena, err);

    *set = template_set_new(arena);
    return probes != NULL && templates != NULL && template_set_load(*set, probes, err) &&
           template_set_load(*set, templates, err);
}

static int64_t let_value(const struct family *family, const int64_t *values, const char *name)
{
    for (int i = 0; i < family->let_count; i++) {
        if (strcmp(family->lets[i].name, name) == 0) {
            return values[family->lets[i].slot];
        }
    }
    return 0;
}

static void fill_compile(struct arena *arena, const struct hello *judge, const struct buf *source,
                         const struct probing *probing, const char *name, bool lines,
                         struct compile_job *compile)
{
    *compile = (struct compile_job){
        .source = arena_text(arena, source->data, source->length),
        .source_bytes = source->length,
        .name = arena_printf(arena, "%s.cu", name),
        .arch = setup_arch(arena, judge),
        .entry_count = probing->program.kernel_count,
    };
    for (int i = 0; i < compile->entry_count; i++) {
        compile->entries[i] = probing->program.kernels[i].name;
    }
    if (lines) {
        compile->options[compile->option_count++] = "-lineinfo";
    }
}

/* *refused: the device cannot run it (an older architecture), in words; else "". */
static bool prepare(struct arena *arena, const struct template_set *set, enum ceiling ceiling,
                    const struct hello *judge, struct probing *probing, struct batch_item *item,
                    const char **refused, struct err *err)
{
    const struct ceiling_row *row = &ceiling_table[ceiling];
    struct problem problem = {
        .batch = 1, .heads = 1, .kv_heads = 1, .q_len = 1, .kv_len = 1, .head_dim = 64};
    struct givens givens = setup_givens(&problem, judge);
    struct genome genome = {0};
    struct refusal refusal;
    struct family *family;
    struct buf source = {0};
    int64_t *values;
    bool ok;

    *refused = "";
    if (!template_set_family(set, row->probe, &family, err) ||
        !genome_parse(family, row->genes, &genome, err)) {
        return err_in(err, "probe '%s'", row->name);
    }
    values = arena_alloc(arena, (size_t)family->symbols->count * sizeof *values);
    if (!family_feasible(family, &genome, &givens, values, &refusal)) {
        *refused = arena_dup(arena, refusal.text);
        return true;
    }
    probing->work = (double)let_value(family, values, "PER_ROUND");
    ok = family_program(arena, family, values, &probing->program, err) &&
         render_source(set, family, &genome, &givens, &source, err);
    if (ok) {
        fill_compile(arena, judge, &source, probing, row->probe, is_modelled(judge),
                     &item->compile);
    }
    buf_free(&source);
    return ok || err_in(err, "probe '%s'", row->name);
}

/* ---- times ---- */

static struct message *message_of(struct arena *arena, enum ceiling ceiling, bool modelled,
                                  const struct probing *probing, const struct batch_item *item)
{
    const struct ceiling_row *row = &ceiling_table[ceiling];
    struct probe_job *job = arena_alloc(arena, sizeof *job);

    *job = (struct probe_job){
        .id = ceiling,
        .image = {.cubin = item->built.cubin,
                  .cubin_bytes = item->built.cubin_bytes,
                  .ptx = item->built.ptx,
                  .ptx_bytes = item->built.ptx_bytes,
                  .code_key = item->built.code_key,
                  .program = probing->program},
        .rounds = modelled ? row->rounds_modelled : row->rounds,
        .rounds_max = modelled ? row->rounds_modelled : row->rounds_max,
    };
    return probe_encode(arena, job);
}

static void give_up(struct microbench *microbench, struct probing *probing, enum ceiling ceiling,
                    const char *why)
{
    microbench->trouble[ceiling] = why;
    microbench->failed++;
    probing[ceiling].done = true;
}

/* Whatever came of it, the probe is done: another attempt would say the same. */
static void attend(struct arena *arena, struct microbench *microbench, struct probing *probing,
                   int64_t arch, const struct fleet_event *event)
{
    const char *why = "more rounds took no longer";
    enum ceiling ceiling = (enum ceiling)event->job;
    struct probe_result result;
    struct err bad = {0};

    if (event->kind == FLEET_READY) {
        return;
    }
    if (event->kind != FLEET_ANSWER) {
        give_up(microbench, probing, ceiling, arena_printf(arena, "its judge %s", event->text));
        return;
    }
    if (!probed_decode(arena, event->message, &result, &bad)) {
        give_up(microbench, probing, ceiling, arena_dup(arena, bad.what));
        return;
    }
    probing[ceiling].done = true;
    if (result.verdict == VERDICT_PASS) {
        ceilings_take(&microbench->ceilings, ceiling, &result, probing[ceiling].work);
        microbench->ceilings.clock_mhz = fmax(microbench->ceilings.clock_mhz, result.clock_mhz);
        why = ceilings_check(arena, &microbench->ceilings, ceiling, arch);
        why = *why != '\0' ? why : "more rounds took no longer";
    }
    if (isnan(microbench->ceilings.value[ceiling])) {
        give_up(microbench, probing, ceiling,
                result.verdict != VERDICT_PASS
                    ? arena_printf(arena, "%s: %s", verdict_names[result.verdict], result.reason)
                    : why);
    }
}

/* Probes are timed one by one on a device; a model's judges may each have one. */
static bool time_all(const struct batch *batch, struct microbench *microbench,
                     struct probing *probing, const struct batch_item *items,
                     const struct hello *judge, bool *done, struct err *err)
{
    struct fleet_event events[FLEET_EVENTS_MAX];
    int64_t arch = judge->device_arch; /* its other words go with the worker */
    bool modelled = is_modelled(judge);
    int finished = 0, count, worker;

    while ((*done = finished == CEILINGS) == false &&
           (batch->go_on == NULL || batch->go_on(batch->context, finished, CEILINGS))) {
        for (int i = 0; i < CEILINGS; i++) {
            if (!probing[i].sent && !probing[i].done &&
                (worker = fleet_idle(batch->fleet, ROLE_JUDGE, 0)) >= 0) {
                struct arena *arena = arena_new(); /* the fleet copies a message's bytes */

                probing[i].sent = true;
                fleet_send(batch->fleet, worker, i,
                           message_of(arena, (enum ceiling)i, modelled, &probing[i], &items[i]), 1);
                arena_free(arena);
            }
        }
        if (!fleet_wait(batch->fleet, WAIT_MS, batch->arena, events, &count, err)) {
            return false;
        }
        for (int i = 0; i < count; i++) {
            attend(batch->arena, microbench, probing, arch, &events[i]);
        }
        finished = 0;
        for (int i = 0; i < CEILINGS; i++) {
            finished += probing[i].done;
        }
    }
    return true;
}

/* ---- the whole ---- */

static bool prepare_all(const struct batch *batch, const struct hello *judge, bool modelled,
                        const bool *wanted, struct microbench *microbench, struct probing *probing,
                        struct batch_item *items, struct err *err)
{
    struct template_set *set;

    if (!read_probes(batch->arena, &set, err)) {
        return false;
    }
    for (int i = 0; i < CEILINGS; i++) {
        const char *refused = "";

        microbench->trouble[i] = "";
        if (!wanted[i]) {
            items[i].stage = BATCH_DONE;
            probing[i].done = true;
            continue;
        }
        if (modelled && ceiling_table[i].rounds_modelled == 0) {
            refused = "the model does not know";
        } else if (!prepare(batch->arena, set, (enum ceiling)i, judge, &probing[i], &items[i],
                            &refused, err)) {
            return false;
        }
        if (*refused != '\0') {
            items[i].stage = BATCH_DONE;
            give_up(microbench, probing, (enum ceiling)i, refused);
        }
    }
    return true;
}

bool microbench_run(const struct batch *batch, const bool wanted[CEILINGS],
                    struct microbench *microbench, bool *done, struct err *err)
{
    struct arena *arena = batch->arena;
    struct batch_item *items = arena_alloc(arena, CEILINGS * sizeof *items);
    struct probing *probing = arena_alloc(arena, CEILINGS * sizeof *probing);
    struct batch quiet = {.fleet = batch->fleet, .arena = arena};
    const struct hello *judge;
    bool modelled;
    int worker;

    *microbench = (struct microbench){0};
    ceilings_clear(&microbench->ceilings);
    if (!batch_await(batch, &worker, err) || (*done = worker >= 0) == false) {
        return err->kind == ERR_NONE;
    }
    judge = fleet_hello(batch->fleet, worker);
    if (strcmp(judge->backend, "replay") == 0) {
        return err_set(err, ERR_USER, "'%s' runs no code: there is nothing to measure",
                       judge->device);
    }
    modelled = is_modelled(judge);
    microbench->ceilings.device = arena_dup(arena, judge->device);
    microbench->ceilings.version = arena_dup(arena, judge->version);
    microbench->ceilings.sms = judge->device_sms;
    if (!prepare_all(batch, judge, modelled, wanted, microbench, probing, items, err) ||
        !batch_run(&quiet, items, CEILINGS, done, err)) {
        return false;
    }
    for (int i = 0; i < CEILINGS; i++) {
        if (!probing[i].done && items[i].built.verdict != VERDICT_NONE) {
            give_up(microbench, probing, (enum ceiling)i,
                    arena_printf(arena, "%s: %s", verdict_names[items[i].built.verdict],
                                 items[i].built.reason));
        }
    }
    return time_all(batch, microbench, probing, items, judge, done, err);
}

/* ---- what is kept ---- */

const char *microbench_path(struct arena *arena, const char *device)
{
    char folder[PATH_MAX], *name = arena_dup(arena, device);
    struct err ignored;

    for (char *at = name; *at != '\0'; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                     (*at >= '0' && *at <= '9');

        *at = plain ? *at : '-';
    }
    return folder_cache(folder, &ignored) ? arena_printf(arena, "%s/microbench/%s", folder, name)
                                          : NULL;
}

bool microbench_keep(struct arena *arena, const struct ceilings *ceilings, struct err *err)
{
    const char *path = microbench_path(arena, ceilings->device);
    struct buf text = {0};
    bool ok;

    if (path == NULL) {
        return err_set(err, ERR_SYSTEM, "there is no folder to keep it in");
    }
    ceilings_print(ceilings, &text);
    ok = folder_make(arena_text(arena, path, (size_t)(strrchr(path, '/') - path)), err) &&
         file_write(path, text.data, text.length, FILE_WHOLE, err);
    buf_free(&text);
    return ok;
}

bool microbench_recall(struct arena *arena, const char *device, struct ceilings *ceilings,
                       struct err *err)
{
    const char *path = microbench_path(arena, device);
    struct buf text = {0};
    bool ok;

    ceilings_clear(ceilings);
    if (path == NULL || access(path, F_OK) != 0) {
        return false;
    }
    ok = file_read(path, KEPT_BYTES_MAX, &text, err) &&
         ceilings_parse(arena, arena_text(arena, text.data, text.length), ceilings, err);
    buf_free(&text);
    return ok || err_in(err, "'%s'", path);
}
