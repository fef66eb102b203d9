#define _GNU_SOURCE /* sched_getaffinity */

#include "daemon/setup.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/proc.h"
#include "daemon/exported.h"

/* ---- the device ---- */

static const char REPLAY[] = "replay:";
static const char CUDA[] = "cuda:";
static const char EMU[] = "emu"; /* emu, or emu:CHIP */

enum {
    EMU_JUDGES_MAX = 16,
    EMU_JUDGE_THREADS = 2, /* a gate's shapes have too few blocks for more */
    COMPILE_DEADLINE_MS = 120 * 1000,
};

/* A path in a seed is relative to the seed's folder; on the command line, to the current one. */
static const char *resolve_path(struct arena *arena, const char *path, const char *beside)
{
    const char *slash = beside != NULL ? strrchr(beside, '/') : NULL;
    char *real;

    if (*path != '/' && slash != NULL) {
        path = arena_printf(arena, "%.*s/%s", (int)(slash - beside), beside, path);
    }
    real = realpath(path, NULL);
    if (real != NULL) {
        path = arena_dup(arena, real);
        free(real);
    }
    return path;
}

static bool is_emulated(const char *spec)
{
    return strcmp(spec, EMU) == 0 || (str_starts(spec, EMU) && spec[strlen(EMU)] == ':');
}

/* `auto` without a GPU; said once, aloud: what a model times is no measurement. */
static bool falls_back(struct arena *arena)
{
    static bool said;
    struct err ignored;

    if (setup_program(arena, "evo-judge-emu", &ignored) == NULL) {
        return false;
    }
    if (!said) {
        log_line("setup", "no NVIDIA GPU was found: kernels run on the emulated device, their "
                          "times are a model's");
        said = true;
    }
    return true;
}

static bool has_gpu(void) { return access("/dev/nvidiactl", F_OK) == 0; }

/* Checks the form of a device's name and makes it absolute. NULL with err set. */
static const char *resolve_device(struct arena *arena, const char *spec, const char *beside,
                                  bool own_judges, struct err *err)
{
    if (str_starts(spec, REPLAY)) {
        return arena_printf(arena, "%s%s", REPLAY,
                            resolve_path(arena, spec + strlen(REPLAY), beside));
    }
    if (str_starts(spec, CUDA) || is_emulated(spec)) {
        return arena_dup(arena, spec);
    }
    if (strcmp(spec, "auto") != 0) {
        err_set(err, ERR_USER, "unknown device '%s'", spec);
        err_hint(err, "devices are auto, cuda:N (or cuda:0,cuda:1), emu and replay:FILE");
        return NULL;
    }
    if (own_judges) { /* the seed's own command lines are all there is */
        return "auto";
    }
    if (!has_gpu() && falls_back(arena)) {
        return EMU;
    }
    if (!has_gpu()) {
        err_set(err, ERR_DEVICE, "no NVIDIA GPU was found on this machine");
        err_hint(err, "'--device replay:FILE' answers from a recording; 'seeds/smoke.yaml' is a "
                      "run that needs no GPU");
        return NULL;
    }
    return "cuda:0";
}

/* ---- reading ---- */

/* ---- rivals that are files: their texts are kept among the templates ---- */

static const char RIVAL[] = "rival/"; /* before the name that the seed has */

static bool rival_fail(const struct setup *setup, int rival, struct err *err)
{
    return err_in(err, "%s:%d:%d: rival '%s'", setup->seed.path, setup->seed.rival_at[rival].line,
                  setup->seed.rival_at[rival].column, setup->seed.rivals[rival]);
}

/* Paths are relative to the seed's folder. */
static bool load_rivals(struct setup *setup, struct err *err)
{
    for (int i = 0; i < setup->seed.rival_count; i++) {
        const char *name = setup->seed.rivals[i];
        const char *path = resolve_path(setup->arena, name, setup->seed.path);
        struct buf text = {0};
        bool ok;

        if (!seed_is_file(name)) {
            continue;
        }
        ok = file_read(path, EXPORTED_BYTES_MAX, &text, err);
        if (ok) {
            template_set_add(setup->templates, arena_printf(setup->arena, "%s%s", RIVAL, name),
                             path, text.data, text.length);
        }
        buf_free(&text);
        if (!ok) {
            err->kind = ERR_USER;
            return rival_fail(setup, i, err);
        }
    }
    return true;
}

