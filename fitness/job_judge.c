#include "fitness/job.h"

#include <math.h>
#include <string.h>

#include "fitness/job_fields.h"

static const char *const effort_names[EFFORT_COUNT] = {"correct", "measure", "promote"};
static const char *const use_names[USE_COUNT] = {"whole", "once", "time", "gate", "bar", "tell"};

/* ---- evidence ---- */

struct case_result case_blank(int problem, enum rung rung)
{
    return (struct case_result){.problem = problem,
                                .rung = rung,
                                .family = "",
                                .verdict = VERDICT_PASS,
                                .error_max = NAN,
                                .error_allowed = NAN,
                                .frobenius = NAN,
                                .frobenius_allowed = NAN,
                                .worst = {-1, -1, -1, -1},
                                .expected = NAN,
                                .got = NAN,
                                .reason = ""};
}

static void tally_add(struct rung_tally *tally, const struct case_result *row)
{
    double before = tally->error_max / tally->error_allowed;
    double now = row->error_max / row->error_allowed;

    if (tally->total == 0) {
        tally->error_max = tally->error_allowed = NAN;
        before = NAN;
    }
    tally->total++;
    tally->passed += row->verdict == VERDICT_PASS;
    if (now > before || (isnan(before) && !isnan(now))) {
        tally->error_max = row->error_max;
        tally->error_allowed = row->error_allowed;
    }
}

void case_record(struct judge_result *result, const struct case_result *row)
{
    if (row->problem >= 0) {
        tally_add(&result->tallies[row->problem][row->rung], row);
    }
    if (result->case_count < JOB_CASES_MAX - 1 ||
        (row->verdict != VERDICT_PASS && result->case_count < JOB_CASES_MAX)) {
        result->cases[result->case_count++] = *row;
    }
}

/* ---- JUDGE ---- */

struct message *judge_encode(struct arena *arena, const struct judge_job *job)
{
    struct message *message = message_new(arena, "judge");

    message_put_i64(message, "id", job->id);
    message_put_line(message, "genes", job->genes);
    message_put(message, "secret", "%016llx", (unsigned long long)job->secret);
    message_put(message, "effort", "%s", effort_names[job->effort]);
    message_put_i64(message, "cases_per_family", job->cases_per_family);
    message_put_i64(message, "want_samples", job->want_samples);
    message_put_i64(message, "counters_later", job->counters_later);
    for (int i = 0; i < job->problem_count; i++) {
        char text[PROBLEM_TEXT_MAX];

        problem_text(&job->problems[i].problem, text);
        message_put(message, "problem", "%d %.17g %.17g %s %s", job->problems[i].image,
                    job->problems[i].bound_us, job->problems[i].at_mhz,
                    use_names[job->problems[i].use], text);
    }
    for (int i = 0; i < job->image_count; i++) {
        message_put_hash(message, "image", &job->images[i].code_key);
        field_put_image(arena, message, i, &job->images[i]);
    }
    return message;
}

static bool get_problem(struct arena *arena, const struct message *message, const char *line,
                        struct judge_job *job, struct err *err)
{
    char *rest = arena_dup(arena, line);
    const char *word;
    enum use use = USE_WHOLE;
    int64_t image;
    int at = job->problem_count, timed = 0;

    if (at == JOB_PROBLEMS_MAX) {
        return field_too_many(message, "problem", err);
    }
    if (!word_i64(&rest, &image) || !word_f64(&rest, &job->problems[at].bound_us) ||
        job->problems[at].bound_us < 0 || !word_f64(&rest, &job->problems[at].at_mhz) ||
        job->problems[at].at_mhz < 0 || rest == NULL || image < 0 ||
        (image > 0 && image >= job->image_count)) {
        return field_malformed(message, "problem", line, err);
    }
    word = word_next(&rest);
    while (use < USE_COUNT && word != NULL && strcmp(word, use_names[use]) != 0) {
        use++;
    }
    if (word == NULL || use == USE_COUNT || rest == NULL) {
        return field_malformed(message, "problem", line, err);
    }
    job->problems[at].image = (int)image;
    job->problems[at].use = use;
    job->problem_count++;
    for (int i = 0; i < job->problem_count; i++) {
        timed += use_is_timed(job->problems[i].use);
    }
    if (timed > JOB_TIMED_MAX) {
        return field_too_many(message, "problem", err);
    }
    return problem_parse(rest, &job->problems[at].problem, err);
}

