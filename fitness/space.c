/*
 * The index is a hash table with open addressing: a slot holds a row's number plus one, 0 is empty,
 * and the table is at least twice as large as the rows are many, so that a probe ends soon. Rows
 * and table double together, the old ones being left to the arena: at most as much again is lost.
 */
#include "fitness/space.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS_AT_FIRST = 256,
    NUMBER_BYTES_MAX = 40, /* of a cell that holds a number; %.17g needs 24 */
    EXPONENT_MAX = 400,    /* beyond it a double is 0 or infinite anyway */
    LABEL_SLOTS = 2 * SPACE_VALUES_MAX,
    MS_TO_US = 3, /* places by which the decimal point moves */
};

/* The first name of a verdict is the one printed. */
static const struct {
    const char *name;
    enum verdict verdict;
} statuses[] = {
    {"ok", VERDICT_PASS},
    {"compile", VERDICT_NO_COMPILE},
    {"runtime", VERDICT_NO_LAUNCH},
    {"failed", VERDICT_NO_LAUNCH},
};

enum column { STATUS, TIME, SD, COMPILE, VERIFY, BENCH, COLUMNS };

static const char *const column_names[COLUMNS] = {
    "status", "time_ms", "sd_ms", "compile_ms", "verify_ms", "bench_ms",
};

static const char name_first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
static const char name_rest[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

static uint64_t fnv(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash ^ hash >> 32;
}

/* The slot that holds the row with these values, or the empty one where it would go. */
static uint32_t *index_slot(const struct space *space, const uint8_t *at)
{
    size_t size = (size_t)space->param_count;
    uint32_t slot = (uint32_t)fnv(at, size) & space->index_mask;

    while (space->index[slot] != 0 &&
           memcmp(space->rows[space->index[slot] - 1].at, at, size) != 0) {
        slot = (slot + 1) & space->index_mask;
    }
    return &space->index[slot];
}

static void rows_grow(struct space *space)
{
    int64_t room = space->row_room ? 2 * space->row_room : ROWS_AT_FIRST;
    struct space_row *rows = arena_alloc(space->arena, (size_t)room * sizeof *rows);

    if (space->row_count) {
        memcpy(rows, space->rows, (size_t)space->row_count * sizeof *rows);
    }
    space->rows = rows;
    space->row_room = room;
    space->index = arena_alloc(space->arena, (size_t)room * 2 * sizeof *space->index);
    space->index_mask = (uint32_t)(2 * room - 1);
    for (int64_t i = 0; i < space->row_count; i++) {
        *index_slot(space, rows[i].at) = (uint32_t)i + 1;
    }
}

struct space *space_new(struct arena *arena, const char *name)
{
    struct space *space = arena_alloc(arena, sizeof *space);

    *space = (struct space){
        .arena = arena,
        .name = arena_dup(arena, name),
        .device = "",
        .problem = "",
        .source = "",
        .family = "",
    };
    return space;
}

static bool is_name(const char *text)
{
    size_t length = strlen(text);

    return length > 0 && length <= SPACE_WORD_MAX && strchr(name_first, *text) != NULL &&
           strspn(text, name_rest) == length;
}

/* What fits a cell and the right side of NAME=value. */
static bool is_label(const char *text)
{
    size_t length = strlen(text);

    for (const char *at = text; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || *at == ',' || *at == '=') {
            return false;
        }
    }
    return length > 0 && length <= SPACE_WORD_MAX;
}

static int param_find(const struct space *space, const char *name, size_t length)
{
    for (int i = 0; i < space->param_count; i++) {
        if (strncmp(space->params[i].name, name, length) == 0 &&
            space->params[i].name[length] == '\0') {
            return i;
        }
    }
    return -1;
}

static int label_find(const struct space_param *param, const char *label, size_t length)
{
    for (int i = 0; i < param->count; i++) {
        if (strncmp(param->labels[i], label, length) == 0 && param->labels[i][length] == '\0') {
            return i;
        }
    }
    return -1;
}

