#include "fitness/job.h"

#include <string.h>

#include "fitness/job_fields.h"

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

bool verdict_parse(const char *text, enum verdict *verdict)
{
    int at = name_index(verdict_names, VERDICT_COUNT, text);

    if (at < 0) {
        return false;
    }
    *verdict = (enum verdict)at;
    return true;
}

bool rung_parse(const char *text, enum rung *rung)
{
    int at = name_index(rung_names, RUNG_COUNT, text);

    if (at < 0) {
        return false;
    }
    *rung = (enum rung)at;
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
    if (!field_verb(message, "hello", err) ||
        !message_get_i64(message, "protocol", &hello->protocol, err)) {
        return false;
    }
    if (hello->protocol != JOB_PROTOCOL) {
        return err_set(err, ERR_SYSTEM, "the worker speaks protocol %lld, this evo speaks %d",
                       (long long)hello->protocol, JOB_PROTOCOL);
    }
    if (!field_name(message, "role", role_names, ROLE_COUNT, &role, err) ||
        !message_get_i64(message, "device_arch", &hello->device_arch, err) ||
        !message_get_i64(message, "device_smem_max", &hello->device_smem_max, err) ||
        !message_get_i64(message, "device_sms", &hello->device_sms, err) ||
        !field_bool(message, "deterministic", &hello->deterministic, err)) {
        return false;
    }
    hello->role = (enum role)role;
    hello->backend = arena_dup(arena, field_text(message, "backend"));
    hello->version = arena_dup(arena, field_text(message, "version"));
    hello->device = arena_dup(arena, field_text(message, "device"));
    hello->device_id = arena_dup(arena, field_text(message, "device_id"));
    hello->sandbox = arena_dup(arena, field_text(message, "sandbox"));
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
    if (!field_verb(message, "compile", err) || !message_get_i64(message, "id", &job->id, err) ||
        !field_bool(message, "syntax_first", &job->syntax_first, err)) {
        return false;
    }
    job->name = arena_dup(arena, field_text(message, "name"));
    job->arch = arena_dup(arena, field_text(message, "arch"));
    for (at = 0; (line = message_each(message, "option", &at)) != NULL;) {
        if (job->option_count == JOB_OPTIONS_MAX) {
            return field_too_many(message, "option", err);
        }
        job->options[job->option_count++] = arena_dup(arena, line);
    }
    for (at = 0; (line = message_each(message, "entry", &at)) != NULL;) {
        if (job->entry_count == JOB_ENTRIES_MAX) {
            return field_too_many(message, "entry", err);
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

    entry->name = word_next(&rest);
    return entry->name != NULL && word_i64(&rest, &entry->registers) &&
           word_i64(&rest, &entry->static_smem_bytes) && word_i64(&rest, &entry->stack_bytes) &&
           word_i64(&rest, &entry->spill_store_bytes) &&
           word_i64(&rest, &entry->spill_load_bytes) && word_i64(&rest, &entry->barriers) &&
           word_i64(&rest, &entry->param_bytes) && word_i64(&rest, &entry->code_bytes) &&
           word_i64(&rest, &entry->max_threads) && rest == NULL;
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
    if (!field_verb(message, "built", err) || !message_get_i64(message, "id", &built->id, err) ||
        !field_verdict(message, "verdict", &built->verdict, err) ||
        !message_get_hash(message, "code_key", &built->code_key, err) ||
        !field_bool(message, "cached", &built->cached, err) ||
        !field_ms(message, "compile_ms", &built->compile_ms, err)) {
        return false;
    }
    if (!is_compilers(built->verdict)) {
        return err_set(err, ERR_SYSTEM, "message 'built': a compiler cannot say '%s'",
                       verdict_names[built->verdict]);
    }
    built->reason = arena_dup(arena, field_text(message, "reason"));
    built->warnings = arena_dup(arena, field_text(message, "warnings"));
    built->slow = arena_dup(arena, field_text(message, "slow"));
    for (at = 0; (line = message_each(message, "entry", &at)) != NULL;) {
        if (built->entry_count == JOB_ENTRIES_MAX) {
            return field_too_many(message, "entry", err);
        }
        if (!parse_entry(arena, line, &built->entries[built->entry_count++])) {
            return field_malformed(message, "entry", line, err);
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

    if (!field_verb(message, "failure", err) || !message_get_i64(message, "id", id, err) ||
        !field_count(message, "kind", ERR_USER, ERR_DEVICE, &kind, err)) {
        return false;
    }
    err_set(failure, (enum err_kind)kind, "%s", field_text(message, "what"));
    if (*field_text(message, "hint") != '\0') {
        err_hint(failure, "%s", field_text(message, "hint"));
    }
    return true;
}
