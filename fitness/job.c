#include "fitness/job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const verdict_names[VERDICT_COUNT] = {
    [VERDICT_NONE] = "none",           [VERDICT_PASS] = "pass",
    [VERDICT_INVALID] = "invalid",     [VERDICT_NO_COMPILE] = "no_compile",
    [VERDICT_NO_LAUNCH] = "no_launch", [VERDICT_WRONG] = "wrong",
    [VERDICT_RACY] = "racy",           [VERDICT_OUT_OF_BOUNDS] = "out_of_bounds",
    [VERDICT_UNSTABLE] = "unstable",   [VERDICT_UNSUPPORTED] = "unsupported",
    [VERDICT_TIMEOUT] = "timeout",     [VERDICT_CRASH] = "crash",
};

const char *const rung_names[RUNG_COUNT] = {
    [RUNG_LAUNCH] = "launch", [RUNG_SANITY] = "sanity",   [RUNG_CORRECT] = "correct",
    [RUNG_STABLE] = "stable", [RUNG_PROMOTE] = "promote", [RUNG_RACE] = "race",
    [RUNG_QUICK] = "quick",   [RUNG_TIMED] = "timed",
};

static const char *const role_names[ROLE_COUNT] = {"compile", "judge"};
static const char *const effort_names[EFFORT_COUNT] = {"correct", "measure", "promote"};
static const char *const use_names[USE_COUNT] = {"whole", "once", "time", "gate", "bar",
                                                  "tell"};

/* The index of `text` among `count` names, or -1. */
static int name_find(const char *const *names, int count, const char *text)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

bool verdict_parse(const char *text, enum verdict *verdict)
{
    int at = name_find(verdict_names, VERDICT_COUNT, text);

    if (at < 0) {
        return false;
    }
    *verdict = (enum verdict)at;
    return true;
}

bool rung_parse(const char *text, enum rung *rung)
{
    int at = name_find(rung_names, RUNG_COUNT, text);

    if (at < 0) {
        return false;
    }
    *rung = (enum rung)at;
    return true;
}

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

/* ---- reading, with the rest of the message's checks ---- */

static bool is_verb(const struct message *message, const char *verb, struct err *err)
{
    return strcmp(message_verb(message), verb) == 0 ||
           err_set(err, ERR_SYSTEM, "expected message '%s', got '%.80s'", verb,
                   message_verb(message));
}

static const char *get_text(const struct message *message, const char *key)
{
    const char *text = message_get(message, key);

    return text != NULL ? text : "";
}

static bool get_name(const struct message *message, const char *key, const char *const *names,
                     int count, int *value, struct err *err)
{
    const char *text = get_text(message, key);

    *value = name_find(names, count, text);
    return *value >= 0 || err_set(err, ERR_SYSTEM, "message '%s': unknown %s '%.80s'",
                                  message_verb(message), key, text);
}

static bool get_verdict(const struct message *message, const char *key, enum verdict *verdict,
                        struct err *err)
{
    int value;

    if (!get_name(message, key, verdict_names, VERDICT_COUNT, &value, err)) {
        return false;
    }
    *verdict = (enum verdict)value;
    return true;
}

static bool get_count(const struct message *message, const char *key, int64_t low, int64_t high,
                      int *value, struct err *err)
{
    int64_t number = 0;

    if (!message_get_i64(message, key, &number, err)) {
        return false;
    }
    if (number < low || number > high) {
        return err_set(err, ERR_SYSTEM, "message '%s': %s %lld is not in %lld to %lld",
                       message_verb(message), key, (long long)number, (long long)low,
                       (long long)high);
    }
    *value = (int)number;
    return true;
}

static bool get_bool(const struct message *message, const char *key, bool *value, struct err *err)
{
    int number = 0;

    if (!get_count(message, key, 0, 1, &number, err)) {
        return false;
    }
    *value = number == 1;
    return true;
}

static bool get_ms(const struct message *message, const char *key, double *ms, struct err *err)
{
    return message_get_f64(message, key, ms, err) &&
           (*ms >= 0 ||
            err_set(err, ERR_SYSTEM, "message '%s': negative %s", message_verb(message), key));
}

static bool too_many(const struct message *message, const char *what, struct err *err)
{
    return err_set(err, ERR_SYSTEM, "message '%s': too many of '%s'", message_verb(message), what);
}