static bool param_check(const struct space *space, const char *name, int count, struct err *err)
{
    if (space->param_count == SPACE_PARAMS_MAX) {
        return err_set(err, ERR_USER, "more than %d parameters", SPACE_PARAMS_MAX);
    }
    if (!is_name(name)) {
        err_set(err, ERR_USER, "'%.80s' is not a parameter's name", name);
        return err_hint(err, "a name is letters, digits and _, at most %d of them", SPACE_WORD_MAX);
    }
    if (param_find(space, name, strlen(name)) >= 0) {
        return err_set(err, ERR_USER, "parameter '%s' is declared twice", name);
    }
    if (count < 1 || count > SPACE_VALUES_MAX) {
        return err_set(err, ERR_USER, "parameter '%s' has %d values, not 1 to %d", name, count,
                       SPACE_VALUES_MAX);
    }
    if (space->row_count > 0) {
        return err_set(err, ERR_USER, "parameter '%s' is declared after the first row", name);
    }
    return true;
}

bool space_add_param(struct space *space, const char *name, const char *const *labels, int count,
                     struct err *err)
{
    struct space_param *param = &space->params[space->param_count];
    const char **texts;
    int64_t *values;
    bool integers = true;

    if (!param_check(space, name, count, err)) {
        return false;
    }
    texts = arena_alloc(space->arena, (size_t)count * sizeof *texts);
    values = arena_alloc(space->arena, (size_t)count * sizeof *values);
    *param = (struct space_param){.labels = texts};
    for (int i = 0; i < count; i++) {
        if (!is_label(labels[i])) {
            return err_set(err, ERR_USER, "parameter '%s': '%.80s' cannot be a value", name,
                           labels[i]);
        }
        if (label_find(param, labels[i], strlen(labels[i])) >= 0) {
            return err_set(err, ERR_USER, "parameter '%s' has the value '%s' twice", name,
                           labels[i]);
        }
        texts[i] = arena_dup(space->arena, labels[i]);
        integers = integers && str_to_i64(labels[i], &values[i]);
        param->count = i + 1;
    }
    param->name = arena_dup(space->arena, name);
    param->values = integers ? values : NULL;
    space->param_count++;
    return true;
}

static bool row_check(const struct space *space, const struct space_row *row, struct err *err)
{
    const double costs[] = {row->sd_us, row->compile_ms, row->verify_ms, row->bench_ms};

    if (space->param_count == 0) {
        return err_set(err, ERR_USER, "a row before any parameter");
    }
    for (int i = 0; i < space->param_count; i++) {
        if (row->at[i] >= space->params[i].count) {
            return err_set(err, ERR_USER, "parameter '%s' has no value number %d",
                           space->params[i].name, row->at[i]);
        }
    }
    if (row->verdict <= VERDICT_NONE || row->verdict >= VERDICT_COUNT) {
        return err_set(err, ERR_USER, "a row without a verdict");
    }
    if (row->verdict == VERDICT_PASS ? !(isfinite(row->time_us) && row->time_us > 0)
                                     : row->time_us != 0) {
        return err_set(err, ERR_USER,
                       row->verdict == VERDICT_PASS
                           ? "a configuration that passed needs a time above 0"
                           : "a configuration that failed cannot have a time");
    }
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        if (!(isfinite(costs[i]) && costs[i] >= 0)) {
            return err_set(err, ERR_USER, "a row's costs and deviation must be 0 or more");
        }
    }
    return true;
}

bool space_add_row(struct space *space, const struct space_row *row, struct err *err)
{
    struct space_row *copy;
    uint32_t *slot;

    if (!row_check(space, row, err)) {
        return false;
    }
    if (space->row_count == SPACE_ROWS_MAX) {
        return err_set(err, ERR_USER, "more than %d configurations", SPACE_ROWS_MAX);
    }
    if (space->row_count == space->row_room) {
        rows_grow(space);
    }
    slot = index_slot(space, row->at);
    if (*slot != 0) {
        return err_set(err, ERR_USER, "the configuration is that of row %u again", *slot);
    }
    copy = &space->rows[space->row_count++];
    *copy = *row;
    memset(copy->at + space->param_count, 0, (size_t)(SPACE_PARAMS_MAX - space->param_count));
    *slot = (uint32_t)space->row_count;
    if (row->verdict == VERDICT_PASS &&
        (space->optimum_us == 0 || row->time_us < space->optimum_us)) {
        space->optimum_us = row->time_us;
    }
    return true;
}

