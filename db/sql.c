#define STATEMENT_TEXTS
#include "db/store_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"

enum {
    APPLICATION_ID = 0x65766f31, /* "evo1", as in schema.sql */
    BUSY_MS = 5000,   /* a reader meets a locked database only while another opens or closes it */
    WAL_PAGES = 4000, /* checkpoint at 16 MB: pages written often are copied once */
    WAL_BYTES_KEPT = 64 << 20, /* shrink to this after a long reader let the log grow */
};

static_assert(STATEMENT_COUNT > 0 && SCHEMA_VERSION >= 1, "evo-embed wrote no statements");

const char *const sql_role_names[ROLE_COUNT] = {"compile", "judge"};

/* ---- failures ---- */

/*
 * SQLite knows one way to be told "no room" (ENOSPC, which is SQLITE_FULL); a quota and a limit on
 * the size of files are others. What the system said is kept by each of its two files.
 */
static bool file_is_full(sqlite3_file *file)
{
    int error = 0;

    if (file == NULL || file->pMethods == NULL ||
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error) != SQLITE_OK) {
        return false;
    }
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

static bool disk_is_full(sqlite3 *db)
{
    sqlite3_file *file = NULL, *log = NULL;

    sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    return file_is_full(file) || file_is_full(log);
}

bool sql_fail(struct store *store, struct err *err)
{
    int code = sqlite3_errcode(store->db) & 0xff;

    store->full = code == SQLITE_FULL || (code == SQLITE_IOERR && disk_is_full(store->db));
    if (store->full) {
        err_set(err, ERR_SYSTEM, "no space left to write database '%s'", store->path);
        return err_hint(err, "make room on its disk; nothing that was recorded is lost");
    }
    switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        err_set(err, ERR_SYSTEM, "database '%s' is locked by another program", store->path);
        return err_hint(err, "end the transaction that some program (sqlite3?) holds open on it");
    case SQLITE_NOTADB:
        err_set(err, ERR_USER, "'%s' is not a database", store->path);
        return err_hint(err, "name another file with --db, or move this one away");
    case SQLITE_CORRUPT:
        err_set(err, ERR_SYSTEM, "database '%s' is damaged: %s", store->path,
                sqlite3_errmsg(store->db));
        return err_hint(err, "keep a copy; \"sqlite3 '%s' .recover\" saves what can be read",
                        store->path);
    case SQLITE_CANTOPEN:
        err_set(err, ERR_SYSTEM, "cannot open database '%s': %s", store->path,
                strerror(sqlite3_system_errno(store->db)));
        return err_hint(err, "evo reads and writes it, and makes '%s-wal' and '%s-shm' beside it",
                        store->path, store->path);
    case SQLITE_READONLY: /* of a reader: the log's index cannot be made beside the file */
        err_set(err, ERR_SYSTEM, "cannot read database '%s': its folder is not writable",
                store->path);
        return err_hint(err, "copy it to a folder of your own, or ask for rights to this one");
    default:
        return err_set(err, ERR_SYSTEM, "database '%s': %s", store->path,
                       sqlite3_errmsg(store->db));
    }
}

/* ---- statements ---- */

bool sql_round_is_open(const struct store *store)
{
    return store->in_round && !sqlite3_get_autocommit(store->db);
}

sqlite3_stmt *sql_statement(struct store *store, enum statement which)
{
    sqlite3_stmt *statement = store->statements[which];

    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return statement;
}

sqlite3_stmt *sql_writer(struct store *store, enum statement which)
{
    assert(store->in_round); /* a write outside a round would be half of something */
    return sql_statement(store, which);
}

bool sql_row(struct store *store, sqlite3_stmt *statement, bool *row, struct err *err)
{
    int code;

    *row = false;
    if (store->in_round && sqlite3_get_autocommit(store->db)) {
        sqlite3_reset(statement);
        return err_set(err, ERR_SYSTEM, "database '%s': the round was given up after a failure",
                       store->path);
    }
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *row = true;
        return true;
    }
    if (code != SQLITE_DONE) {
        sql_fail(store, err);
    }
    sqlite3_reset(statement);
    return code == SQLITE_DONE;
}

bool sql_run(struct store *store, sqlite3_stmt *statement, struct err *err)
{
    bool row;
    bool ok = sql_row(store, statement, &row, err);

    assert(!row);
    return ok;
}

void sql_end(sqlite3_stmt *statement) { sqlite3_reset(statement); }