bool judge_decode(struct arena *arena, const struct message *message, struct judge_job *job,
                  struct err *err)
{
    const char *line;
    int effort;
    size_t at;

    memset(job, 0, sizeof *job);
    if (!field_verb(message, "judge", err) || !message_get_i64(message, "id", &job->id, err) ||
        !field_secret(message, &job->secret, err) ||
        !field_name(message, "effort", effort_names, EFFORT_COUNT, &effort, err) ||
        !message_get_i64(message, "cases_per_family", &job->cases_per_family, err) ||
        !field_bool(message, "want_samples", &job->want_samples, err) ||
        !field_bool(message, "counters_later", &job->counters_later, err)) {
        return false;
    }
    job->effort = (enum effort)effort;
    job->genes = arena_dup(arena, field_text(message, "genes"));
    for (at = 0; (line = message_each(message, "image", &at)) != NULL;) {
        if (job->image_count == JOB_IMAGES_MAX) {
            return field_too_many(message, "image", err);
        }
        if (!field_image(arena, message, job->image_count, line, &job->images[job->image_count],
                         err)) {
            return false;
        }
        job->image_count++;
    }
    for (at = 0; (line = message_each(message, "problem", &at)) != NULL;) {
        if (!get_problem(arena, message, line, job, err)) {
            return false;
        }
    }
    return job->problem_count > 0 || err_set(err, ERR_SYSTEM, "message 'judge' has no problem");
}

/* ---- RESULT ---- */

static void put_case(struct arena *arena, struct message *message, const struct case_result *one)
{
    message_put(message, "case",
                "%d %s %s %016llx %s %s %s %s %s %lld %lld %lld %lld %lld %lld %s %s", one->problem,
                rung_names[one->rung], *one->family ? one->family : "-",
                (unsigned long long)one->seed, verdict_names[one->verdict],
                text_of_f64(arena, one->error_max), text_of_f64(arena, one->error_allowed),
                text_of_f64(arena, one->frobenius), text_of_f64(arena, one->frobenius_allowed),
                (long long)one->rows_checked, (long long)one->rows_total, (long long)one->worst[0],
                (long long)one->worst[1], (long long)one->worst[2], (long long)one->worst[3],
                text_of_f64(arena, one->expected), text_of_f64(arena, one->got));
    message_put_line(message, "case_reason", one->reason);
}

static bool parse_case(struct arena *arena, const char *line, const char *reason,
                       struct case_result *one)
{
    char *rest = arena_dup(arena, line);
    const char *word;
    int64_t problem;

    if (!word_i64(&rest, &problem) || problem < -1 || problem >= JOB_PROBLEMS_MAX) {
        return false;
    }
    one->problem = (int)problem;
    word = word_next(&rest);
    one->family = word_next(&rest);
    if (word == NULL || !rung_parse(word, &one->rung) || one->family == NULL) {
        return false;
    }
    word = word_next(&rest);
    if (word == NULL || !parse_hex64(word, &one->seed)) {
        return false;
    }
    one->family = strcmp(one->family, "-") == 0 ? "" : one->family;
    word = word_next(&rest);
    if (word == NULL || !verdict_parse(word, &one->verdict) ||
        !word_f64_or_none(&rest, &one->error_max) ||
        !word_f64_or_none(&rest, &one->error_allowed) ||
        !word_f64_or_none(&rest, &one->frobenius) ||
        !word_f64_or_none(&rest, &one->frobenius_allowed) || !word_i64(&rest, &one->rows_checked) ||
        !word_i64(&rest, &one->rows_total)) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        if (!word_i64(&rest, &one->worst[i])) {
            return false;
        }
    }
    one->shape = "";
    one->reason = arena_dup(arena, reason);
    return word_f64_or_none(&rest, &one->expected) && word_f64_or_none(&rest, &one->got) &&
           rest == NULL;
}