const struct space_row *space_find(const struct space *space, const uint8_t *at)
{
    uint32_t row = space->row_count > 0 ? *index_slot(space, at) : 0;

    return row ? &space->rows[row - 1] : NULL;
}

/* One NAME=value of the text: sets at[] of its parameter. */
static bool find_word(const struct space *space, const char *word, size_t length, uint8_t *at,
                      bool *named, struct err *err)
{
    const char *equals = memchr(word, '=', length);
    size_t name_length = equals != NULL ? (size_t)(equals - word) : length;
    int param = param_find(space, word, name_length);
    int value;

    if (equals == NULL) {
        return err_set(err, ERR_USER, "'%.*s' is not of the form NAME=value", (int)length, word);
    }
    if (param < 0) {
        return err_set(err, ERR_USER, "the recording '%s' has no parameter '%.*s'", space->name,
                       (int)name_length, word);
    }
    if (named[param]) {
        return err_set(err, ERR_USER, "'%s' is given twice", space->params[param].name);
    }
    value = label_find(&space->params[param], equals + 1, length - name_length - 1);
    if (value < 0) {
        return err_set(err, ERR_USER, "the recording '%s' has no '%.*s'", space->name, (int)length,
                       word);
    }
    named[param] = true;
    at[param] = (uint8_t)value;
    return true;
}

const struct space_row *space_find_text(const struct space *space, const char *genes,
                                        struct err *err)
{
    uint8_t at[SPACE_PARAMS_MAX] = {0};
    bool named[SPACE_PARAMS_MAX] = {false};
    const struct space_row *row;
    size_t length;

    for (const char *word = genes; *word != '\0'; word += length + (word[length] == ' ')) {
        length = strcspn(word, " ");
        if (!find_word(space, word, length, at, named, err)) {
            return NULL;
        }
    }
    for (int i = 0; i < space->param_count; i++) {
        if (!named[i]) {
            err_set(err, ERR_USER, "'%.200s' does not say '%s', a parameter of the recording '%s'",
                    genes, space->params[i].name, space->name);
            return NULL;
        }
    }
    row = space_find(space, at);
    if (row == NULL) {
        err_set(err, ERR_USER, "the recording '%s' does not hold '%.200s'", space->name, genes);
    }
    return row;
}

/* Reading -------------------------------------------------------------------------------------- */

struct reader {
    struct space *space;
    const char *path;
    char *next; /* the line to come; NULL behind the last */
    int line;   /* of the one taken last */
    char *cells[SPACE_COLUMNS_MAX];
    int cell_count;
    int column_count;     /* as the header has it */
    int columns[COLUMNS]; /* where each stands; -1: nowhere */
    /* For each parameter a hash table from label to index, plus one. */
    uint16_t labels[SPACE_PARAMS_MAX][LABEL_SLOTS];
};

/* Puts "path:line: " in front of the message. */
static bool located(const struct reader *reader, struct err *err)
{
    return err_in(err, "%s:%d", reader->path, reader->line);
}

static char *line_take(struct reader *reader)
{
    char *line = reader->next;
    char *end;

    if (line == NULL || *line == '\0') {
        return NULL;
    }
    end = strchr(line, '\n');
    reader->next = end != NULL ? end + 1 : NULL;
    if (end != NULL) {
        *end = '\0';
    }
    reader->line++;
    return line;
}

/* Splits the text in place at each blank: its next word, or NULL. */
static char *word_take(char **text)
{
    char *word = *text + strspn(*text, " ");
    size_t length = strcspn(word, " ");

    if (length == 0) {
        return NULL;
    }
    *text = word + length + (word[length] == ' ');
    word[length] = '\0';
    return word;
}

static bool param_read(struct space *space, char *rest, struct err *err)
{
    const char *labels[SPACE_VALUES_MAX + 1]; /* one too many is enough to be refused */
    char *name = word_take(&rest);
    int count = 0;

    if (name == NULL) {
        return err_set(err, ERR_USER, "'# param' names no parameter");
    }
    while (count <= SPACE_VALUES_MAX && (labels[count] = word_take(&rest)) != NULL) {
        count++;
    }
    return space_add_param(space, name, labels, count, err);
}