bool sql_read_begin(struct store *store, bool *began, struct err *err)
{
    *began = sqlite3_get_autocommit(store->db) && !store->in_round;
    return !*began || sql_run(store, sql_statement(store, STATEMENT_READ_BEGIN), err);
}

void sql_read_end(struct store *store, bool began)
{
    if (began && !sqlite3_get_autocommit(store->db)) {
        sqlite3_step(sql_statement(store, STATEMENT_ROUND_COMMIT)); /* of nothing: cannot fail */
        sqlite3_reset(store->statements[STATEMENT_ROUND_COMMIT]);
    }
}

/* ---- binding: a name that the statement does not have is a bug ---- */

static int parameter(sqlite3_stmt *statement, const char *name)
{
    int index = sqlite3_bind_parameter_index(statement, name);

    assert(index > 0);
    return index;
}

static void bound(int code)
{
    assert(code == SQLITE_OK); /* else out of memory or beyond SQLite's gigabyte */
    (void)code;
}

void sql_bind_i64(sqlite3_stmt *statement, const char *name, int64_t value)
{
    bound(sqlite3_bind_int64(statement, parameter(statement, name), value));
}

void sql_bind_f64(sqlite3_stmt *statement, const char *name, double value)
{
    bound(sqlite3_bind_double(statement, parameter(statement, name), value));
}

void sql_bind_text(sqlite3_stmt *statement, const char *name, const char *text)
{
    bound(sqlite3_bind_text(statement, parameter(statement, name), text, -1, SQLITE_STATIC));
}

void sql_bind_text_of(sqlite3_stmt *statement, const char *name, const char *text, size_t length)
{
    bound(sqlite3_bind_text64(statement, parameter(statement, name), text, length, SQLITE_STATIC,
                              SQLITE_UTF8));
}

void sql_bind_bytes(sqlite3_stmt *statement, const char *name, const void *data, size_t size)
{
    bound(sqlite3_bind_blob64(statement, parameter(statement, name), data, size, SQLITE_STATIC));
}

void sql_bind_known_hash(sqlite3_stmt *statement, const char *name, const struct hash *hash)
{
    char hex[HASH_HEX + 1];

    hash_to_hex(hash, hex);
    bound(
        sqlite3_bind_text(statement, parameter(statement, name), hex, HASH_HEX, SQLITE_TRANSIENT));
}

void sql_bind_hash(sqlite3_stmt *statement, const char *name, const struct hash *hash)
{
    if (!hash_is_zero(hash)) {
        sql_bind_known_hash(statement, name, hash);
    } /* else NULL, which is what is bound to start with */
}

/* ---- columns ---- */

bool sql_is_null(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL;
}

int64_t sql_i64(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_int64(statement, column);
}

double sql_f64(sqlite3_stmt *statement, int column, double otherwise)
{
    return sql_is_null(statement, column) ? otherwise : sqlite3_column_double(statement, column);
}

const char *sql_text(sqlite3_stmt *statement, int column, struct arena *arena)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    return text == NULL ? ""
                        : arena_text(arena, text, (size_t)sqlite3_column_bytes(statement, column));
}

struct hash sql_hash(sqlite3_stmt *statement, int column)
{
    const char *hex = (const char *)sqlite3_column_text(statement, column);
    struct hash hash = {{0}};

    if (hex != NULL && !hash_from_hex(hex, &hash)) {
        hash = (struct hash){{0}};
    }
    return hash;
}

enum verdict sql_verdict(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    enum verdict verdict = VERDICT_NONE;

    if (text != NULL && !verdict_parse(text, &verdict)) {
        verdict = VERDICT_CRASH;
    }
    return verdict;
}