static bool malformed(const struct message *message, const char *key, const char *line,
                      struct err *err)
{
    return err_set(err, ERR_SYSTEM, "message '%s': malformed '%s %.200s'", message_verb(message),
                   key, line);
}

/* A number that may be absent: "nan" on the wire. */
static bool parse_f64_or_nan(const char *text, double *value)
{
    if (strcmp(text, "nan") == 0) {
        *value = NAN;
        return true;
    }
    return str_to_f64(text, value);
}

static const char *f64_or_nan(struct arena *arena, double value)
{
    return isfinite(value) ? arena_printf(arena, "%.17g", value) : "nan";
}

/* Cuts the next blank-separated word off *rest. */
static const char *next_word(char **rest)
{
    char *word = *rest, *blank;

    if (word == NULL || *word == '\0') {
        return NULL;
    }
    blank = strchr(word, ' ');
    if (blank != NULL) {
        *blank = '\0';
    }
    *rest = blank != NULL ? blank + 1 : NULL;
    return word;
}

static bool next_i64(char **rest, int64_t *value)
{
    const char *word = next_word(rest);

    return word != NULL && str_to_i64(word, value);
}

static bool next_f64(char **rest, double *value)
{
    const char *word = next_word(rest);

    return word != NULL && str_to_f64(word, value);
}

static bool next_f64_or_nan(char **rest, double *value)
{
    const char *word = next_word(rest);

    return word != NULL && parse_f64_or_nan(word, value);
}

/* Sixteen lower-case hexadecimal digits. */
static bool parse_hex64(const char *text, uint64_t *value)
{
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) {
        return false;
    }
    *value = strtoull(text, NULL, 16);
    return true;
}

/* ---- HELLO ---- */

struct message *hello_encode(struct arena *arena, const struct hello *hello)
{
    struct message *message = message_new(arena, "hello");

    message_put_i64(message, "protocol", hello->protocol);
    message_put(message, "role", "%s", role_names[hello->role]);
    message_put_line(message, "backend", hello->backend);
    message_put_line(message, "version", hello->version);
    message_put_line(message, "device", hello->device);
    message_put_line(message, "device_id", hello->device_id);
    message_put_i64(message, "device_arch", hello->device_arch);
    message_put_i64(message, "device_smem_max", hello->device_smem_max);
    message_put_i64(message, "device_sms", hello->device_sms);
    message_put_i64(message, "deterministic", hello->deterministic);
    message_put_line(message, "sandbox", hello->sandbox != NULL ? hello->sandbox : "");
    return message;
}

bool hello_decode(struct arena *arena, const struct message *message, struct hello *hello,
                  struct err *err)
{
    int role;

    memset(hello, 0, sizeof *hello);
    if (!is_verb(message, "hello", err) ||
        !message_get_i64(message, "protocol", &hello->protocol, err)) {
        return false;
    }
    if (hello->protocol != JOB_PROTOCOL) {
        return err_set(err, ERR_SYSTEM, "the worker speaks protocol %lld, this evo speaks %d",
                       (long long)hello->protocol, JOB_PROTOCOL);
    }
    if (!get_name(message, "role", role_names, ROLE_COUNT, &role, err) ||
        !message_get_i64(message, "device_arch", &hello->device_arch, err) ||
        !message_get_i64(message, "device_smem_max", &hello->device_smem_max, err) ||
        !message_get_i64(message, "device_sms", &hello->device_sms, err) ||
        !get_bool(message, "deterministic", &hello->deterministic, err)) {
        return false;
    }
    hello->role = (enum role)role;
    hello->backend = arena_dup(arena, get_text(message, "backend"));
    hello->version = arena_dup(arena, get_text(message, "version"));
    hello->device = arena_dup(arena, get_text(message, "device"));
    hello->device_id = arena_dup(arena, get_text(message, "device_id"));
    hello->sandbox = arena_dup(arena, get_text(message, "sandbox"));
    return true;
}

/* ---- COMPILE and BUILT ---- */

struct message *compile_encode(struct arena *arena, const struct compile_job *job)
{
    struct message *message = message_new(arena, "compile");