static bool metadata_text(struct space *space, const char **field, const char *key,
                          const char *value, struct err *err)
{
    if (**field != '\0') {
        return err_set(err, ERR_USER, "'# %s' stands there twice", key);
    }
    *field = arena_dup(space->arena, value);
    return true;
}

static bool metadata_number(int64_t *field, const char *key, const char *value, struct err *err)
{
    if (!str_to_i64(value, field) || *field < 0) {
        return err_set(err, ERR_USER, "'# %s' must be a whole number, not '%.80s'", key, value);
    }
    return true;
}

static bool metadata_note(struct space *space, const char **notes, int *count, const char *text)
{
    if (*count < SPACE_NOTES_MAX) {
        notes[(*count)++] = arena_dup(space->arena, text);
    }
    return true;
}

/* Control bytes become blanks, so that nothing in a text can end its line or begin another. */
static void blank_controls(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 127) {
            *text = ' ';
        }
    }
}

/* Cuts the blanks off the end of text[from …]; its new length. */
static size_t trimmed(char *text, size_t from, size_t length)
{
    while (length > from && text[length - 1] == ' ') {
        length--;
    }
    text[length] = '\0';
    return length;
}

/* A line "# key value". */
static bool metadata_read(struct space *space, char *line, struct err *err)
{
    char *rest = line + 1;
    char *key;
    int64_t format;
    const struct {
        const char *key;
        const char **field;
    } texts[] = {{"space", &space->name},      {"device", &space->device},
                 {"problem", &space->problem}, {"problem_size", &space->problem},
                 {"family", &space->family},   {"source", &space->source}};
    const struct {
        const char *key;
        int64_t *field;
    } numbers[] = {{"arch", &space->arch}, {"smem_max", &space->smem_max}, {"sms", &space->sms}};

    blank_controls(line);
    key = word_take(&rest);
    if (key == NULL) {
        return true;
    }
    rest += strspn(rest, " ");
    trimmed(rest, 0, strlen(rest));
    if (strcmp(key, "param") == 0) {
        return param_read(space, rest, err);
    }
    if (strcmp(key, "const") == 0) {
        return metadata_note(space, space->consts, &space->const_count, rest);
    }
    if (strcmp(key, "constraint") == 0) {
        return metadata_note(space, space->constraints, &space->constraint_count, rest);
    }
    if (strcmp(key, "evo-space") == 0 && !(str_to_i64(rest, &format) && format == SPACE_FORMAT)) {
        err_set(err, ERR_USER, "a recording of format '%.80s', and this evo reads %d", rest,
                SPACE_FORMAT);
        return err_hint(err, "a newer evo made it");
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(key, texts[i].key) == 0) {
            return metadata_text(space, texts[i].field, key, rest, err);
        }
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(key, numbers[i].key) == 0) {
            return metadata_number(numbers[i].field, key, rest, err);
        }
    }
    return true;
}

static bool cells_split(struct reader *reader, char *line, struct err *err)
{
    reader->cell_count = 0;
    for (char *cell = line; cell != NULL;) {
        char *comma = strchr(cell, ',');

        if (reader->cell_count == SPACE_COLUMNS_MAX) {
            return err_set(err, ERR_USER, "more than %d columns", SPACE_COLUMNS_MAX);
        }
        if (comma != NULL) {
            *comma++ = '\0';
        }
        reader->cells[reader->cell_count++] = cell;
        cell = comma;
    }
    return true;
}

