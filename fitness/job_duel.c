#include "fitness/job.h"

#include <math.h>
#include <string.h>

#include "fitness/job_fields.h"

/* ---- DUEL ---- */

const char *const rival_names[] = {"cudnn", "cublas", NULL};

bool rival_is_named(const char *name)
{
    for (int i = 0; rival_names[i] != NULL; i++) {
        if (strcmp(rival_names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

bool message_is_duel(const struct message *message)
{
    return strcmp(message_verb(message), "duel") == 0;
}

struct message *duel_encode(struct arena *arena, const struct duel_job *job)
{
    struct message *message = message_new(arena, "duel");
    char text[PROBLEM_TEXT_MAX];

    problem_text(&job->problem, text);
    message_put_i64(message, "id", job->id);
    message_put(message, "secret", "%016llx", (unsigned long long)job->secret);
    message_put_i64(message, "cases_per_family", job->cases_per_family);
    message_put(message, "cap_ms", "%.17g", job->cap_ms);
    message_put(message, "problem", "%s", text);
    for (int i = 0; i < 2; i++) {
        const struct duel_side *side = &job->sides[i];
        char key[HASH_HEX + 1];

        if (*side->rival != '\0') {
            message_put(message, "side", "rival %s", side->rival);
            continue;
        }
        hash_to_hex(&side->image.code_key, key);
        message_put(message, "side", "image %s", key);
        field_put_image(arena, message, i, &side->image);
    }
    return message;
}

static bool get_side(struct arena *arena, const struct message *message, int index,
                     const char *line, struct duel_side *side, struct err *err)
{
    char *rest = arena_dup(arena, line);
    const char *kind = word_next(&rest);

    side->rival = "";
    if (rest == NULL || *rest == '\0' || kind == NULL) {
        return field_malformed(message, "side", line, err);
    }
    if (strcmp(kind, "rival") == 0) {
        side->rival = rest;
        return true;
    }
    return strcmp(kind, "image") == 0 ? field_image(arena, message, index, rest, &side->image, err)
                                      : field_malformed(message, "side", line, err);
}

bool duel_decode(struct arena *arena, const struct message *message, struct duel_job *job,
                 struct err *err)
{
    const char *line;
    size_t at = 0;
    int count = 0;

    memset(job, 0, sizeof *job);
    if (!field_verb(message, "duel", err) || !message_get_i64(message, "id", &job->id, err) ||
        !field_secret(message, &job->secret, err) ||
        !message_get_i64(message, "cases_per_family", &job->cases_per_family, err) ||
        !field_ms(message, "cap_ms", &job->cap_ms, err) ||
        !problem_parse(field_text(message, "problem"), &job->problem, err)) {
        return false;
    }
    for (; (line = message_each(message, "side", &at)) != NULL; count++) {
        if (count == 2) {
            return field_too_many(message, "side", err);
        }
        if (!get_side(arena, message, count, line, &job->sides[count], err)) {
            return false;
        }
    }
    return (count == 2 && job->cap_ms > 0) ||
           err_set(err, ERR_SYSTEM, "message 'duel' lacks a side, or a time to spend");
}

struct message *dueled_encode(struct arena *arena, const struct duel_result *result)
{
    struct message *message = message_new(arena, "dueled");

    message_put_i64(message, "id", result->id);
    for (int i = 0; i < 2; i++) {
        message_put(message, "side", "%s %s %s", verdict_names[result->sides[i].verdict],
                    text_of_f64(arena, result->sides[i].error),
                    text_of_f64(arena, result->sides[i].allowed));
        message_put_line(message, "reason", result->sides[i].reason);
        message_put_line(message, "name", result->sides[i].name);
    }
    message_put(message, "ticks", "%.17g %.17g", result->span.tick_us, result->graph.tick_us);
    message_put_i64(message, "modelled", result->modelled);
    message_put(message, "load", "%s %s %s %llu", text_of_f64(arena, result->sm_clock_mhz),
                text_of_f64(arena, result->power_w), text_of_f64(arena, result->temperature_c),
                (unsigned long long)result->throttle_reasons);
    message_put(message, "device_ms", "%.17g", result->device_ms);
    message_body(message, "span", result->span.blocks,
                 (size_t)result->span.count * sizeof(struct abba));
    message_body(message, "graph", result->graph.blocks,
                 (size_t)result->graph.count * sizeof(struct abba));
    return message;
}

static bool get_blocks(struct arena *arena, const struct message *message, const char *name,
                       struct abba **blocks, int *count, struct err *err)
{
    size_t size;
    const char *data = message_get_body(message, name, &size);

    if (data == NULL || size % sizeof(struct abba) != 0 ||
        size / sizeof(struct abba) > DUEL_BLOCKS_MAX) {
        return err_set(err, ERR_SYSTEM, "message 'dueled': bad blocks '%s'", name);
    }
    *blocks = arena_copy(arena, data, size);
    *count = (int)(size / sizeof(struct abba));
    for (int i = 0; i < 4 * *count; i++) {
        double us = ((const double *)*blocks)[i];

        if (!isfinite(us) || us <= 0) {
            return err_set(err, ERR_SYSTEM, "message 'dueled': impossible time in '%s'", name);
        }
    }
    return true;
}

static bool get_dueled_side(struct arena *arena, const struct message *message, const char *line,
                            int index, struct duel_result *result, struct err *err)
{
    char *rest = arena_dup(arena, line);
    const char *verdict = word_next(&rest);

    if (verdict == NULL || !verdict_parse(verdict, &result->sides[index].verdict) ||
        !word_f64_or_none(&rest, &result->sides[index].error) ||
        !word_f64_or_none(&rest, &result->sides[index].allowed) || rest != NULL) {
        return field_malformed(message, "side", line, err);
    }
    return true;
}

bool dueled_decode(struct arena *arena, const struct message *message, struct duel_result *result,
                   struct err *err)
{
    size_t sides = 0, reasons = 0, names = 0;
    char *ticks, *load;
    int64_t throttle;

    memset(result, 0, sizeof *result);
    if (!field_verb(message, "dueled", err) || !message_get_i64(message, "id", &result->id, err) ||
        !field_bool(message, "modelled", &result->modelled, err) ||
        !field_ms(message, "device_ms", &result->device_ms, err)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        const char *side = message_each(message, "side", &sides);
        const char *reason = message_each(message, "reason", &reasons);
        const char *name = message_each(message, "name", &names);

        if (side == NULL || reason == NULL || name == NULL) {
            return err_set(err, ERR_SYSTEM, "message 'dueled' tells of fewer than two");
        }
        if (!get_dueled_side(arena, message, side, i, result, err)) {
            return false;
        }
        result->sides[i].reason = arena_dup(arena, reason);
        result->sides[i].name = arena_dup(arena, name);
    }
    ticks = arena_dup(arena, field_text(message, "ticks"));
    if (!word_f64(&ticks, &result->span.tick_us) || !word_f64(&ticks, &result->graph.tick_us) ||
        ticks != NULL || !(result->span.tick_us >= 0) || !(result->graph.tick_us >= 0)) {
        return field_malformed(message, "ticks", field_text(message, "ticks"), err);
    }
    load = arena_dup(arena, field_text(message, "load"));
    if (!word_f64_or_none(&load, &result->sm_clock_mhz) ||
        !word_f64_or_none(&load, &result->power_w) ||
        !word_f64_or_none(&load, &result->temperature_c) || !word_i64(&load, &throttle) ||
        load != NULL || throttle < 0) {
        return field_malformed(message, "load", field_text(message, "load"), err);
    }
    result->throttle_reasons = (uint64_t)throttle;
    return get_blocks(arena, message, "span", &result->span.blocks, &result->span.count, err) &&
           get_blocks(arena, message, "graph", &result->graph.blocks, &result->graph.count, err);
}

/* ---- PROBE ---- */

bool message_is_probe(const struct message *message)
{
    return strcmp(message_verb(message), "probe") == 0;
}

struct message *probe_encode(struct arena *arena, const struct probe_job *job)
{
    struct message *message = message_new(arena, "probe");
    char key[HASH_HEX + 1];

    hash_to_hex(&job->image.code_key, key);
    message_put_i64(message, "id", job->id);
    message_put(message, "image", "%s", key);
    message_put_i64(message, "rounds", job->rounds);
    message_put_i64(message, "rounds_max", job->rounds_max);
    field_put_image(arena, message, 0, &job->image);
    return message;
}

static bool get_rounds(const struct message *message, const char *key, int64_t *rounds,
                       struct err *err)
{
    return message_get_i64(message, key, rounds, err) &&
           ((*rounds >= 4 && *rounds <= PROBE_ROUNDS_MAX && *rounds % 4 == 0) ||
            err_set(err, ERR_SYSTEM, "message 'probe': %s %lld is no multiple of 4 up to %d", key,
                    (long long)*rounds, PROBE_ROUNDS_MAX));
}

bool probe_decode(struct arena *arena, const struct message *message, struct probe_job *job,
                  struct err *err)
{
    memset(job, 0, sizeof *job);
    return field_verb(message, "probe", err) && message_get_i64(message, "id", &job->id, err) &&
           get_rounds(message, "rounds", &job->rounds, err) &&
           get_rounds(message, "rounds_max", &job->rounds_max, err) &&
           field_image(arena, message, 0, field_text(message, "image"), &job->image, err);
}

struct message *probed_encode(struct arena *arena, const struct probe_result *result)
{
    struct message *message = message_new(arena, "probed");

    message_put_i64(message, "id", result->id);
    message_put(message, "verdict", "%s", verdict_names[result->verdict]);
    message_put_line(message, "reason", result->reason);
    for (int i = 0; i < 2; i++) {
        message_put(message, "time", "%lld %s", (long long)result->rounds[i],
                    text_of_f64(arena, result->us[i]));
    }
    message_put(message, "graph_us", "%s", text_of_f64(arena, result->graph_us));
    message_put(message, "clock_mhz", "%s", text_of_f64(arena, result->clock_mhz));
    message_put_i64(message, "modelled", result->modelled);
    return message;
}

bool probed_decode(struct arena *arena, const struct message *message, struct probe_result *result,
                   struct err *err)
{
    size_t at = 0;

    memset(result, 0, sizeof *result);
    if (!field_verb(message, "probed", err) || !message_get_i64(message, "id", &result->id, err) ||
        !field_bool(message, "modelled", &result->modelled, err)) {
        return false;
    }
    if (!verdict_parse(field_text(message, "verdict"), &result->verdict)) {
        return field_malformed(message, "verdict", field_text(message, "verdict"), err);
    }
    result->reason = arena_dup(arena, field_text(message, "reason"));
    for (int i = 0; i < 2; i++) {
        const char *line = message_each(message, "time", &at);
        char *rest = line != NULL ? arena_dup(arena, line) : NULL;

        if (!word_i64(&rest, &result->rounds[i]) || !word_f64_or_none(&rest, &result->us[i]) ||
            rest != NULL || result->us[i] < 0) {
            return field_malformed(message, "time", line != NULL ? line : "", err);
        }
    }
    return (parse_f64_or_nan(field_text(message, "graph_us"), &result->graph_us) ||
            field_malformed(message, "graph_us", field_text(message, "graph_us"), err)) &&
           (parse_f64_or_nan(field_text(message, "clock_mhz"), &result->clock_mhz) ||
            field_malformed(message, "clock_mhz", field_text(message, "clock_mhz"), err));
}