    message_put_i64(message, "id", job->id);
    message_put_line(message, "name", job->name);
    message_put_line(message, "arch", job->arch);
    message_put_i64(message, "syntax_first", job->syntax_first);
    for (int i = 0; i < job->option_count; i++) {
        message_put_line(message, "option", job->options[i]);
    }
    for (int i = 0; i < job->entry_count; i++) {
        message_put_line(message, "entry", job->entries[i]);
    }
    message_body(message, "source", job->source, job->source_bytes);
    return message;
}

bool compile_decode(struct arena *arena, const struct message *message, struct compile_job *job,
                    struct err *err)
{
    const char *line;
    size_t at;

    memset(job, 0, sizeof *job);
    if (!is_verb(message, "compile", err) || !message_get_i64(message, "id", &job->id, err) ||
        !get_bool(message, "syntax_first", &job->syntax_first, err)) {
        return false;
    }
    job->name = arena_dup(arena, get_text(message, "name"));
    job->arch = arena_dup(arena, get_text(message, "arch"));
    for (at = 0; (line = message_each(message, "option", &at)) != NULL;) {
        if (job->option_count == JOB_OPTIONS_MAX) {
            return too_many(message, "option", err);
        }
        job->options[job->option_count++] = arena_dup(arena, line);
    }
    for (at = 0; (line = message_each(message, "entry", &at)) != NULL;) {
        if (job->entry_count == JOB_ENTRIES_MAX) {
            return too_many(message, "entry", err);
        }
        job->entries[job->entry_count++] = arena_dup(arena, line);
    }
    job->source = message_get_body(message, "source", &job->source_bytes);
    return job->source != NULL || err_set(err, ERR_SYSTEM, "message 'compile' has no source");
}

static void put_entry(struct message *message, const struct entry_facts *entry)
{
    message_put(message, "entry", "%s %lld %lld %lld %lld %lld %lld %lld %lld %lld", entry->name,
                (long long)entry->registers, (long long)entry->static_smem_bytes,
                (long long)entry->stack_bytes, (long long)entry->spill_store_bytes,
                (long long)entry->spill_load_bytes, (long long)entry->barriers,
                (long long)entry->param_bytes, (long long)entry->code_bytes,
                (long long)entry->max_threads);
}

static bool parse_entry(struct arena *arena, const char *line, struct entry_facts *entry)
{
    char *rest = arena_dup(arena, line);

    entry->name = next_word(&rest);
    return entry->name != NULL && next_i64(&rest, &entry->registers) &&
           next_i64(&rest, &entry->static_smem_bytes) && next_i64(&rest, &entry->stack_bytes) &&
           next_i64(&rest, &entry->spill_store_bytes) &&
           next_i64(&rest, &entry->spill_load_bytes) && next_i64(&rest, &entry->barriers) &&
           next_i64(&rest, &entry->param_bytes) && next_i64(&rest, &entry->code_bytes) &&
           next_i64(&rest, &entry->max_threads) && rest == NULL;
}

struct message *built_encode(struct arena *arena, const struct built *built)
{
    struct message *message = message_new(arena, "built");

    message_put_i64(message, "id", built->id);
    message_put(message, "verdict", "%s", verdict_names[built->verdict]);
    message_put_line(message, "reason", built->reason);
    message_put_line(message, "warnings", built->warnings);
    message_put_line(message, "slow", built->slow);
    message_put_hash(message, "code_key", &built->code_key);
    message_put_i64(message, "cached", built->cached);
    message_put_f64(message, "compile_ms", built->compile_ms);
    for (int i = 0; i < built->entry_count; i++) {
        put_entry(message, &built->entries[i]);
    }
    message_body(message, "log", built->log, strlen(built->log));
    if (built->cubin != NULL) {
        message_body(message, "ptx", built->ptx, built->ptx_bytes);
        message_body(message, "cubin", built->cubin, built->cubin_bytes);
    }
    return message;
}

static bool is_compilers(enum verdict verdict)
{
    return verdict == VERDICT_NONE || verdict == VERDICT_NO_COMPILE || verdict == VERDICT_INVALID ||
           verdict == VERDICT_TIMEOUT || verdict == VERDICT_CRASH;
}

bool built_decode(struct arena *arena, const struct message *message, struct built *built,
                  struct err *err)
{
    const char *line;
    size_t at, size;