static bool read_rival(struct setup *setup, int rival, struct err *err)
{
    const char *name = setup->seed.rivals[rival];
    const struct template_file *file = template_set_find(
        setup->templates, arena_printf(setup->arena, "%s%s", RIVAL, name));
    struct exported *exported = arena_alloc(setup->arena, sizeof *exported);
    bool serves = false;

    if (file == NULL) {
        return err_set(err, ERR_SYSTEM, "its text was not kept");
    }
    if (!exported_read(setup->arena, name, file->text, file->length, exported, err)) {
        return err_hint(err, "a rival is a file that 'evo export' wrote");
    }
    for (int i = 0; i < setup->seed.problem_count; i++) {
        serves = serves || exported_serves(exported, &setup->seed.problems[i]);
    }
    setup->rivals[rival] = exported;
    return serves || err_set(err, ERR_USER,
                             "it was made for no shape of the workload: head dimension, type, mask "
                             "or outputs differ");
}

static bool read_rivals(struct setup *setup, struct err *err)
{
    for (int i = 0; i < setup->seed.rival_count; i++) {
        if (seed_is_file(setup->seed.rivals[i]) && !read_rival(setup, i, err)) {
            return rival_fail(setup, i, err);
        }
    }
    return true;
}

/* Families, founders, device: what seed and templates together say. */
static bool settle(struct setup *setup, const char *device, const char *beside, struct err *err)
{
    struct arena *arena = setup->arena;
    struct family **families = arena_alloc(arena, SEED_FAMILIES_MAX * sizeof *families);

    setup->device_spec = resolve_device(arena, device, beside, setup->seed.judge_count > 0, err);
    if (setup->device_spec == NULL) {
        return false;
    }
    if (str_starts(setup->device_spec, REPLAY) &&
        !space_load(arena, setup->device_spec + strlen(REPLAY), &setup->space, err)) {
        return false;
    }
    setup->families = families;
    return seed_families(arena, &setup->seed, setup->templates, setup->space, families,
                         &setup->family_count, setup->founders, err);
}

bool setup_read(struct arena *arena, const struct engine_options *options, struct setup *setup,
                struct err *err)
{
    const char *path = options->seed_path, *folder;

    *setup = (struct setup){.arena = arena, .templates = template_set_new(arena)};
    if (!seed_load(arena, path, &setup->seed, err)) {
        return false;
    }
    if (options->templates != NULL &&
        !template_set_load(setup->templates, options->templates, err)) {
        return false;
    }
    if (setup->seed.templates != NULL &&
        !template_set_load(setup->templates, resolve_path(arena, setup->seed.templates, path),
                           err)) {
        return err_in(err, "seed '%s'", path);
    }
    folder = templates_folder(arena, err);
    return folder != NULL && template_set_load(setup->templates, folder, err) &&
           settle(setup, options->device != NULL ? options->device : setup->seed.device,
                  options->device != NULL ? NULL : path, err) &&
           load_rivals(setup, err) && read_rivals(setup, err);
}

static void recall_template(void *context, const char *name, const char *path, const char *text,
                            size_t length)
{
    template_set_add(context, name, path, text, length);
}

bool setup_recall(struct arena *arena, struct store *store, const struct run_row *run,
                  const struct engine_options *options, struct setup *setup, struct err *err)
{
    *setup = (struct setup){.arena = arena, .templates = template_set_new(arena)};
    return seed_parse(arena, run->seed_path, run->seed_text, strlen(run->seed_text), &setup->seed,
                      err) &&
           store_templates_each(store, run->id, recall_template, setup->templates, err) &&
           settle(setup, options->device != NULL ? options->device : run->device_spec, NULL, err) &&
           read_rivals(setup, err);
}