static bool header_read(struct reader *reader, char *line, struct err *err)
{
    const struct space *space = reader->space;

    if (space->param_count == 0) {
        err_set(err, ERR_USER, "the table begins and no '# param' line came before it");
        return err_hint(err, "is this a recorded search space? see 'evo help record'");
    }
    if (!cells_split(reader, line, err)) {
        return false;
    }
    for (int i = 0; i < space->param_count; i++) {
        if (i >= reader->cell_count || strcmp(reader->cells[i], space->params[i].name) != 0) {
            return err_set(err, ERR_USER, "column %d must be '%s', as the '# param' lines have it",
                           i + 1, space->params[i].name);
        }
    }
    for (int column = 0; column < COLUMNS; column++) {
        reader->columns[column] = -1;
        for (int i = space->param_count; i < reader->cell_count; i++) {
            if (strcmp(reader->cells[i], column_names[column]) == 0) {
                if (reader->columns[column] >= 0) {
                    return err_set(err, ERR_USER, "two columns '%s'", column_names[column]);
                }
                reader->columns[column] = i;
            }
        }
    }
    if (reader->columns[STATUS] < 0 || reader->columns[TIME] < 0) {
        return err_set(err, ERR_USER, "there is no column '%s'",
                       column_names[reader->columns[STATUS] < 0 ? STATUS : TIME]);
    }
    reader->column_count = reader->cell_count;
    return true;
}

static uint16_t *label_slot(struct reader *reader, int param, const char *label)
{
    const char *const *labels = reader->space->params[param].labels;
    uint16_t *slots = reader->labels[param];
    size_t slot = fnv(label, strlen(label)) % LABEL_SLOTS;

    while (slots[slot] != 0 && strcmp(labels[slots[slot] - 1], label) != 0) {
        slot = (slot + 1) % LABEL_SLOTS;
    }
    return &slots[slot];
}

static void labels_index(struct reader *reader)
{
    for (int i = 0; i < reader->space->param_count; i++) {
        for (int value = 0; value < reader->space->params[i].count; value++) {
            *label_slot(reader, i, reader->space->params[i].labels[value]) = (uint16_t)(value + 1);
        }
    }
}

/* The number in the cell, unsigned, times ten to the power `shift`, rounded once. */
static bool number_read(const char *cell, int shift, double *value)
{
    size_t mantissa = strcspn(cell, "eE");
    char text[NUMBER_BYTES_MAX + 16];
    int64_t exponent = 0;

    if (strlen(cell) > NUMBER_BYTES_MAX || strspn(cell, ".0123456789") != mantissa) {
        return false;
    }
    if (cell[mantissa] != '\0') {
        const char *digits = cell + mantissa + 1;

        if (!str_to_i64(digits + (*digits == '+'), &exponent) || exponent < -EXPONENT_MAX ||
            exponent > EXPONENT_MAX) {
            return false;
        }
    }
    snprintf(text, sizeof text, "%.*se%d", (int)mantissa, cell, (int)exponent + shift);
    return str_to_f64(text, value);
}

/* The optional number of a column: 0 when the column or the cell's text is missing. */
static bool cell_read(const struct reader *reader, enum column column, int shift, double *value,
                      struct err *err)
{
    int at = reader->columns[column];

    *value = 0;
    if (at < 0 || reader->cells[at][0] == '\0' || number_read(reader->cells[at], shift, value)) {
        return true;
    }
    return err_set(err, ERR_USER, "%s: '%.80s' is not a number of 0 or more", column_names[column],
                   reader->cells[at]);
}

static bool status_parse(const char *text, enum verdict *verdict)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (strcmp(text, statuses[i].name) == 0) {
            *verdict = statuses[i].verdict;
            return true;
        }
    }
    return verdict_parse(text, verdict) && *verdict != VERDICT_NONE;
}

static const char *status_text(enum verdict verdict)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (verdict == statuses[i].verdict) {
            return statuses[i].name;
        }
    }
    return verdict_names[verdict];
}