    memset(built, 0, sizeof *built);
    if (!is_verb(message, "built", err) || !message_get_i64(message, "id", &built->id, err) ||
        !get_verdict(message, "verdict", &built->verdict, err) ||
        !message_get_hash(message, "code_key", &built->code_key, err) ||
        !get_bool(message, "cached", &built->cached, err) ||
        !get_ms(message, "compile_ms", &built->compile_ms, err)) {
        return false;
    }
    if (!is_compilers(built->verdict)) {
        return err_set(err, ERR_SYSTEM, "message 'built': a compiler cannot say '%s'",
                       verdict_names[built->verdict]);
    }
    built->reason = arena_dup(arena, get_text(message, "reason"));
    built->warnings = arena_dup(arena, get_text(message, "warnings"));
    built->slow = arena_dup(arena, get_text(message, "slow"));
    for (at = 0; (line = message_each(message, "entry", &at)) != NULL;) {
        if (built->entry_count == JOB_ENTRIES_MAX) {
            return too_many(message, "entry", err);
        }
        if (!parse_entry(arena, line, &built->entries[built->entry_count++])) {
            return malformed(message, "entry", line, err);
        }
    }
    built->log = message_get_body(message, "log", &size);
    built->log = built->log != NULL ? built->log : "";
    built->ptx = message_get_body(message, "ptx", &built->ptx_bytes);
    built->cubin = message_get_body(message, "cubin", &built->cubin_bytes);
    if (built->ptx_bytes > JOB_CODE_BYTES_MAX || built->cubin_bytes > JOB_CODE_BYTES_MAX) {
        return err_set(err, ERR_SYSTEM, "message 'built': more than %d bytes of code",
                       JOB_CODE_BYTES_MAX);
    }
    return built->verdict != VERDICT_NONE ||
           (built->ptx != NULL && built->cubin != NULL && !hash_is_zero(&built->code_key)) ||
           err_set(err, ERR_SYSTEM, "message 'built' has no code, or no key of it");
}

/* ---- JUDGE ---- */

/* A program as a message of its own, carried as a body. */
static void put_program(struct arena *arena, struct message *message, const char *name,
                        const struct program *program)
{
    struct message *inner = message_new(arena, "program");
    struct buf wire = {0};

    program_put(inner, program);
    message_encode(inner, &wire);
    message_body(message, name, wire.data + 4, wire.length - 4);
    buf_free(&wire);
}

/* All of an image but its key, which stands in a field. */
static void put_image(struct arena *arena, struct message *message, int index,
                      const struct judge_image *image)
{
    put_program(arena, message, arena_printf(arena, "program.%d", index), &image->program);
    message_body(message, arena_printf(arena, "cubin.%d", index), image->cubin, image->cubin_bytes);
    message_body(message, arena_printf(arena, "ptx.%d", index), image->ptx, image->ptx_bytes);
}

struct message *judge_encode(struct arena *arena, const struct judge_job *job)
{
    struct message *message = message_new(arena, "judge");

    message_put_i64(message, "id", job->id);
    message_put_line(message, "genes", job->genes);
    message_put(message, "secret", "%016llx", (unsigned long long)job->secret);
    message_put(message, "effort", "%s", effort_names[job->effort]);
    message_put_i64(message, "cases_per_family", job->cases_per_family);
    message_put_i64(message, "want_samples", job->want_samples);
    for (int i = 0; i < job->problem_count; i++) {
        char text[PROBLEM_TEXT_MAX];

        problem_text(&job->problems[i].problem, text);
        message_put(message, "problem", "%d %.17g %s %s", job->problems[i].image,
                    job->problems[i].bound_us, use_names[job->problems[i].use], text);
    }
    for (int i = 0; i < job->image_count; i++) {
        message_put_hash(message, "image", &job->images[i].code_key);
        put_image(arena, message, i, &job->images[i]);
    }
    return message;
}