void sql_candidate(sqlite3_stmt *s, struct arena *arena, struct candidate_row *row)
{
    const char *state = (const char *)sqlite3_column_text(s, CANDIDATE_STATE);

    *row = (struct candidate_row){
        .run = sql_i64(s, CANDIDATE_RUN),
        .place = sql_i64(s, CANDIDATE_PLACE),
        .family = sql_text(s, CANDIDATE_FAMILY, arena),
        .genes = sql_text(s, CANDIDATE_GENES, arena),
        .genome_hash = sql_hash(s, CANDIDATE_GENOME_HASH),
        .island = (int)sql_i64(s, CANDIDATE_ISLAND),
        .operator_name = sql_text(s, CANDIDATE_OPERATOR, arena),
        .depth = (int)sql_i64(s, CANDIDATE_DEPTH),
        .numerics = (int)sql_i64(s, CANDIDATE_NUMERICS),
        .bound_us = sql_f64(s, CANDIDATE_BOUND_US, 0),
        .created_at = sql_i64(s, CANDIDATE_CREATED_AT),
        .state = state != NULL && strcmp(state, "done") == 0 ? CANDIDATE_DONE : CANDIDATE_QUEUED,
        .source_hash = sql_hash(s, CANDIDATE_SOURCE_HASH),
        .code_key = sql_hash(s, CANDIDATE_CODE_KEY),
        .plan_key = sql_hash(s, CANDIDATE_PLAN_KEY),
        .verdict = sql_verdict(s, CANDIDATE_VERDICT),
        .reason = sql_text(s, CANDIDATE_REASON, arena),
        .replayed = sql_i64(s, CANDIDATE_REPLAYED) != 0,
        .alias_of = sql_is_null(s, CANDIDATE_ALIAS_OF) ? -1 : sql_i64(s, CANDIDATE_ALIAS_OF),
        .judgement = sql_i64(s, CANDIDATE_JUDGEMENT),
        .finished_at = sql_i64(s, CANDIDATE_FINISHED_AT),
        .score = {sql_f64(s, CANDIDATE_US, 0), sql_f64(s, CANDIDATE_LOW, 0),
                  sql_f64(s, CANDIDATE_HIGH, 0)},
        .device_ms = sql_f64(s, CANDIDATE_DEVICE_MS, 0),
    };
    for (int column = CANDIDATE_PARENT0; column <= CANDIDATE_PARENT1; column++) {
        if (!sql_is_null(s, column)) {
            row->parents[row->parent_count++] = sql_i64(s, column);
        }
    }
}

/* ---- opening ---- */

static bool run_text(struct store *store, const char *text, struct err *err)
{
    return sqlite3_exec(store->db, text, NULL, NULL, NULL) == SQLITE_OK || sql_fail(store, err);
}

/* The number that a text of one row and column gives; a text in that place counts as -1. */
static bool ask(struct store *store, const char *text, int64_t *answer, struct err *err)
{
    sqlite3_stmt *statement;
    bool ok;

    if (sqlite3_prepare_v2(store->db, text, -1, &statement, NULL) != SQLITE_OK) {
        return sql_fail(store, err);
    }
    ok = sqlite3_step(statement) == SQLITE_ROW || sql_fail(store, err);
    if (ok) {
        *answer = sqlite3_column_type(statement, 0) == SQLITE_INTEGER
                      ? sqlite3_column_int64(statement, 0)
                      : -1;
    }
    sqlite3_finalize(statement);
    return ok;
}

static bool refuse_foreign(const struct store *store, struct err *err)
{
    err_set(err, ERR_USER, "'%s' is a database, but not one of evo's", store->path);
    return err_hint(err, "name another file with --db");
}

static bool refuse_version(const struct store *store, int64_t version, struct err *err)
{
    bool newer = version > SCHEMA_VERSION;

    err_set(err, ERR_USER, "database '%s' has schema version %lld, but this evo %s version %d",
            store->path, (long long)version, newer ? "knows none above" : "reads", SCHEMA_VERSION);
    return newer ? err_hint(err, "use the evo that wrote it, or another file with --db")
                 : err_hint(err, "'evo start' with this database brings it up to date");
}

/* Which version the file has; 0: it is empty. */
static bool version_read(struct store *store, int64_t *version, struct err *err)
{
    int64_t application, objects;

    if (!ask(store, "PRAGMA user_version", version, err) ||
        !ask(store, "PRAGMA application_id", &application, err) ||
        !ask(store, "SELECT count(*) FROM sqlite_schema", &objects, err)) {
        return false;
    }
    if (*version < 0 ||
        (application != APPLICATION_ID && (application != 0 || objects != 0 || *version != 0))) {
        return refuse_foreign(store, err);
    }
    return *version <= SCHEMA_VERSION || refuse_version(store, *version, err);
}

/* One step of the ladder: a version either arrives whole, with its number, or not at all. */
static bool migrate_step(struct store *store, int64_t version, struct err *err)
{
    char number[64];

    sqlite3_snprintf(sizeof number, number, "PRAGMA user_version = %lld", (long long)version);
    if (!run_text(store, version == 1 ? schema_text : migration_texts[version - MIGRATION_FIRST],
                  err) ||
        !run_text(store, number, err)) {
        return err_in(err, "making schema version %lld", (long long)version);
    }
    return true;
}

