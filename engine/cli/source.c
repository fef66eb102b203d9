#include "cli/source.h"

#include <string.h>

#include "base/str.h"

/* CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". */
static const struct device_facts {
    int64_t arch, smem_max, sms; /* sms: of the largest common model, for launches by grid size */
} device_facts[] = {
    {80, 166912, 108}, {86, 101376, 84},  {87, 166912, 16},  {89, 101376, 142},
    {90, 232448, 132}, {100, 232448, 148}, {103, 232448, 160}, {120, 101376, 188},
};

enum { DEVICE_FACTS = sizeof device_facts / sizeof *device_facts };

static struct hello hello_of(int64_t arch, int64_t smem_max, int64_t sms)
{
    return (struct hello){
        .protocol = JOB_PROTOCOL, .role = ROLE_JUDGE, .backend = "", .version = "", .device = "",
        .device_id = "", .device_arch = arch, .device_smem_max = smem_max, .device_sms = sms,
    };
}

bool device_of_arch(const char *arch, struct hello *hello)
{
    char digits[8] = "";
    int64_t number;

    arch += str_starts(arch, "sm_") ? 3 : 0;
    for (size_t i = 0; arch[i] >= '0' && arch[i] <= '9' && i + 1 < sizeof digits; i++) {
        digits[i] = arch[i];
        digits[i + 1] = '\0';
    }
    arch += strlen(digits);
    if (!str_to_i64(digits, &number) || (*arch != '\0' && strcmp(arch, "a") != 0)) {
        return false;
    }
    for (int i = 0; i < DEVICE_FACTS; i++) {
        if (device_facts[i].arch == number) {
            *hello = hello_of(number, device_facts[i].smem_max, device_facts[i].sms);
            return true;
        }
    }
    return false;
}

const char *device_arch_names(struct arena *arena)
{
    struct buf text = {0};
    const char *names;

    for (int i = 0; i < DEVICE_FACTS; i++) {
        buf_printf(&text, "%ssm_%lld", i > 0 ? " " : "", (long long)device_facts[i].arch);
    }
    names = arena_dup(arena, text.data);
    buf_free(&text);
    return names;
}

/* ---- rendering again ---- */

bool source_recall(struct arena *arena, struct store *store, int64_t run,
                   struct recalled *recalled, struct err *err)
{
    /* Which judge there was is of no matter here, so no device is opened and no recording read. */
    struct engine_options options = {.device = "cuda:0", .budget_evaluations = -1,
                                     .budget_wall_ms = -1, .budget_device_ms = -1};
    struct status_row status;
    struct hello device;
    const char *arch;
    bool found;

    if (!query_status(store, arena, run, &status, &found, err)) {
        return false;
    }
    recalled->run = status.run;
    recalled->setup = arena_alloc(arena, sizeof *recalled->setup);
    recalled->space = arena_alloc(arena, sizeof *recalled->space);
    device = hello_of(status.run.device_arch, status.run.device_smem_max, status.run.device_sms);
    return setup_recall(arena, store, &recalled->run, &options, recalled->setup, err) &&
           setup_space(recalled->setup, &device, recalled->space, &arch, err);
}

bool source_genome(const struct recalled *recalled, const struct candidate_row *row,
                   struct genome *genome, struct err *err)
{
    const struct setup *setup = recalled->setup;

    for (int i = 0; i < setup->family_count; i++) {
        if (strcmp(setup->families[i]->name, row->family) == 0) {
            *genome = (struct genome){.family = (uint16_t)i};
            return genome_parse(setup->families[i], row->genes, genome, err);
        }
    }
    return err_set(err, ERR_USER, "family '%s' is not among the run's templates", row->family);
}

static bool render_build(struct arena *arena, const struct recalled *recalled,
                         const struct candidate_row *row, const struct build_facts *build,
                         const char **source, struct err *err)
{
    struct buf text = {0};
    struct genome genome;
    struct hash hash;
    bool ok;

    if (!source_genome(recalled, row, &genome, err) ||
        !render_source(recalled->setup->templates, recalled->setup->families[genome.family],
                       &genome, &recalled->space->statics[build->image].givens, &text, err)) {
        buf_free(&text);
        return false;
    }
    hash = source_hash(text.data, text.length);
    ok = hash_equal(&hash, &build->source_hash);
    *source = arena_text(arena, text.data, text.length);
    buf_free(&text);
    if (!ok) {
        err_set(err, ERR_SYSTEM, "the source of n%lld is no longer what was compiled",
                (long long)row->place);
        return err_hint(err, "this program renders its templates differently than the one that "
                             "ran the search (evo %s)", recalled->run.evo_version);
    }
    return true;
}

bool source_render(struct arena *arena, struct store *store, const struct candidate_row *row,
                   int image, struct recalled *recalled, const char **source, struct err *err)
{
    struct build_facts *builds;
    int64_t count;

    if (!query_builds(store, arena, row->run, row->place, &builds, &count, err)) {
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        if (builds[i].image == image) {
            return source_recall(arena, store, row->run, recalled, err) &&
                   render_build(arena, recalled, row, &builds[i], source, err);
        }
    }
    if (count == 0) {
        err_set(err, ERR_USER, "n%lld has no source of its own", (long long)row->place);
        return err_hint(err, row->family[0] != '\0'
                                 ? "it waits to be compiled, or came from a recorded space"
                                 : "it was written elsewhere");
    }
    return err_set(err, ERR_USER, "n%lld has %lld programs, from 0; there is no %d",
                   (long long)row->place, (long long)count, image);
}