static bool get_image(struct arena *arena, const struct message *message, int index,
                      const char *code_key, struct judge_image *image, struct err *err)
{
    struct message *inner;
    const char *program;
    size_t size;

    if (!hash_from_hex(code_key, &image->code_key)) {
        return malformed(message, "image", code_key, err);
    }
    program = message_get_body(message, arena_printf(arena, "program.%d", index), &size);
    image->cubin =
        message_get_body(message, arena_printf(arena, "cubin.%d", index), &image->cubin_bytes);
    image->ptx = message_get_body(message, arena_printf(arena, "ptx.%d", index), &image->ptx_bytes);
    if (program == NULL || image->cubin == NULL || image->ptx == NULL) {
        return err_set(err, ERR_SYSTEM, "message '%s' lacks a body of image %d",
                       message_verb(message), index);
    }
    return message_decode(arena, program, size, &inner, err) && is_verb(inner, "program", err) &&
           program_get(arena, inner, &image->program, err);
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
        return too_many(message, "problem", err);
    }
    if (!next_i64(&rest, &image) || !next_f64(&rest, &job->problems[at].bound_us) ||
        job->problems[at].bound_us < 0 || rest == NULL || image < 0 ||
        (image > 0 && image >= job->image_count)) {
        return malformed(message, "problem", line, err);
    }
    word = next_word(&rest);
    while (use < USE_COUNT && word != NULL && strcmp(word, use_names[use]) != 0) {
        use++;
    }
    if (word == NULL || use == USE_COUNT || rest == NULL) {
        return malformed(message, "problem", line, err);
    }
    job->problems[at].image = (int)image;
    job->problems[at].use = use;
    job->problem_count++;
    for (int i = 0; i < job->problem_count; i++) {
        timed += use_is_timed(job->problems[i].use);
    }
    if (timed > JOB_TIMED_MAX) {
        return too_many(message, "problem", err);
    }
    return problem_parse(rest, &job->problems[at].problem, err);
}

static bool get_secret(const struct message *message, uint64_t *secret, struct err *err)
{
    return parse_hex64(get_text(message, "secret"), secret) ||
           malformed(message, "secret", "(not shown)", err);
}

bool judge_decode(struct arena *arena, const struct message *message, struct judge_job *job,
                  struct err *err)
{
    const char *line;
    int effort;
    size_t at;

    memset(job, 0, sizeof *job);
    if (!is_verb(message, "judge", err) || !message_get_i64(message, "id", &job->id, err) ||
        !get_secret(message, &job->secret, err) ||
        !get_name(message, "effort", effort_names, EFFORT_COUNT, &effort, err) ||
        !message_get_i64(message, "cases_per_family", &job->cases_per_family, err) ||
        !get_bool(message, "want_samples", &job->want_samples, err)) {
        return false;
    }
    job->effort = (enum effort)effort;
    job->genes = arena_dup(arena, get_text(message, "genes"));
    for (at = 0; (line = message_each(message, "image", &at)) != NULL;) {
        if (job->image_count == JOB_IMAGES_MAX) {
            return too_many(message, "image", err);
        }
        if (!get_image(arena, message, job->image_count, line, &job->images[job->image_count],
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
                f64_or_nan(arena, one->error_max), f64_or_nan(arena, one->error_allowed),
                f64_or_nan(arena, one->frobenius), f64_or_nan(arena, one->frobenius_allowed),
                (long long)one->rows_checked, (long long)one->rows_total, (long long)one->worst[0],
                (long long)one->worst[1], (long long)one->worst[2], (long long)one->worst[3],
                f64_or_nan(arena, one->expected), f64_or_nan(arena, one->got));
    message_put_line(message, "case_reason", one->reason);
}

static bool parse_case(struct arena *arena, const char *line, const char *reason,
                       struct case_result *one)
{
    char *rest = arena_dup(arena, line);
    const char *word;
    int64_t problem;

    if (!next_i64(&rest, &problem) || problem < -1 || problem >= JOB_PROBLEMS_MAX) {
        return false;
    }
    one->problem = (int)problem;
    word = next_word(&rest);
    one->family = next_word(&rest);
    if (word == NULL || !rung_parse(word, &one->rung) || one->family == NULL) {
        return false;
    }
    word = next_word(&rest);
    if (word == NULL || !parse_hex64(word, &one->seed)) {
        return false;
    }
    one->family = strcmp(one->family, "-") == 0 ? "" : one->family;
    word = next_word(&rest);
    if (word == NULL || !verdict_parse(word, &one->verdict) ||
        !next_f64_or_nan(&rest, &one->error_max) || !next_f64_or_nan(&rest, &one->error_allowed) ||
        !next_f64_or_nan(&rest, &one->frobenius) ||
        !next_f64_or_nan(&rest, &one->frobenius_allowed) || !next_i64(&rest, &one->rows_checked) ||
        !next_i64(&rest, &one->rows_total)) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        if (!next_i64(&rest, &one->worst[i])) {
            return false;
        }
    }
    one->shape = "";
    one->reason = arena_dup(arena, reason);
    return next_f64_or_nan(&rest, &one->expected) && next_f64_or_nan(&rest, &one->got) &&
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
                            f64_or_nan(arena, tally->error_max),
                            f64_or_nan(arena, tally->error_allowed));
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