bool setup_keep(const struct setup *setup, struct store *store, int64_t run, struct err *err)
{
    for (int i = 0; i < setup->templates->count; i++) {
        const struct template_file *file = &setup->templates->files[i];
        bool used = str_starts(file->name, "include/") || str_starts(file->name, RIVAL);

        for (int j = 0; j < setup->family_count && !used; j++) {
            size_t length = strlen(setup->families[j]->name);

            used = strncmp(file->name, setup->families[j]->name, length) == 0 &&
                   strcmp(file->name + length, ".cu") == 0;
        }
        if (used && !store_template_insert(store, run, file->name, file->path, file->text,
                                           file->length, err)) {
            return false;
        }
    }
    return true;
}

/* ---- workers ---- */

const char *setup_program(struct arena *arena, const char *name, struct err *err)
{
    /* The build tree, then where `cmake --install` puts workers, by distribution. */
    static const char *const folders[] = {"", "../lib/evo/", "../lib64/evo/",
                                          "../lib/x86_64-linux-gnu/evo/"};
    char own[4096];

    if (!proc_own_folder(own, err)) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const char *path = arena_printf(arena, "%s/%s%s", own, folders[i], name);

        if (access(path, X_OK) == 0) {
            return path;
        }
    }
    err_set(err, ERR_SYSTEM, "the program '%s' is not beside '%s/evo'", name, own);
    err_hint(err, "it is built only where the CUDA toolkit is found: set CUDA_HOME and configure "
                  "again");
    return NULL;
}

