#include "daemon/trial.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "daemon/fleet.h"
#include "daemon/setup.h"

enum { COMPILE_MS = 120 * 1000, PATIENCE_MS = 20 * 1000 };

/* Waits for the next event of the only worker. */
static bool next_event(struct fleet *fleet, struct arena *arena, struct fleet_event *event,
                       struct err *err)
{
    struct fleet_event events[FLEET_EVENTS_MAX];
    int count = 0;

    while (count == 0) {
        if (!fleet_wait(fleet, -1, arena, events, &count, err)) {
            return false;
        }
    }
    *event = events[0];
    return true;
}

/*
 * Starts the worker, hands it the message, and returns what came of it. Who started it for us may
 * have something to write when it has ended, and gets `patience_ms` for that.
 */
static bool ask(struct arena *arena, enum role role, const char *name, const char *const argv[],
                const struct message *job, int64_t id, int64_t deadline_ms, int64_t patience_ms,
                struct hello *hello, struct fleet_event *event, struct err *err)
{
    struct fleet *fleet = fleet_new();
    bool ok = fleet_add(fleet, role, name, argv, deadline_ms, err) &&
              next_event(fleet, arena, event, err);

    if (ok) {
        *hello = event->hello;
        hello->backend = arena_dup(arena, hello->backend);
        hello->version = arena_dup(arena, hello->version);
        hello->device = arena_dup(arena, hello->device);
        hello->device_id = arena_dup(arena, hello->device_id);
        hello->sandbox = arena_dup(arena, hello->sandbox);
        fleet_send(fleet, 0, id, job, 1);
        ok = next_event(fleet, arena, event, err);
    }
    if (patience_ms > 0) {
        fleet_dismiss(fleet, patience_ms);
    }
    fleet_free(fleet);
    return ok;
}

bool trial_compile(struct arena *arena, const struct compile_job *job, struct built *built,
                   struct err *err)
{
    struct hello hello;

    return trial_compile_by(arena, job, built, &hello, err);
}

bool trial_compile_by(struct arena *arena, const struct compile_job *job, struct built *built,
                      struct hello *compiler, struct err *err)
{
    const char *program = setup_program(arena, "evo-compile", err);
    const char *argv[] = {program, NULL, NULL, NULL};
    struct fleet_event event;

    for (int i = 0; i < job->option_count; i++) { /* its sandbox must know of a folder of headers */
        if (str_starts(job->options[i], "-I")) {
            argv[1] = "--read";
            argv[2] = job->options[i] + 2;
        }
    }
    if (program == NULL || !ask(arena, ROLE_COMPILE, "compile", argv, compile_encode(arena, job),
                                job->id, COMPILE_MS, 0, compiler, &event, err)) {
        return false;
    }
    switch (event.kind) {
    case FLEET_ANSWER: return built_decode(arena, event.message, built, err);
    case FLEET_TIMEOUT:
    case FLEET_DIED:
        *built =
            (struct built){.verdict = event.kind == FLEET_DIED ? VERDICT_CRASH : VERDICT_TIMEOUT,
                           .reason = arena_printf(arena, "the compiler %s", event.text),
                           .log = "",
                           .warnings = "",
                           .slow = ""};
        return true;
    default: return err_set(err, ERR_SYSTEM, "the compiler could not do it: %s", event.text);
    }
}

/* The worker for a device, and what its --device says. False: no such device. */
static bool choose_judge(struct arena *arena, const char *device, const char *argv[4],
                         struct err *err)
{
    bool automatic = device == NULL || strcmp(device, "auto") == 0;

    if (trial_is_emulated(arena, device)) {
        argv[0] = setup_program(arena, "evo-judge-emu", err);
        argv[2] = automatic || device[3] == '\0' ? "0" : device + 4;
    } else if (automatic || str_starts(device, "cuda:")) {
        if (access("/dev/nvidiactl", F_OK) != 0) {
            err_set(err, ERR_DEVICE, "no NVIDIA GPU was found on this machine");
            return err_hint(err, "'--device emu' judges on the emulated device");
        }
        argv[0] = setup_program(arena, "evo-judge-cuda", err);
        argv[2] = automatic ? "0" : device + 5;
    } else {
        err_set(err, ERR_USER, "a file cannot be judged on '%s'", device);
        return err_hint(err, "devices that run code are cuda:0, cuda:1, … and emu");
    }
    argv[1] = "--device";
    argv[3] = NULL;
    return argv[0] != NULL;
}

bool trial_is_emulated(struct arena *arena, const char *device)
{
    struct err ignored;

    if (device != NULL && strcmp(device, "auto") != 0) {
        return strcmp(device, "emu") == 0 || str_starts(device, "emu:");
    }
    return access("/dev/nvidiactl", F_OK) != 0 &&
           setup_program(arena, "evo-judge-emu", &ignored) != NULL;
}

bool trial_judge(struct arena *arena, const char *device, const struct judge_job *job,
                 int64_t deadline_ms, struct hello *hello, struct judge_result *result,
                 struct err *err)
{
    static const char *const nothing[] = {NULL};

    return trial_judge_under(arena, nothing, device, job, deadline_ms, hello, result, err);
}

bool trial_judge_under(struct arena *arena, const char *const *before, const char *device,
                       const struct judge_job *job, int64_t deadline_ms, struct hello *hello,
                       struct judge_result *result, struct err *err)
{
    enum { BEFORE_MAX = FLEET_ARGUMENTS_MAX - 4 };
    const char *words[FLEET_ARGUMENTS_MAX], *argv[4];
    struct fleet_event event;
    int count = 0;

    if (!choose_judge(arena, device, argv, err)) {
        return false;
    }
    while (before[count] != NULL) {
        assert(count < BEFORE_MAX);
        words[count] = before[count];
        count++;
    }
    if (count > 0 && !trial_is_emulated(arena, device)) {
        argv[2] = arena_printf(arena, "%s/untimed", argv[2]);
    }
    memcpy(words + count, argv, sizeof argv);
    if (!ask(arena, ROLE_JUDGE, "judge", words, judge_encode(arena, job), job->id, deadline_ms,
             count > 0 ? PATIENCE_MS : 0, hello, &event, err)) {
        return false;
    }
    switch (event.kind) {
    case FLEET_ANSWER: return result_decode(arena, event.message, result, err);
    case FLEET_TIMEOUT:
    case FLEET_DIED:
        memset(result, 0, sizeof *result);
        result->verdict = event.kind == FLEET_DIED ? VERDICT_CRASH : VERDICT_TIMEOUT;
        result->reason = arena_printf(arena, "its judge %s", event.text);
        return true;
    default: return err_set(err, ERR_DEVICE, "the judge could not do it: %s", event.text);
    }
}

bool trial_duel(struct arena *arena, const char *device, const struct duel_job *job,
                int64_t deadline_ms, struct hello *hello, struct duel_result *result,
                struct err *err)
{
    const char *argv[4];
    struct fleet_event event;

    if (!choose_judge(arena, device, argv, err) ||
        !ask(arena, ROLE_JUDGE, "judge", argv, duel_encode(arena, job), job->id, deadline_ms, 0,
             hello, &event, err)) {
        return false;
    }
    return event.kind == FLEET_ANSWER
               ? dueled_decode(arena, event.message, result, err)
               : err_set(err, ERR_DEVICE, "the judge of the two %s", event.text);
}