static void put_tallies(struct arena *arena, struct message *message,
                        const struct judge_result *result)
{
    for (int problem = 0; problem < JOB_PROBLEMS_MAX; problem++) {
        for (int rung = 0; rung < RUNG_COUNT; rung++) {
            const struct rung_tally *tally = &result->tallies[problem][rung];

            if (tally->total > 0) {
                message_put(message, "tally", "%d %s %lld %lld %s %s", problem, rung_names[rung],
                            (long long)tally->passed, (long long)tally->total,
                            text_of_f64(arena, tally->error_max),
                            text_of_f64(arena, tally->error_allowed));
            }
        }
    }
}

static bool parse_tally(struct arena *arena, const char *line, struct judge_result *result)
{
    char *rest = arena_dup(arena, line);
    struct rung_tally *tally;
    const char *word;
    int64_t problem;
    enum rung rung;

    if (!word_i64(&rest, &problem) || problem < 0 || problem >= JOB_PROBLEMS_MAX) {
        return false;
    }
    word = word_next(&rest);
    if (word == NULL || !rung_parse(word, &rung)) {
        return false;
    }
    tally = &result->tallies[problem][rung];
    return tally->total == 0 && word_i64(&rest, &tally->passed) && word_i64(&rest, &tally->total) &&
           tally->passed >= 0 && tally->passed <= tally->total && tally->total > 0 &&
           word_f64_or_none(&rest, &tally->error_max) &&
           word_f64_or_none(&rest, &tally->error_allowed) && rest == NULL;
}

/* Samples travel as little-endian doubles: the byte order of every machine CUDA runs on. */
static void put_timing(struct arena *arena, struct message *message, int index,
                       const struct timing *timing)
{
    message_put(message, "timing", "%d %d %.17g %.17g", timing->problem, timing->quick,
                timing->tick_us, timing->at_mhz);
    message_body(message, arena_printf(arena, "span.%d", index), timing->span_us,
                 (size_t)timing->span_count * sizeof(double));
    if (timing->mhz != NULL) {
        message_body(message, arena_printf(arena, "mhz.%d", index), timing->mhz,
                     (size_t)timing->span_count * sizeof(double));
    }
    message_body(message, arena_printf(arena, "graph.%d", index), timing->graph_us,
                 (size_t)timing->graph_count * sizeof(double));
}

static bool get_samples(struct arena *arena, const struct message *message, const char *clock,
                        int index, double **samples, int *count, struct err *err)
{
    const char *name = arena_printf(arena, "%s.%d", clock, index);
    size_t size;
    const char *data = message_get_body(message, name, &size);

    if (data == NULL || size % sizeof(double) != 0 || size / sizeof(double) > JOB_SAMPLES_MAX) {
        return err_set(err, ERR_SYSTEM, "message 'result': bad samples '%s'", name);
    }
    *samples = arena_copy(arena, data, size);
    *count = (int)(size / sizeof(double));
    for (int i = 0; i < *count; i++) {
        if (!isfinite((*samples)[i]) || (*samples)[i] <= 0) {
            return err_set(err, ERR_SYSTEM, "message 'result': impossible sample in '%s'", name);
        }
    }
    return true;
}

/* One for each span, or none at all. */
static bool get_clocks(struct arena *arena, const struct message *message, int index,
                       struct timing *timing, struct err *err)
{
    const char *name = arena_printf(arena, "mhz.%d", index);
    size_t size;
    const char *data = message_get_body(message, name, &size);

    timing->mhz = NULL;
    if (data == NULL) {
        return true;
    }
    if (size != (size_t)timing->span_count * sizeof(double)) {
        return err_set(err, ERR_SYSTEM, "message 'result': bad samples '%s'", name);
    }
    timing->mhz = arena_copy(arena, data, size);
    for (int i = 0; i < timing->span_count; i++) {
        if (!isfinite(timing->mhz[i]) || timing->mhz[i] < 0) {
            return err_set(err, ERR_SYSTEM, "message 'result': impossible sample in '%s'", name);
        }
    }
    return true;
}

static bool get_timing(struct arena *arena, const struct message *message, const char *line,
                       struct judge_result *result, struct err *err)
{
    struct timing *timing = &result->timings[result->timing_count];
    char *rest = arena_dup(arena, line);
    int64_t problem, quick;