static bool migrate(struct store *store, struct err *err)
{
    int64_t version;
    bool ok;

    if (!version_read(store, &version, err)) {
        return false;
    }
    if (version == SCHEMA_VERSION) {
        return true;
    }
    if (!run_text(store, "BEGIN IMMEDIATE", err)) {
        return false;
    }
    ok = version_read(store, &version, err); /* again: now nobody else can be at it */
    while (ok && version < SCHEMA_VERSION) {
        ok = migrate_step(store, ++version, err);
    }
    FAULT("store.migrate");
    ok = ok && run_text(store, "COMMIT", err);
    if (!ok && !sqlite3_get_autocommit(store->db)) {
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return ok;
}

static bool wal_begin(struct store *store, struct err *err)
{
    sqlite3_stmt *statement;
    bool ok;

    if (sqlite3_prepare_v2(store->db, "PRAGMA journal_mode = WAL", -1, &statement, NULL) !=
        SQLITE_OK) {
        return sql_fail(store, err);
    }
    ok = sqlite3_step(statement) == SQLITE_ROW || sql_fail(store, err);
    if (ok && strcmp((const char *)sqlite3_column_text(statement, 0), "wal") != 0) {
        ok = err_set(err, ERR_SYSTEM, "cannot keep a write-ahead log for database '%s'",
                     store->path);
        err_hint(err, "put it on a local disk: network file systems lack the locks it needs");
    }
    sqlite3_finalize(statement);
    return ok;
}

static bool open_to_write(struct store *store, struct err *err)
{
    char text[256];
    int64_t version;

    if (sqlite3_db_readonly(store->db, "main") == 1) { /* what SQLite makes of a lack of rights */
        err_set(err, ERR_SYSTEM, "cannot write database '%s'", store->path);
        return err_hint(err, "its file and its folder must be writable for who runs evo");
    }
    /* The version first: a file that is not ours is not touched. */
    if (!version_read(store, &version, err) || !wal_begin(store, err)) {
        return false;
    }
    sqlite3_snprintf(sizeof text, text,
                     "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                     "PRAGMA wal_autocheckpoint = %d; PRAGMA journal_size_limit = %d",
                     WAL_PAGES, WAL_BYTES_KEPT);
    return run_text(store, text, err) && migrate(store, err);
}

static bool open_to_read(struct store *store, struct err *err)
{
    int64_t version;

    if (!version_read(store, &version, err)) {
        return false;
    }
    if (version == 0) {
        err_set(err, ERR_USER, "database '%s' is empty", store->path);
        return err_hint(err, "'evo start --seed FILE' fills it");
    }
    return version == SCHEMA_VERSION || refuse_version(store, version, err);
}

static bool prepare_all(struct store *store, struct err *err)
{
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        const char *rest;

        if (sqlite3_prepare_v3(store->db, statement_texts[i].text, -1, SQLITE_PREPARE_PERSISTENT,
                               &store->statements[i], &rest) != SQLITE_OK) {
            sql_fail(store, err);
            return err_in(err, "statement '%s'", statement_texts[i].name);
        }
        assert(rest[strspn(rest, " \n")] == '\0'); /* one name, one statement */
    }
    return true;
}

bool store_open(const char *path, enum store_mode mode, struct store **out, struct err *err)
{
    struct store *store;
    int flags =
        mode == STORE_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

    *out = NULL;
    if (mode == STORE_READ && access(path, F_OK) != 0) {
        err_set(err, ERR_USER, "there is no database '%s'", path);
        return err_hint(err, "'evo start --seed FILE' makes one; --db names one elsewhere");
    }
    store = xcalloc(1, sizeof *store);
    store->path = xstrdup(path);
    store->read_only = mode == STORE_READ;
    if (sqlite3_open_v2(path, &store->db, flags, NULL) != SQLITE_OK) {
        sql_fail(store, err);
        store_close(store);
        return false;
    }
    sqlite3_busy_timeout(store->db, BUSY_MS);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (!(mode == STORE_READ ? open_to_read(store, err) : open_to_write(store, err)) ||
        !prepare_all(store, err)) {
        store_close(store);
        return false;
    }
    *out = store;
    return true;
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(store->statements[i]);
    }
    sqlite3_close(store->db); /* rolls an open round back */
    free(store->path);
    free(store);
}

bool store_is_full(const struct store *store) { return store->full; }