    if (!next_i64(&rest, &problem) || problem < 0 || problem >= JOB_PROBLEMS_MAX) {
        return false;
    }
    word = next_word(&rest);
    if (word == NULL || !rung_parse(word, &rung)) {
        return false;
    }
    tally = &result->tallies[problem][rung];
    return tally->total == 0 && next_i64(&rest, &tally->passed) && next_i64(&rest, &tally->total) &&
           tally->passed >= 0 && tally->passed <= tally->total && tally->total > 0 &&
           next_f64_or_nan(&rest, &tally->error_max) &&
           next_f64_or_nan(&rest, &tally->error_allowed) && rest == NULL;
}

/* Samples travel as little-endian doubles: the byte order of every machine CUDA runs on. */
static void put_timing(struct arena *arena, struct message *message, int index,
                       const struct timing *timing)
{
    message_put(message, "timing", "%d %d %.17g", timing->problem, timing->quick, timing->tick_us);
    message_body(message, arena_printf(arena, "span.%d", index), timing->span_us,
                 (size_t)timing->span_count * sizeof(double));
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

static bool get_timing(struct arena *arena, const struct message *message, const char *line,
                       struct judge_result *result, struct err *err)
{
    struct timing *timing = &result->timings[result->timing_count];
    char *rest = arena_dup(arena, line);
    int64_t problem, quick;

    if (result->timing_count == JOB_TIMED_MAX) {
        return too_many(message, "timing", err);
    }
    if (!next_i64(&rest, &problem) || !next_i64(&rest, &quick) ||
        !next_f64(&rest, &timing->tick_us) || timing->tick_us < 0 || rest != NULL || problem < 0 ||
        problem >= JOB_TIMED_MAX || quick < 0 || quick > 1) {
        return malformed(message, "timing", line, err);
    }
    for (int i = 0; i < result->timing_count; i++) {
        if (result->timings[i].problem == problem) {
            return malformed(message, "timing", line, err); /* said twice */
        }
    }
    timing->problem = (int)problem;
    timing->quick = quick != 0;
    if (!get_samples(arena, message, "span", result->timing_count, &timing->span_us,
                     &timing->span_count, err) ||
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

    if (!next_i64(&rest, &problem) || problem < -1 || problem >= JOB_TIMED_MAX) {
        return false;
    }
    name = next_word(&rest);
    if (name == NULL || (result->metrics[at].metric = metric_find(name)) == METRIC_COUNT ||
        !next_f64_or_nan(&rest, &result->metrics[at].value)) {
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

    if (!next_i64(&rest, &result->counted[at].id) || result->counted[at].id < 0 ||
        !next_i64(&rest, &problem) || problem < 0 || problem >= JOB_TIMED_MAX) {
        return false;
    }
    name = next_word(&rest);
    if (name == NULL || (result->counted[at].metric = metric_find(name)) == METRIC_COUNT ||
        !next_f64_or_nan(&rest, &result->counted[at].value)) {
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
        return too_many(message, "answer", err);
    }
    if (!next_i64(&rest, &problem) || problem < 0 || problem >= JOB_PROBLEMS_MAX) {
        return malformed(message, "answer", line, err);
    }
    answer->problem = (int)problem;
    answer->family = next_word(&rest);
    seed = next_word(&rest);
    data = message_get_body(message, arena_printf(arena, "answer.%d", result->answer_count),
                            &answer->bytes);
    if (seed == NULL || !parse_hex64(seed, &answer->seed) || rest != NULL || data == NULL ||
        answer->bytes > JOB_ANSWER_BYTES_MAX) {
        return malformed(message, "answer", line, err);
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
                                      f64_or_nan(arena, result->metrics[i].value),
                                      result->metrics[i].reason));
    }
    for (int i = 0; i < result->counted_count; i++) {
        message_put_line(message, "counted",
                         arena_printf(arena, "%lld %d %s %s %s", (long long)result->counted[i].id,
                                      result->counted[i].problem,
                                      metric_table[result->counted[i].metric].name,
                                      f64_or_nan(arena, result->counted[i].value),
                                      result->counted[i].reason));
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
            return too_many(message, "case", err);
        }
        if (reason == NULL ||
            !parse_case(arena, line, reason, &result->cases[result->case_count++])) {
            return malformed(message, "case", line, err);
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
    if (!is_verb(message, "result", err) || !message_get_i64(message, "id", &result->id, err) ||
        !get_verdict(message, "verdict", &result->verdict, err) ||
        !get_bool(message, "replayed", &result->replayed, err) ||
        !get_ms(message, "device_ms", &result->device_ms, err) ||
        !get_cases(arena, message, result, err)) {
        return false;
    }
    result->reason = arena_dup(arena, get_text(message, "reason"));
    for (at = 0; (line = message_each(message, "tally", &at)) != NULL;) {
        if (!parse_tally(arena, line, result)) {
            return malformed(message, "tally", line, err);
        }
    }
    for (at = 0; (line = message_each(message, "metric", &at)) != NULL;) {
        if (result->metric_count == JOB_METRICS_MAX) {
            return too_many(message, "metric", err);
        }
        if (!parse_metric(arena, line, result)) {
            return malformed(message, "metric", line, err);
        }
    }
    for (at = 0; (line = message_each(message, "counted", &at)) != NULL;) {
        if (result->counted_count == JOB_COUNTED_MAX) {
            return too_many(message, "counted", err);
        }
        if (!parse_counted(arena, line, result)) {
            return malformed(message, "counted", line, err);
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
        put_image(arena, message, i, &side->image);
    }
    return message;
}

static bool get_side(struct arena *arena, const struct message *message, int index,
                     const char *line, struct duel_side *side, struct err *err)
{
    char *rest = arena_dup(arena, line);
    const char *kind = next_word(&rest);

    side->rival = "";
    if (rest == NULL || *rest == '\0' || kind == NULL) {
        return malformed(message, "side", line, err);
    }
    if (strcmp(kind, "rival") == 0) {
        side->rival = rest;
        return true;
    }
    return strcmp(kind, "image") == 0 ? get_image(arena, message, index, rest, &side->image, err)
                                      : malformed(message, "side", line, err);
}

bool duel_decode(struct arena *arena, const struct message *message, struct duel_job *job,
                 struct err *err)
{
    const char *line;
    size_t at = 0;
    int count = 0;

    memset(job, 0, sizeof *job);
    if (!is_verb(message, "duel", err) || !message_get_i64(message, "id", &job->id, err) ||
        !get_secret(message, &job->secret, err) ||
        !message_get_i64(message, "cases_per_family", &job->cases_per_family, err) ||
        !get_ms(message, "cap_ms", &job->cap_ms, err) ||
        !problem_parse(get_text(message, "problem"), &job->problem, err)) {
        return false;
    }
    for (; (line = message_each(message, "side", &at)) != NULL; count++) {
        if (count == 2) {
            return too_many(message, "side", err);
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
                    f64_or_nan(arena, result->sides[i].error),
                    f64_or_nan(arena, result->sides[i].allowed));
        message_put_line(message, "reason", result->sides[i].reason);
        message_put_line(message, "name", result->sides[i].name);
    }
    message_put(message, "ticks", "%.17g %.17g", result->span.tick_us, result->graph.tick_us);
    message_put_i64(message, "modelled", result->modelled);
    message_put(message, "load", "%s %s %s %llu", f64_or_nan(arena, result->sm_clock_mhz),
                f64_or_nan(arena, result->power_w), f64_or_nan(arena, result->temperature_c),
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
    const char *verdict = next_word(&rest);

    if (verdict == NULL || !verdict_parse(verdict, &result->sides[index].verdict) ||
        !next_f64_or_nan(&rest, &result->sides[index].error) ||
        !next_f64_or_nan(&rest, &result->sides[index].allowed) || rest != NULL) {
        return malformed(message, "side", line, err);
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
    if (!is_verb(message, "dueled", err) || !message_get_i64(message, "id", &result->id, err) ||
        !get_bool(message, "modelled", &result->modelled, err) ||
        !get_ms(message, "device_ms", &result->device_ms, err)) {
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
    ticks = arena_dup(arena, get_text(message, "ticks"));
    if (!next_f64(&ticks, &result->span.tick_us) || !next_f64(&ticks, &result->graph.tick_us) ||
        ticks != NULL || !(result->span.tick_us >= 0) || !(result->graph.tick_us >= 0)) {
        return malformed(message, "ticks", get_text(message, "ticks"), err);
    }
    load = arena_dup(arena, get_text(message, "load"));
    if (!next_f64_or_nan(&load, &result->sm_clock_mhz) ||
        !next_f64_or_nan(&load, &result->power_w) ||
        !next_f64_or_nan(&load, &result->temperature_c) || !next_i64(&load, &throttle) ||
        load != NULL || throttle < 0) {
        return malformed(message, "load", get_text(message, "load"), err);
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
    put_image(arena, message, 0, &job->image);
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
    return is_verb(message, "probe", err) && message_get_i64(message, "id", &job->id, err) &&
           get_rounds(message, "rounds", &job->rounds, err) &&
           get_rounds(message, "rounds_max", &job->rounds_max, err) &&
           get_image(arena, message, 0, get_text(message, "image"), &job->image, err);
}

struct message *probed_encode(struct arena *arena, const struct probe_result *result)
{
    struct message *message = message_new(arena, "probed");

    message_put_i64(message, "id", result->id);
    message_put(message, "verdict", "%s", verdict_names[result->verdict]);
    message_put_line(message, "reason", result->reason);
    for (int i = 0; i < 2; i++) {
        message_put(message, "time", "%lld %s", (long long)result->rounds[i],
                    f64_or_nan(arena, result->us[i]));
    }
    message_put(message, "graph_us", "%s", f64_or_nan(arena, result->graph_us));
    message_put(message, "clock_mhz", "%s", f64_or_nan(arena, result->clock_mhz));
    message_put_i64(message, "modelled", result->modelled);
    return message;
}

bool probed_decode(struct arena *arena, const struct message *message, struct probe_result *result,
                   struct err *err)
{
    size_t at = 0;

    memset(result, 0, sizeof *result);
    if (!is_verb(message, "probed", err) || !message_get_i64(message, "id", &result->id, err) ||
        !get_bool(message, "modelled", &result->modelled, err)) {
        return false;
    }
    if (!verdict_parse(get_text(message, "verdict"), &result->verdict)) {
        return malformed(message, "verdict", get_text(message, "verdict"), err);
    }
    result->reason = arena_dup(arena, get_text(message, "reason"));
    for (int i = 0; i < 2; i++) {
        const char *line = message_each(message, "time", &at);
        char *rest = line != NULL ? arena_dup(arena, line) : NULL;

        if (!next_i64(&rest, &result->rounds[i]) || !next_f64_or_nan(&rest, &result->us[i]) ||
            rest != NULL || result->us[i] < 0) {
            return malformed(message, "time", line != NULL ? line : "", err);
        }
    }
    return (parse_f64_or_nan(get_text(message, "graph_us"), &result->graph_us) ||
            malformed(message, "graph_us", get_text(message, "graph_us"), err)) &&
           (parse_f64_or_nan(get_text(message, "clock_mhz"), &result->clock_mhz) ||
            malformed(message, "clock_mhz", get_text(message, "clock_mhz"), err));
}

/* ---- FAILURE ---- */

struct message *failure_encode(struct arena *arena, int64_t id, const struct err *err)
{
    struct message *message = message_new(arena, "failure");

    message_put_i64(message, "id", id);
    message_put_i64(message, "kind", err->kind);
    message_put_line(message, "what", err->what);
    message_put_line(message, "hint", err->hint);
    message_put_i64(message, "last", 1); /* it ends after this: see worker.h */
    return message;
}

bool failure_decode(const struct message *message, int64_t *id, struct err *failure,
                    struct err *err)
{
    int kind = ERR_SYSTEM;

    if (!is_verb(message, "failure", err) || !message_get_i64(message, "id", id, err) ||
        !get_count(message, "kind", ERR_USER, ERR_DEVICE, &kind, err)) {
        return false;
    }
    err_set(failure, (enum err_kind)kind, "%s", get_text(message, "what"));
    if (*get_text(message, "hint") != '\0') {
        err_hint(failure, "%s", get_text(message, "hint"));
    }
    return true;
}