    if (result->timing_count == JOB_TIMED_MAX) {
        return field_too_many(message, "timing", err);
    }
    if (!word_i64(&rest, &problem) || !word_i64(&rest, &quick) ||
        !word_f64(&rest, &timing->tick_us) || timing->tick_us < 0 ||
        !word_f64(&rest, &timing->at_mhz) || timing->at_mhz < 0 || rest != NULL || problem < 0 ||
        problem >= JOB_TIMED_MAX || quick < 0 || quick > 1) {
        return field_malformed(message, "timing", line, err);
    }
    for (int i = 0; i < result->timing_count; i++) {
        if (result->timings[i].problem == problem) {
            return field_malformed(message, "timing", line, err); /* said twice */
        }
    }
    timing->problem = (int)problem;
    timing->quick = quick != 0;
    if (!get_samples(arena, message, "span", result->timing_count, &timing->span_us,
                     &timing->span_count, err) ||
        !get_clocks(arena, message, result->timing_count, timing, err) ||
        !get_samples(arena, message, "graph", result->timing_count, &timing->graph_us,
                     &timing->graph_count, err)) {
        return false;
    }
    result->timing_count++;
    return true;
}

static bool parse_metric(struct arena *arena, const char *line, struct judge_result *result)
{
    char *rest = arena_dup(arena, line);
    const char *name;
    int64_t problem;
    int at = result->metric_count;

    if (!word_i64(&rest, &problem) || problem < -1 || problem >= JOB_TIMED_MAX) {
        return false;
    }
    name = word_next(&rest);
    if (name == NULL || (result->metrics[at].metric = metric_find(name)) == METRIC_COUNT ||
        !word_f64_or_none(&rest, &result->metrics[at].value)) {
        return false;
    }
    for (int i = 0; i < at; i++) {
        if (result->metrics[i].problem == problem &&
            result->metrics[i].metric == result->metrics[at].metric) {
            return false; /* said twice */
        }
    }
    result->metrics[at].problem = (int)problem;
    result->metrics[at].reason = rest != NULL ? rest : "";
    result->metric_count++;
    return true;
}

static bool parse_counted(struct arena *arena, const char *line, struct judge_result *result)
{
    char *rest = arena_dup(arena, line);
    int at = result->counted_count;
    const char *name;
    int64_t problem;

    if (!word_i64(&rest, &result->counted[at].id) || result->counted[at].id < 0 ||
        !word_i64(&rest, &problem) || problem < 0 || problem >= JOB_TIMED_MAX) {
        return false;
    }
    name = word_next(&rest);
    if (name == NULL || (result->counted[at].metric = metric_find(name)) == METRIC_COUNT ||
        !word_f64_or_none(&rest, &result->counted[at].value)) {
        return false;
    }
    result->counted[at].problem = (int)problem;
    result->counted[at].reason = rest != NULL ? rest : "";
    result->counted_count++;
    return true;
}

size_t answer_bytes(const struct problem *problem)
{
    return (size_t)problem_q_elements(problem) * sizeof(uint16_t) +
           (problem->lse ? (size_t)problem_rows(problem) * sizeof(float) : 0);
}

static void put_answer(struct arena *arena, struct message *message, int index,
                       const struct answer *answer)
{
    message_put(message, "answer", "%d %s %016llx", answer->problem, answer->family,
                (unsigned long long)answer->seed);
    message_body(message, arena_printf(arena, "answer.%d", index), answer->data, answer->bytes);
}

static bool get_answer(struct arena *arena, const struct message *message, const char *line,
                       struct judge_result *result, struct err *err)
{
    struct answer *answer = &result->answers[result->answer_count];
    char *rest = arena_dup(arena, line);
    const char *seed, *data;
    int64_t problem;

    if (result->answer_count == JOB_ANSWERS_MAX) {
        return field_too_many(message, "answer", err);
    }
    if (!word_i64(&rest, &problem) || problem < 0 || problem >= JOB_PROBLEMS_MAX) {
        return field_malformed(message, "answer", line, err);
    }
    answer->problem = (int)problem;
    answer->family = word_next(&rest);
    seed = word_next(&rest);
    data = message_get_body(message, arena_printf(arena, "answer.%d", result->answer_count),
                            &answer->bytes);
    if (seed == NULL || !parse_hex64(seed, &answer->seed) || rest != NULL || data == NULL ||
        answer->bytes > JOB_ANSWER_BYTES_MAX) {
        return field_malformed(message, "answer", line, err);
    }
    answer->data = arena_copy(arena, data, answer->bytes); /* aligned */
    result->answer_count++;
    return true;
}