static bool row_read(struct reader *reader, char *line, struct err *err)
{
    struct space *space = reader->space;
    struct space_row row = {.at = {0}};

    if (!cells_split(reader, line, err)) {
        return false;
    }
    if (reader->cell_count != reader->column_count) {
        return err_set(err, ERR_USER, "%d cells, and the header has %d", reader->cell_count,
                       reader->column_count);
    }
    for (int i = 0; i < space->param_count; i++) {
        uint16_t value = *label_slot(reader, i, reader->cells[i]);

        if (value == 0) {
            return err_set(err, ERR_USER, "'%.80s' is not a value of '%s'", reader->cells[i],
                           space->params[i].name);
        }
        row.at[i] = (uint8_t)(value - 1);
    }
    if (!status_parse(reader->cells[reader->columns[STATUS]], &row.verdict)) {
        return err_set(err, ERR_USER, "unknown status '%.80s'",
                       reader->cells[reader->columns[STATUS]]);
    }
    return cell_read(reader, TIME, MS_TO_US, &row.time_us, err) &&
           cell_read(reader, SD, MS_TO_US, &row.sd_us, err) &&
           cell_read(reader, COMPILE, 0, &row.compile_ms, err) &&
           cell_read(reader, VERIFY, 0, &row.verify_ms, err) &&
           cell_read(reader, BENCH, 0, &row.bench_ms, err) && space_add_row(space, &row, err);
}

static bool reader_run(struct reader *reader, struct err *err)
{
    char *line;

    while ((line = line_take(reader)) != NULL && *line == '#') {
        if (!metadata_read(reader->space, line, err)) {
            return located(reader, err);
        }
    }
    if (line == NULL) {
        return err_set(err, ERR_USER, "%s: ends before its table", reader->path);
    }
    if (!header_read(reader, line, err)) {
        return located(reader, err);
    }
    if (*reader->space->device == '\0') {
        err_set(err, ERR_USER, "%s: no '# device' line", reader->path);
        return err_hint(err, "times of different devices are never mixed, so a recording must "
                             "name its device");
    }
    labels_index(reader);
    while ((line = line_take(reader)) != NULL) {
        if (!row_read(reader, line, err)) {
            return located(reader, err);
        }
    }
    if (reader->space->row_count == 0) {
        return err_set(err, ERR_USER, "%s: holds no configuration", reader->path);
    }
    return true;
}

/* "a/b/gemm.csv" → "gemm" */
static const char *name_of_path(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t length = strlen(name);

    if (length > 4 && strcmp(name + length - 4, ".csv") == 0) {
        length -= 4;
    }
    return arena_text(arena, name, length);
}

bool space_parse(struct arena *arena, const char *path, const char *text, size_t length,
                 struct space **space, struct err *err)
{
    struct reader *reader;
    struct hasher hasher;
    char *copy;
    bool ok;

    if (length > SPACE_BYTES_MAX) {
        return err_set(err, ERR_USER, "%s: larger than %d bytes", path, SPACE_BYTES_MAX);
    }
    if (length > 0 && memchr(text, '\0', length) != NULL) {
        return err_set(err, ERR_USER, "%s: not a text file", path);
    }
    copy = xmalloc(length + 1); /* cut into words and cells in place */
    memcpy(copy, length > 0 ? text : "", length);
    copy[length] = '\0';
    reader = xcalloc(1, sizeof *reader);
    reader->path = path;
    reader->next = copy;
    reader->space = space_new(arena, "");
    ok = reader_run(reader, err);
    if (ok) {
        *space = reader->space;
        if (*(*space)->name == '\0') {
            (*space)->name = name_of_path(arena, path);
        }
        hash_begin(&hasher, "evo recorded space");
        hash_field(&hasher, "file", text, length);
        (*space)->digest = hash_end(&hasher);
    }
    free(reader);
    free(copy);
    return ok;
}

bool space_load(struct arena *arena, const char *path, struct space **space, struct err *err)
{
    struct buf text = {0};
    bool ok = file_read(path, SPACE_BYTES_MAX, &text, err) &&
              space_parse(arena, path, text.data, text.length, space, err);

    buf_free(&text);
    return ok;
}

/* Printing ------------------------------------------------------------------------------------- */

/* A line of metadata, as the reader would keep it: printing what was printed changes nothing. */
static void metadata_print(struct buf *out, const char *key, const char *value)
{
    size_t start = out->length, from;

    buf_printf(out, "# %s ", key);
    from = out->length;
    while ((unsigned char)*value <= ' ' && *value != '\0') {
        value++;
    }
    buf_puts(out, value);
    blank_controls(out->data + from);
    out->length = trimmed(out->data, from, out->length);
    if (out->length == from) { /* nothing is known */
        out->length = start;
        out->data[start] = '\0';
        return;
    }
    buf_puts(out, "\n");
}

