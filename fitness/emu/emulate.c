#include "fitness/emu/emulate.h"

#include <string.h>

#include "base/clock.h"
#include "fitness/emu/device_emu.h"
#include "fitness/verify.h"

enum { LAUNCHES_KNOWN = 2 }; /* of a case that is looked at again: it may have been unstable */

static const struct {
    const char *name;
    unsigned bits;
} sanitizers[] = {
    {"all", SANITIZE_ALL},       {"none", 0},
    {"bounds", SANITIZE_BOUNDS}, {"initialised", SANITIZE_INITIALISED},
    {"races", SANITIZE_RACES},   {"async", SANITIZE_ASYNC},
};

bool sanitize_parse(const char *text, unsigned *sanitize, struct err *err)
{
    *sanitize = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ","), i = 0, count = sizeof sanitizers / sizeof *sanitizers;

        while (i < count && (strlen(sanitizers[i].name) != length ||
                             strncmp(sanitizers[i].name, at, length) != 0)) {
            i++;
        }
        if (i == count) {
            err_set(err, ERR_USER, "unknown sanitizer '%.*s'", (int)(length < 64 ? length : 64),
                    at);
            return err_hint(err, "they are bounds, initialised, races and async; or all, or none "
                                 "(bounds are always looked after)");
        }
        *sanitize |= sanitizers[i].bits;
        at += length;
        if (*at == '\0') {
            return true;
        }
    }
}

static void tell_findings(struct arena *arena, const struct device_module *module,
                          struct emulation *emulation)
{
    const struct outcome *outcome = emu_outcome();

    if (outcome == NULL) {
        return;
    }
    emulation->finding_count =
        findings_tell(arena, emu_module(module), outcome, emulation->findings);
    emulation->findings_total = outcome->findings_total;
    emulation->atomics = outcome->atomics;
    emulation->ops = outcome->ops;
    emulation->lane_ops = outcome->lane_ops;
}

/* One case of the gate. False: no fault of the program. */
static bool run_case(struct arena *arena, const struct emulate_request *request,
                     const struct verify_subject *subject, struct emulation *emulation,
                     struct err *err)
{
    struct judge_result *result = arena_alloc(arena, sizeof *result);
    struct verify_request once = {.depth = request->known ? DEPTH_CASE : DEPTH_ONCE,
                                  .secret = request->secret,
                                  .seeds = 1,
                                  .launches = LAUNCHES_KNOWN,
                                  .family = request->family,
                                  .key = request->key};
    int64_t start = clock_now_us();
    enum device_status status = verify_run(arena, subject, &once, result, err);

    emulation->ms = (double)(clock_now_us() - start) / 1e3;
    tell_findings(arena, subject->module, emulation);
    emulation->verdict = result->verdict != VERDICT_NONE ? result->verdict : VERDICT_PASS;
    emulation->reason = result->reason != NULL ? result->reason : "";
    for (int i = 0; i < result->case_count; i++) {
        const struct case_result *row = &result->cases[i];

        if (row->rows_checked > 0) {
            emulation->compared = true;
            emulation->error_max = row->error_max;
            emulation->error_allowed = row->error_allowed;
        }
    }
    return status == DEVICE_OK || result->verdict != VERDICT_NONE;
}

/* A profile's names are the module's, which is unloaded before anybody prints them. */
static void outlive(struct arena *arena, struct kernel_profile *kernel)
{
    kernel->name = arena_dup(arena, kernel->name);
    for (int i = 0; i < kernel->line_count; i++) {
        kernel->lines[i].file = arena_dup(arena, kernel->lines[i].file);
    }
}

static bool run_profile(struct arena *arena, const struct emulate_request *request,
                        const struct verify_subject *subject, struct emulation *emulation,
                        struct err *err)
{
    struct verify_sets *sets;
    enum device_status status = verify_sets_make(arena, subject, request->secret, 1, &sets, err);
    int count;

    if (status == DEVICE_OK) {
        status = emu_profile(subject->module, subject->plan, verify_sets_buffers(sets, &count),
                             request->profile_blocks, emulation->kernels, err);
        emulation->kernel_count = status == DEVICE_OK ? subject->plan->kernel_count : 0;
        for (int i = 0; i < emulation->kernel_count; i++) {
            outlive(arena, &emulation->kernels[i]);
        }
        verify_sets_free(sets);
    }
    return status == DEVICE_OK;
}

static bool run(struct arena *arena, const struct emulate_request *request,
                struct device_module *module, int64_t sms, struct emulation *emulation,
                struct err *err)
{
    struct plan *plan = arena_alloc(arena, sizeof *plan);
    struct verify_subject subject = {
        .module = module,
        .plan = plan,
        .problem = &request->problem,
        .numerics = request->image->program.numerics == 1 ? NUMERICS_FP16 : NUMERICS_FP32,
    };
    bool supported;

    if (!plan_resolve(arena, &request->image->program, &request->problem, sms, plan, &supported,
                      err)) {
        return false;
    }
    emu_sanitize(request->sanitize);
    return (request->unchecked || run_case(arena, request, &subject, emulation, err)) &&
           (request->profile_blocks < 0 || emulation->verdict == VERDICT_CRASH ||
            emulation->verdict == VERDICT_TIMEOUT ||
            run_profile(arena, request, &subject, emulation, err));
}

bool emulate(struct arena *arena, const struct emulate_request *request,
             struct emulation *emulation, struct err *err)
{
    struct device_module *module = NULL;
    enum device_status status;
    struct hello hello;
    bool ok;

    *emulation = (struct emulation){.reason = ""};
    if (!device_open(arena, request->chip != NULL ? request->chip : "", &hello, err)) {
        return false;
    }
    emulation->chip = hello.device;
    status = device_load(request->image, &module, err);
    if (status == DEVICE_OK) {
        ok = run(arena, request, module, hello.device_sms, emulation, err);
    } else {
        emulation->verdict = status == DEVICE_UNSUPPORTED ? VERDICT_UNSUPPORTED : VERDICT_INVALID;
        emulation->reason = arena_dup(arena, err->what);
        ok = true;
    }
    device_unload(module);
    device_close();
    return ok;
}