static int cores(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* EVO_COMPILE names another compile worker: a remote one, or a test's. */
static bool staff_compilers(const struct setup *setup, struct fleet *fleet, struct err *err)
{
    const char *command = getenv("EVO_COMPILE");
    int count = setup->seed.compile_workers > 0 ? setup->seed.compile_workers : cores();
    const char *const *argv;

    if (command != NULL && *command != '\0') {
        argv = str_words(setup->arena, command, FLEET_ARGUMENTS_MAX, err);
        if (argv == NULL) {
            return err_in(err, "'EVO_COMPILE'");
        }
    } else {
        const char *program = setup_program(setup->arena, "evo-compile", err);
        const char *own[] = {program, NULL};

        if (program == NULL) {
            return false;
        }
        argv = arena_copy(setup->arena, own, sizeof own);
    }
    for (int i = 0; i < count; i++) {
        if (!fleet_add(fleet, ROLE_COMPILE, arena_printf(setup->arena, "compile:%d", i), argv,
                       setup->seed.compile_deadline_ms, err)) {
            return false;
        }
    }
    return true;
}

static bool staff_judge(const struct setup *setup, struct fleet *fleet, const char *name,
                        const char *program, const char *option, const char *value, struct err *err)
{
    const char *path = setup_program(setup->arena, program, err);
    const char *argv[] = {path, option != NULL ? option : value, option != NULL ? value : NULL,
                          NULL};

    return path != NULL &&
           fleet_add(fleet, ROLE_JUDGE, name, argv, setup->seed.judge_deadline_ms, err);
}

/* On few cores one judge with two threads; more cores, more judges. */
static bool staff_emulators(const struct setup *setup, int threads_max, struct fleet *fleet,
                            struct err *err)
{
    const char *chip = setup->device_spec + strlen(EMU);
    int threads = cores() < threads_max ? cores() : threads_max;
    int count = cores() / threads < EMU_JUDGES_MAX ? cores() / threads : EMU_JUDGES_MAX;

    chip = arena_printf(setup->arena, "%s/%d", *chip == ':' ? chip + 1 : "", threads);
    for (int i = 0; i < count; i++) {
        if (!staff_judge(setup, fleet, arena_printf(setup->arena, "emu:%d", i), "evo-judge-emu",
                         "--device", chip, err)) {
            return false;
        }
    }
    return true;
}

static bool staff_device(const struct setup *setup, int emulator_threads, struct fleet *fleet,
                         struct err *err)
{
    struct arena *arena = setup->arena;
    char *rest = arena_dup(arena, setup->device_spec), *save = NULL;

    if (str_starts(rest, REPLAY)) {
        return staff_judge(setup, fleet, "replay", "evo-judge-replay", NULL, rest + strlen(REPLAY),
                           err);
    }
    if (is_emulated(rest)) {
        return staff_emulators(setup, emulator_threads, fleet, err);
    }
    for (char *name = strtok_r(rest, ",", &save); name != NULL; name = strtok_r(NULL, ",", &save)) {
        int64_t ordinal;

        if (!str_starts(name, CUDA) || !str_to_i64(name + strlen(CUDA), &ordinal) || ordinal < 0) {
            err_set(err, ERR_USER, "unknown device '%s'", name);
            return err_hint(err,
                            "devices are auto, cuda:N (or cuda:0,cuda:1), emu and replay:FILE");
        }
        if (!staff_judge(setup, fleet, name, "evo-judge-cuda", "--device", name + strlen(CUDA),
                         err)) {
            return false;
        }
    }
    return true;
}

static bool needs_compilers(const struct setup *setup)
{
    for (int i = 0; i < setup->family_count; i++) {
        if (setup->families[i]->text != NULL) {
            return true;
        }
    }
    return false;
}

bool setup_staff(const struct setup *setup, struct fleet *fleet, struct err *err)
{
    if (needs_compilers(setup) && !staff_compilers(setup, fleet, err)) {
        return false;
    }
    for (int i = 0; i < setup->seed.judge_count; i++) {
        const char *const *argv =
            str_words(setup->arena, setup->seed.judges[i], FLEET_ARGUMENTS_MAX, err);

        if (argv == NULL ||
            !fleet_add(fleet, ROLE_JUDGE, arena_printf(setup->arena, "judge:%d", i), argv,
                       setup->seed.judge_deadline_ms, err)) {
            return false;
        }
    }
    return strcmp(setup->device_spec, "auto") == 0 ||
           staff_device(setup, EMU_JUDGE_THREADS, fleet, err);
}

bool setup_staff_device(struct arena *arena, const char *device, int64_t judge_deadline_ms,
                        struct fleet *fleet, struct err *err)
{
    struct setup *setup = arena_alloc(arena, sizeof *setup);

    setup->arena = arena;
    setup->seed.compile_deadline_ms = COMPILE_DEADLINE_MS;
    setup->seed.judge_deadline_ms = judge_deadline_ms;
    setup->device_spec = resolve_device(arena, device != NULL ? device : "auto", NULL, false, err);
    return setup->device_spec != NULL && staff_compilers(setup, fleet, err) &&
           staff_device(setup, 1, fleet, err);
}

/* ---- what a device leaves to the families ---- */

/* The suffix a admits architecture-specific instructions, which exist from sm_90 on. */
const char *setup_arch(struct arena *arena, const struct hello *judge)
{
    int64_t arch = judge->device_arch;

    if (arch == 0) {
        return "sm_90a"; /* a device that does not say (a recording): any will do to compile */
    }
    return arena_printf(arena, "sm_%lld%s", (long long)arch, arch >= 90 ? "a" : "");
}

struct givens setup_givens(const struct problem *problem, const struct hello *judge)
{
    struct givens givens;

    givens.values[GIVEN_HEAD_DIM] = problem->head_dim;
    givens.values[GIVEN_CAUSAL] = problem->causal;
    givens.values[GIVEN_BF16] = problem->dtype == DTYPE_BF16;
    givens.values[GIVEN_LSE] = problem->lse;
    givens.values[GIVEN_DEVICE_SMEM_MAX] = judge->device_smem_max;
    givens.values[GIVEN_DEVICE_ARCH] = judge->device_arch;
    return givens;
}

static bool check_founders(const struct setup *setup, const struct search_space *space,
                           struct err *err)
{
    for (int i = 0; i < setup->seed.founder_count; i++) {
        struct refusal refusal;
        int numerics;

        if (!space_admits(space, &setup->founders[i], &numerics, &refusal)) {
            return err_set(err, ERR_USER, "%s:%d:%d: founder '%.200s' is infeasible here: %s",
                           setup->seed.path, setup->seed.founders[i].line,
                           setup->seed.founders[i].column, setup->seed.founders[i].text,
                           refusal.text);
        }
    }
    return true;
}

/* Whether some static problem admits no genome at all; *reason is what the first one is told. */
static bool is_closed(const struct setup *setup, const struct search_space *space, int family,
                      const char **reason)
{
    enum { LOOKED_MAX = 1 << 16 }; /* requirements of device and problem alone need one look */
    const struct family *asked = space->families[family];
    int64_t values[FAMILY_SYMBOLS_MAX], feasible, total;
    struct genome first = {.family = (uint16_t)family};
    struct refusal refusal;

    for (int i = 0; i < space->static_count && asked->space == NULL; i++) {
        const struct givens *givens = &space->statics[i].givens;

        if (family_count(asked, givens, LOOKED_MAX, &feasible, &total) && feasible == 0 &&
            !family_feasible(asked, &first, givens, values, &refusal)) {
            *reason = arena_dup(setup->arena, refusal.text);
            return true;
        }
    }
    return false;
}

/* Takes closed families out, and has founders name the others by their new places. */
static bool leave_out_closed(struct setup *setup, struct search_space *space, int64_t arch,
                             struct err *err)
{
    uint16_t places[SEED_FAMILIES_MAX] = {0};
    int kept = 0;

    for (int i = 0; i < setup->family_count; i++) {
        const char *reason;

        if (is_closed(setup, space, i, &reason)) {
            setup->left_out[setup->left_out_count].family = setup->families[i]->name;
            setup->left_out[setup->left_out_count++].reason = reason;
        } else {
            places[i] = (uint16_t)kept;
            setup->families[kept++] = setup->families[i];
        }
    }
    for (int i = 0; i < setup->seed.founder_count; i++) { /* feasible, so its family is in */
        setup->founders[i].family = places[setup->founders[i].family];
    }
    setup->family_count = space->family_count = kept;
    if (kept == 0) {
        err_set(err, ERR_USER, "%s:%d:%d: family '%s' has no feasible genome on sm_%lld: %s",
                setup->seed.path, setup->seed.families[0].line, setup->seed.families[0].column,
                setup->left_out[0].family, (long long)arch, setup->left_out[0].reason);
        return err_hint(err, "'evo genes %s' lists what it requires; 'evo check --for' asks for "
                             "another device",
                        setup->left_out[0].family);
    }
    return true;
}

bool setup_space(struct setup *setup, const struct hello *judge, struct search_space *space,
                 const char **arch, struct err *err)
{
    const struct seed *seed = &setup->seed;

    *space = (struct search_space){
        .families = setup->families,
        .family_count = setup->family_count,
        .sms = judge->device_sms > 0 ? judge->device_sms : 1,
        .problem_count = seed->problem_count,
    };
    for (int i = 0; i < seed->problem_count; i++) {
        int image = 0;

        while (image < space->static_count) {
            int first = 0; /* a problem that this image serves */

            while (space->problems[first].image != image) {
                first++;
            }
            if (problem_same_static(&space->problems[first].problem, &seed->problems[i])) {
                break;
            }
            image++;
        }
        if (image == JOB_IMAGES_MAX) {
            return err_set(err, ERR_USER,
                           "'%s': the workload needs more than %d builds of a kernel", seed->path,
                           JOB_IMAGES_MAX);
        }
        if (image == space->static_count) {
            space->statics[space->static_count++].givens = setup_givens(&seed->problems[i], judge);
        }
        space->problems[i].problem = seed->problems[i];
        space->problems[i].image = image;
    }
    for (int i = 0; i < POPULATION_CLASSES; i++) {
        space->classes[i] = seed->numerics[i];
    }
    *arch = seed->arch != NULL ? seed->arch : setup_arch(setup->arena, judge);
    return check_founders(setup, space, err) &&
           leave_out_closed(setup, space, judge->device_arch, err);
}

struct search_config setup_config(const struct setup *setup, const struct run_row *run)
{
    const struct seed *seed = &setup->seed;
    struct search_config config = {
        .rng_seed = run->rng_seed,
        .islands = seed->islands,
        .elites = seed->elites,
        .tournament = seed->tournament,
        .selection = seed->selection,
        .migration = seed->migration,
    };

    memcpy(config.weights, seed->weights, sizeof config.weights);
    if (!strategy_parse(run->strategy, &config.strategy)) {
        config.strategy = STRATEGY_GA; /* a database of before there were others */
    }
    return config;
}