/* The fewest digits, of a few choices, that read back as the same double: "1.25e+02". */
static void number_digits(double value, char text[40])
{
    static const int digits[] = {6, 9, 12, 15, 16, 17};

    for (size_t i = 0; i < sizeof digits / sizeof *digits; i++) {
        snprintf(text, 40, "%.*e", digits[i] - 1, value);
        if (strtod(text, NULL) == value) {
            return;
        }
    }
}

/*
 * A cell with value / 10^shift in plain decimal, exactly: the digits of value with the point moved.
 * 0 is an empty cell, what is far from 1 keeps an exponent.
 */
static void number_print(struct buf *out, double value, int shift)
{
    char text[40], digits[40];
    size_t count = 0;
    int exponent;

    buf_puts(out, ",");
    if (value == 0) {
        return;
    }
    number_digits(value, text);
    for (const char *at = text; *at != 'e'; at++) {
        if (*at != '.') {
            digits[count++] = *at;
        }
    }
    while (count > 1 && digits[count - 1] == '0') {
        count--;
    }
    exponent = atoi(strchr(text, 'e') + 1) - shift;
    if (exponent < -6 || exponent > 15) {
        buf_printf(out, "%c%s%.*se%d", digits[0], count > 1 ? "." : "", (int)count - 1, digits + 1,
                   exponent);
    } else if (exponent < 0) {
        buf_printf(out, "0.%.*s%.*s", -exponent - 1, "000000", (int)count, digits);
    } else if ((int)count <= exponent + 1) {
        buf_printf(out, "%.*s%.*s", (int)count, digits, exponent + 1 - (int)count,
                   "000000000000000");
    } else {
        buf_printf(out, "%.*s.%.*s", exponent + 1, digits, (int)count - exponent - 1,
                   digits + exponent + 1);
    }
}

static void row_print(const struct space *space, const struct space_row *row, struct buf *out)
{
    for (int i = 0; i < space->param_count; i++) {
        buf_puts(out, space->params[i].labels[row->at[i]]);
        buf_puts(out, ",");
    }
    buf_puts(out, status_text(row->verdict));
    number_print(out, row->time_us, MS_TO_US);
    number_print(out, row->sd_us, MS_TO_US);
    number_print(out, row->compile_ms, 0);
    number_print(out, row->verify_ms, 0);
    number_print(out, row->bench_ms, 0);
    buf_puts(out, "\n");
}

void space_print(const struct space *space, struct buf *out)
{
    const struct {
        const char *key;
        int64_t value;
    } numbers[] = {{"arch", space->arch}, {"smem_max", space->smem_max}, {"sms", space->sms}};

    buf_printf(out, "# evo-space %d\n", SPACE_FORMAT);
    metadata_print(out, "space", space->name);
    metadata_print(out, "family", space->family);
    metadata_print(out, "device", space->device);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i].value != 0) {
            buf_printf(out, "# %s %lld\n", numbers[i].key, (long long)numbers[i].value);
        }
    }
    metadata_print(out, "problem", space->problem);
    metadata_print(out, "source", space->source);
    for (int i = 0; i < space->param_count; i++) {
        buf_printf(out, "# param %s", space->params[i].name);
        for (int value = 0; value < space->params[i].count; value++) {
            buf_printf(out, " %s", space->params[i].labels[value]);
        }
        buf_puts(out, "\n");
    }
    for (int i = 0; i < space->const_count; i++) {
        metadata_print(out, "const", space->consts[i]);
    }
    for (int i = 0; i < space->constraint_count; i++) {
        metadata_print(out, "constraint", space->constraints[i]);
    }
    for (int i = 0; i < space->param_count; i++) {
        buf_printf(out, "%s,", space->params[i].name);
    }
    for (int column = 0; column < COLUMNS; column++) {
        buf_printf(out, "%s%s", column ? "," : "", column_names[column]);
    }
    buf_puts(out, "\n");
    for (int64_t i = 0; i < space->row_count; i++) {
        row_print(space, &space->rows[i], out);
    }
}
