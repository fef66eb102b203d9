#include "cli/source.h"

#include <string.h>

#include "base/str.h"
#include "daemon/devices.h"

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
    device = device_described(status.run.device_arch, status.run.device_smem_max,
                              status.run.device_sms);
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