struct message *result_encode(struct arena *arena, const struct judge_result *result)
{
    struct message *message = message_new(arena, "result");

    message_put_i64(message, "id", result->id);
    message_put(message, "verdict", "%s", verdict_names[result->verdict]);
    message_put_line(message, "reason", result->reason);
    message_put_i64(message, "replayed", result->replayed);
    message_put_f64(message, "device_ms", result->device_ms);
    for (int i = 0; i < result->case_count; i++) {
        put_case(arena, message, &result->cases[i]);
    }
    put_tallies(arena, message, result);
    for (int i = 0; i < result->metric_count; i++) {
        message_put_line(message, "metric",
                         arena_printf(arena, "%d %s %s %s", result->metrics[i].problem,
                                      metric_table[result->metrics[i].metric].name,
                                      text_of_f64(arena, result->metrics[i].value),
                                      result->metrics[i].reason));
    }
    for (int i = 0; i < result->counted_count; i++) {
        message_put_line(
            message, "counted",
            arena_printf(arena, "%lld %d %s %s %s", (long long)result->counted[i].id,
                         result->counted[i].problem, metric_table[result->counted[i].metric].name,
                         text_of_f64(arena, result->counted[i].value), result->counted[i].reason));
    }
    for (int i = 0; i < result->timing_count; i++) {
        put_timing(arena, message, i, &result->timings[i]);
    }
    for (int i = 0; i < result->answer_count; i++) {
        put_answer(arena, message, i, &result->answers[i]);
    }
    return message;
}

static bool get_cases(struct arena *arena, const struct message *message,
                      struct judge_result *result, struct err *err)
{
    const char *line;
    size_t at = 0, reason_at = 0;

    while ((line = message_each(message, "case", &at)) != NULL) {
        const char *reason = message_each(message, "case_reason", &reason_at);

        if (result->case_count == JOB_CASES_MAX) {
            return field_too_many(message, "case", err);
        }
        if (reason == NULL ||
            !parse_case(arena, line, reason, &result->cases[result->case_count++])) {
            return field_malformed(message, "case", line, err);
        }
    }
    return true;
}

bool result_decode(struct arena *arena, const struct message *message, struct judge_result *result,
                   struct err *err)
{
    const char *line;
    size_t at;

    memset(result, 0, sizeof *result);
    if (!field_verb(message, "result", err) || !message_get_i64(message, "id", &result->id, err) ||
        !field_verdict(message, "verdict", &result->verdict, err) ||
        !field_bool(message, "replayed", &result->replayed, err) ||
        !field_ms(message, "device_ms", &result->device_ms, err) ||
        !get_cases(arena, message, result, err)) {
        return false;
    }
    result->reason = arena_dup(arena, field_text(message, "reason"));
    for (at = 0; (line = message_each(message, "tally", &at)) != NULL;) {
        if (!parse_tally(arena, line, result)) {
            return field_malformed(message, "tally", line, err);
        }
    }
    for (at = 0; (line = message_each(message, "metric", &at)) != NULL;) {
        if (result->metric_count == JOB_METRICS_MAX) {
            return field_too_many(message, "metric", err);
        }
        if (!parse_metric(arena, line, result)) {
            return field_malformed(message, "metric", line, err);
        }
    }
    for (at = 0; (line = message_each(message, "counted", &at)) != NULL;) {
        if (result->counted_count == JOB_COUNTED_MAX) {
            return field_too_many(message, "counted", err);
        }
        if (!parse_counted(arena, line, result)) {
            return field_malformed(message, "counted", line, err);
        }
    }
    for (at = 0; (line = message_each(message, "timing", &at)) != NULL;) {
        if (!get_timing(arena, message, line, result, err)) {
            return false;
        }
    }
    for (at = 0; (line = message_each(message, "answer", &at)) != NULL;) {
        if (!get_answer(arena, message, line, result, err)) {
            return false;
        }
    }
    if (result->verdict == VERDICT_NONE) {
        return err_set(err, ERR_SYSTEM, "message 'result' has no verdict");
    }
    return true;
}
