/*
 * seed.c -- from the file's text to struct seed, in three steps:
 *
 *   1. libyaml's events become a small tree of nodes that know where they stand. Everything that
 *      YAML has and a seed does not need (aliases, anchors, tags, directives, several documents) is
 *      refused here, and every size is limited, because libyaml itself has no limits.
 *   2. A table for each mapping (struct field) says which keys it may hold and which reader turns
 *      each value into a member of struct seed. A new key is a row and a line in evo-seed.5.
 *   3. What only makes sense of the whole (weights that sum to nothing) is checked at the end.
 */
#include "daemon/seed.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/str.h"
#include "daemon/fleet.h"
#include "daemon/torch.h"
#include "fitness/space.h"

enum {
    NODES_MAX = 32768,   /* of a whole seed: the largest sensible one has a few thousand */
    KEYS_MAX = 256,      /* of one mapping: keys are compared with one another */
    TEXT_MAX = 4096,     /* bytes of one value */
    NAME_MAX_BYTES = 64, /* of a run's or family's name */
    COMMAND_MAX = 1024,  /* bytes of a worker's command line */
    COMPILERS_MAX = 192, /* compile workers; the fleet has room for as many, and judges */
    GATE_CASES_MIN = 3,  /* draws of an input family: docs/JUDGE.md */
};

/* ---- 1. events become a tree -------------------------------------------------------------- */

enum node_kind { NODE_TEXT, NODE_LIST, NODE_MAP };
static const char *const kind_names[] = {"a single value", "a list", "a mapping of keys to values"};

struct node {
    enum node_kind kind;
    int line, column;
    const char *text;          /* NODE_TEXT */
    struct node *first, *next; /* items of a list or values of a mapping, and the next sibling */
    int count;
    const char *key; /* under which this value stands in its mapping */
    int key_line, key_column;
};

struct reader {
    struct arena *arena;
    const char *path, *text;
    size_t length;
    yaml_parser_t yaml;
    int nodes;
    struct err *err;
};

static bool located(struct err *err, const char *path, int line, int column)
{
    return err_in(err, "%s:%d:%d", path, line, column);
}

static bool mark_fail(struct reader *reader, yaml_mark_t mark, const char *what, const char *hint)
{
    err_set(reader->err, ERR_USER, "%s", what);
    if (hint != NULL) {
        err_hint(reader->err, "%s", hint);
    }
    return located(reader->err, reader->path, (int)mark.line + 1, (int)mark.column + 1);
}

/* A byte that libyaml's reader refuses comes with an offset and no line. */
static yaml_mark_t mark_of_offset(const struct reader *reader, size_t offset)
{
    yaml_mark_t mark = {0};

    for (size_t i = 0; i < offset && i < reader->length; i++) {
        mark.column = reader->text[i] == '\n' ? 0 : mark.column + 1;
        mark.line += reader->text[i] == '\n';
    }
    return mark;
}

static bool line_begins_with_tab(const struct reader *reader, size_t line)
{
    const char *at = reader->text, *end = reader->text + reader->length;

    while (line > 0 && at < end) {
        line -= *at++ == '\n';
    }
    while (at < end && *at == ' ') {
        at++;
    }
    return at < end && *at == '\t';
}

static bool yaml_fail(struct reader *reader)
{
    const yaml_parser_t *yaml = &reader->yaml;
    yaml_mark_t mark = yaml->problem_mark;
    const char *hint = "docs/evo-seed.5 shows a whole seed; strings with ': ' or '#' need quotes";
    char what[256];

    if (yaml->error == YAML_MEMORY_ERROR) {
        return err_set(reader->err, ERR_SYSTEM, "out of memory while reading '%s'", reader->path);
    }
    if (yaml->error == YAML_READER_ERROR) {
        mark = mark_of_offset(reader, yaml->problem_offset);
        hint = "a seed is plain UTF-8 text";
    } else if (line_begins_with_tab(reader, mark.line)) {
        hint = "indent with blanks, not with tabs";
    }
    snprintf(what, sizeof what, "not valid YAML: %s%s%s",
             yaml->problem != NULL ? yaml->problem : "unreadable", yaml->context != NULL ? " " : "",
             yaml->context != NULL ? yaml->context : "");
    return mark_fail(reader, mark, what, hint);
}

static bool next_event(struct reader *reader, yaml_event_t *event)
{
    return yaml_parser_parse(&reader->yaml, event) != 0 || yaml_fail(reader);
}

/* Whether the event uses something that seeds do without. */
static bool event_is_plain(struct reader *reader, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    yaml_mark_t mark = event->start_mark;

    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return mark_fail(reader, mark, "an alias ('*name') is not allowed in a seed",
                         "write the value out where it is needed");
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default: break;
    }
    if (anchor != NULL) {
        return mark_fail(reader, mark, "an anchor ('&name') is not allowed in a seed",
                         "write the value out where it is needed");
    }
    if (tag != NULL) {
        return mark_fail(reader, mark, "a tag ('!name') is not allowed in a seed",
                         "leave it out: each key knows the type of its value");
    }
    return true;
}

static struct node *node_new(struct reader *reader, enum node_kind kind, yaml_mark_t mark)
{
    struct node *node = arena_alloc(reader->arena, sizeof *node);

    node->kind = kind;
    node->line = (int)mark.line + 1;
    node->column = (int)mark.column + 1;
    reader->nodes++;
    return node;
}

/* One line of text: line ends of block scalars are folded, other control bytes refused. */
static bool read_text(struct reader *reader, const yaml_event_t *event, struct node **out)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    struct node *node = node_new(reader, NODE_TEXT, event->start_mark);
    char *text;

    if (length > TEXT_MAX) {
        return mark_fail(reader, event->start_mark, "a value of more than 4096 bytes", NULL);
    }
    text = arena_text(reader->arena, value, length);
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n') {
            text[i] = ' ';
        } else if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
            return mark_fail(reader, event->start_mark, "a value holds a control character",
                             "write plain text; a long one may go on in an indented next line");
        }
    }
    while (length > 0 && text[length - 1] == ' ') {
        text[--length] = '\0';
    }
    node->text = text;
    *out = node;
    return true;
}

static bool read_node(struct reader *reader, yaml_event_t *event, int depth, struct node **out);

static bool next_node(struct reader *reader, int depth, bool *end, struct node **out)
{
    yaml_event_t event;
    bool ok;

    if (!next_event(reader, &event)) {
        return false;
    }
    *end = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
    ok = *end || read_node(reader, &event, depth, out);
    yaml_event_delete(&event);
    return ok;
}

static bool key_is_new(struct reader *reader, const struct node *map, const struct node *key)
{
    for (const struct node *old = map->first; old != NULL; old = old->next) {
        if (strcmp(old->key, key->text) == 0) {
            err_set(reader->err, ERR_USER, "key '%s' stands here twice", key->text);
            err_hint(reader->err, "it was first given in line %d", old->key_line);
            return located(reader->err, reader->path, key->line, key->column);
        }
    }
    return true;
}

static bool read_key(struct reader *reader, const struct node *map, const struct node *key)
{
    if (key->kind != NODE_TEXT) {
        err_set(reader->err, ERR_USER, "a key is a word, not %s", kind_names[key->kind]);
        return located(reader->err, reader->path, key->line, key->column);
    }
    if (map->count == KEYS_MAX) {
        err_set(reader->err, ERR_USER, "more than %d keys in one mapping", KEYS_MAX);
        return located(reader->err, reader->path, key->line, key->column);
    }
    return key_is_new(reader, map, key);
}

static bool read_items(struct reader *reader, struct node *parent, int depth)
{
    struct node **tail = &parent->first;

    for (;;) {
        struct node *key = NULL, *item = NULL;
        bool end;

        if (parent->kind == NODE_MAP) {
            if (!next_node(reader, depth, &end, &key)) {
                return false;
            }
            if (end) {
                return true;
            }
            if (!read_key(reader, parent, key)) {
                return false;
            }
        }
        if (!next_node(reader, depth, &end, &item)) {
            return false;
        }
        if (end) {
            return true;
        }
        if (key != NULL) {
            item->key = key->text;
            item->key_line = key->line;
            item->key_column = key->column;
        }
        *tail = item;
        tail = &item->next;
        parent->count++;
    }
}

static bool read_node(struct reader *reader, yaml_event_t *event, int depth, struct node **out)
{
    if (!event_is_plain(reader, event)) {
        return false;
    }
    if (reader->nodes >= NODES_MAX) {
        return mark_fail(reader, event->start_mark, "more than 32768 values in one seed", NULL);
    }
    if (event->type == YAML_SCALAR_EVENT) {
        return read_text(reader, event, out);
    }
    if (depth >= SEED_DEPTH_MAX) {
        return mark_fail(reader, event->start_mark, "nested deeper than 32 levels",
                         "no key of a seed needs more than four");
    }
    *out = node_new(reader, event->type == YAML_MAPPING_START_EVENT ? NODE_MAP : NODE_LIST,
                    event->start_mark);
    return read_items(reader, *out, depth + 1);
}

/* libyaml compares each directive with all before it, which a hostile file can make last. */
static bool has_no_directives(struct reader *reader)
{
    for (size_t i = 0, line = 0; i < reader->length; i++) {
        if (reader->text[i] == '%' && (i == 0 || reader->text[i - 1] == '\n')) {
            yaml_mark_t mark = {.line = line};

            return mark_fail(reader, mark, "a line that begins with '%' is not allowed in a seed",
                             "leave out '%YAML' and '%TAG'; they change nothing here");
        }
        line += reader->text[i] == '\n';
    }
    return true;
}

/* Expects the event of this type and forgets it. */
static bool expect(struct reader *reader, yaml_event_type_t type, const char *otherwise)
{
    yaml_event_t event;
    bool ok = next_event(reader, &event);

    if (!ok) {
        return false;
    }
    if (event.type != type) {
        ok = mark_fail(reader, event.start_mark, otherwise, NULL);
    }
    yaml_event_delete(&event);
    return ok;
}

static bool read_document(struct reader *reader, struct node **root)
{
    bool end;

    return has_no_directives(reader) &&
           expect(reader, YAML_STREAM_START_EVENT, "not a YAML stream") &&
           expect(reader, YAML_DOCUMENT_START_EVENT, "the seed is empty") &&
           next_node(reader, 0, &end, root) &&
           expect(reader, YAML_DOCUMENT_END_EVENT, "more than one value at the top of the seed") &&
           expect(reader, YAML_STREAM_END_EVENT, "a second document begins here; a seed is one");
}

static bool read_tree(struct reader *reader, struct node **root)
{
    bool ok;

    if (yaml_parser_initialize(&reader->yaml) == 0) {
        return err_set(reader->err, ERR_SYSTEM, "out of memory while reading '%s'", reader->path);
    }
    yaml_parser_set_encoding(&reader->yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->yaml, (const unsigned char *)reader->text,
                                 reader->length);
    ok = read_document(reader, root);
    yaml_parser_delete(&reader->yaml);
    return ok;
}

/* ---- 2. the tree becomes a seed ----------------------------------------------------------- */

struct parse {
    struct arena *arena;
    struct seed *seed;
    struct err *err;
};

struct field;
typedef bool field_read(struct parse *parse, const struct node *node, const struct field *field);

struct field {
    const char *key;
    field_read *read;
    size_t offset;    /* of the member of struct seed it fills */
    double low, high; /* limits of numbers; durations in milliseconds */
    const struct field *fields;
    int field_count;
};

#define AT(member)   offsetof(struct seed, member)
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* Where a member lies; rows name members of the type that their reader writes. */
static void *member(const struct parse *parse, const struct field *field)
{
    return (char *)parse->seed + field->offset;
}

static bool node_fail(struct parse *parse, const struct node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool node_fail(struct parse *parse, const struct node *node, const char *format, ...)
{
    char what[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    err_set(parse->err, ERR_USER, "%s", what);
    return located(parse->err, parse->seed->path, node->line, node->column);
}

static bool node_is(struct parse *parse, const struct node *node, enum node_kind kind,
                    const char *name)
{
    if (node->kind != kind) {
        return node_fail(parse, node, "'%s' is %s; it must be %s", name, kind_names[node->kind],
                         kind_names[kind]);
    }
    if (kind == NODE_TEXT && node->text[0] == '\0') {
        node_fail(parse, node, "'%s' has no value", name);
        return err_hint(parse->err, "give it one, or leave the key out to have the default");
    }
    return true;
}

static bool text_is_word(const char *text)
{
    size_t length =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

    return length > 0 && text[length] == '\0' && length <= NAME_MAX_BYTES;
}

static bool read_word(struct parse *parse, const struct node *node, const struct field *field)
{
    if (!node_is(parse, node, NODE_TEXT, field->key)) {
        return false;
    }
    if (!text_is_word(node->text)) {
        return node_fail(parse, node,
                         "'%s' must be one word of letters, digits, '_', '.', '-', at most %d long",
                         field->key, NAME_MAX_BYTES);
    }
    *(const char **)member(parse, field) = node->text;
    return true;
}

static bool read_line(struct parse *parse, const struct node *node, const struct field *field)
{
    if (!node_is(parse, node, NODE_TEXT, field->key)) {
        return false;
    }
    *(const char **)member(parse, field) = node->text;
    return true;
}

static bool read_int64(struct parse *parse, const struct node *node, const struct field *field,
                       int64_t *value)
{
    if (!node_is(parse, node, NODE_TEXT, field->key)) {
        return false;
    }
    if (!str_to_i64(node->text, value) || (double)*value < field->low ||
        (double)*value > field->high) {
        return node_fail(parse, node, "'%s' must be a whole number from %.0f to %.0f, not '%.64s'",
                         field->key, field->low, field->high, node->text);
    }
    return true;
}

static bool read_int(struct parse *parse, const struct node *node, const struct field *field)
{
    int64_t value;

    if (!read_int64(parse, node, field, &value)) {
        return false;
    }
    *(int *)member(parse, field) = (int)value;
    return true;
}

static bool read_count(struct parse *parse, const struct node *node, const struct field *field)
{
    return read_int64(parse, node, field, member(parse, field));
}

static bool read_unsigned(struct parse *parse, const struct node *node, const struct field *field)
{
    int64_t value;

    if (!read_int64(parse, node, field, &value)) {
        return false;
    }
    *(uint64_t *)member(parse, field) = (uint64_t)value;
    return true;
}

static bool read_number(struct parse *parse, const struct node *node, const struct field *field)
{
    double value;

    if (!node_is(parse, node, NODE_TEXT, field->key)) {
        return false;
    }
    if (!str_to_f64(node->text, &value) || value < field->low || value > field->high) {
        return node_fail(parse, node, "'%s' must be a number from %g to %g, not '%.64s'",
                         field->key, field->low, field->high, node->text);
    }
    *(double *)member(parse, field) = value;
    return true;
}

static bool read_duration(struct parse *parse, const struct node *node, const struct field *field)
{
    int64_t ms;

    if (!node_is(parse, node, NODE_TEXT, field->key)) {
        return false;
    }
    if (!str_to_duration_ms(node->text, &ms)) {
        return node_fail(parse, node, "'%s' must be a time such as 90s, 10m or 2h, not '%.64s'",
                         field->key, node->text);
    }
    if ((double)ms < field->low || (double)ms > field->high) {
        return node_fail(parse, node, "'%s' must be from %g s to %g s, not '%.64s'", field->key,
                         field->low / 1000, field->high / 1000, node->text);
    }
    *(int64_t *)member(parse, field) = ms;
    return true;
}

/* One of a few words, by its index. */
static bool read_enum(struct parse *parse, const struct node *node, const char *key,
                      const char *const *words, int count, int *value)
{
    const char *list = "";

    if (!node_is(parse, node, NODE_TEXT, key)) {
        return false;
    }
    for (*value = 0; *value < count; ++*value) {
        if (strcmp(words[*value], node->text) == 0) {
            return true;
        }
    }
    for (int i = 0; i < count; i++) {
        list = arena_printf(parse->arena, "%s%s%s", list,
                            i == 0           ? ""
                            : i + 1 == count ? " or "
                                             : ", ",
                            words[i]);
    }
    return node_fail(parse, node, "'%s' must be %s, not '%.64s'", key, list, node->text);
}

static bool read_selection(struct parse *parse, const struct node *node, const struct field *field)
{
    static const char *const words[] = {"tournament", "rank"};
    int value;

    if (!read_enum(parse, node, field->key, words, COUNT(words), &value)) {
        return false;
    }
    parse->seed->selection = value == 0 ? SELECTION_TOURNAMENT : SELECTION_RANK;
    return true;
}

static bool read_strategy(struct parse *parse, const struct node *node, const struct field *field)
{
    int value;

    if (!read_enum(parse, node, field->key, strategy_names, STRATEGY_COUNT, &value)) {
        return false;
    }
    parse->seed->strategy = (enum seed_strategy)value;
    return true;
}

static bool read_end(struct parse *parse, const struct node *node, const struct field *field)
{
    static const char *const words[] = {"settled", "budget"};
    int value;

    if (!read_enum(parse, node, field->key, words, COUNT(words), &value)) {
        return false;
    }
    parse->seed->ends_settled = value == 0;
    return true;
}

/* A list, or one value that stands for a list of one. */
static bool list_of(struct parse *parse, const struct node *node, const char *key, int limit,
                    const struct node **first)
{
    if (node->kind == NODE_MAP) {
        return node_fail(parse, node, "'%s' is %s; it must be a list", key, kind_names[node->kind]);
    }
    if (node->kind == NODE_TEXT) {
        *first = node;
        return node_is(parse, node, NODE_TEXT, key);
    }
    if (node->count == 0) {
        return node_fail(parse, node, "'%s' is an empty list", key);
    }
    if (node->count > limit) {
        return node_fail(parse, node, "'%s' has %d items; at most %d are allowed", key, node->count,
                         limit);
    }
    *first = node->first;
    return true;
}

/* The next item of what list_of began: a lone value has siblings that are none of the list's. */
static const struct node *item_after(const struct node *list, const struct node *item)
{
    return list->kind == NODE_LIST ? item->next : NULL;
}

static bool read_shapes(struct parse *parse, const struct node *node, const char *key,
                        struct problem problems[SEED_PROBLEMS_MAX], int *count)
{
    const struct node *item;

    if (!list_of(parse, node, key, SEED_PROBLEMS_MAX, &item)) {
        return false;
    }
    for (; item != NULL; item = item_after(node, item)) {
        struct problem *problem = &problems[*count];

        if (!node_is(parse, item, NODE_TEXT, "shape")) {
            return false;
        }
        if (!problem_parse(item->text, problem, parse->err)) {
            return located(parse->err, parse->seed->path, item->line, item->column);
        }
        for (int i = 0; i < *count; i++) {
            if (problem_equal(&problems[i], problem)) {
                return node_fail(parse, item, "shape '%s' stands here twice", item->text);
            }
        }
        ++*count;
    }
    return true;
}

static bool read_workload(struct parse *parse, const struct node *node, const struct field *field)
{
    struct seed *seed = parse->seed;

    return read_shapes(parse, node, field->key, seed->problems, &seed->problem_count);
}

static bool read_emu_shapes(struct parse *parse, const struct node *node, const struct field *field)
{
    struct seed *seed = parse->seed;

    return read_shapes(parse, node, field->key, seed->emu_problems, &seed->emu_problem_count);
}

static bool read_restriction(struct parse *parse, const struct node *gene, int family)
{
    struct seed *seed = parse->seed;
    struct seed_restriction *restriction;
    const struct node *item;
    const char **values;
    int count = 0;

    if (!text_is_word(gene->key)) {
        return node_fail(parse, gene, "'%.64s' is not the name of a gene", gene->key);
    }
    if (seed->restriction_count == SEED_RESTRICTIONS_MAX) {
        return node_fail(parse, gene, "more than %d genes are restricted", SEED_RESTRICTIONS_MAX);
    }
    if (!list_of(parse, gene, gene->key, GENE_VALUES_MAX, &item)) {
        return false;
    }
    values = arena_alloc(parse->arena, GENE_VALUES_MAX * sizeof *values);
    for (; item != NULL; item = item_after(gene, item)) {
        if (!node_is(parse, item, NODE_TEXT, gene->key)) {
            return false;
        }
        for (int i = 0; i < count; i++) {
            if (strcmp(values[i], item->text) == 0) {
                return node_fail(parse, item, "value '%.64s' of '%s' stands here twice", item->text,
                                 gene->key);
            }
        }
        values[count++] = item->text;
    }
    restriction = &seed->restrictions[seed->restriction_count++];
    *restriction = (struct seed_restriction){.family = family,
                                             .gene = gene->key,
                                             .values = values,
                                             .count = count,
                                             .line = gene->key_line,
                                             .column = gene->key_column};
    return true;
}

/* The value behind a family's name: {genes: {GENE: [values]}}. */
static bool read_family_options(struct parse *parse, const struct node *options, int family)
{
    if (!node_is(parse, options, NODE_MAP, options->key)) {
        return err_hint(parse->err, "write '- %s: {genes: {GENE: [values]}}'", options->key);
    }
    for (const struct node *option = options->first; option != NULL; option = option->next) {
        if (strcmp(option->key, "genes") != 0) {
            err_set(parse->err, ERR_USER, "unknown key '%.64s' of a family", option->key);
            err_hint(parse->err, "the keys of a family are genes");
            return located(parse->err, parse->seed->path, option->key_line, option->key_column);
        }
        if (!node_is(parse, option, NODE_MAP, "genes")) {
            return false;
        }
        for (const struct node *gene = option->first; gene != NULL; gene = gene->next) {
            if (!read_restriction(parse, gene, family)) {
                return false;
            }
        }
    }
    return true;
}

static bool read_family(struct parse *parse, const struct node *item)
{
    struct seed *seed = parse->seed;
    const struct node *options = item->kind == NODE_MAP ? item->first : NULL;
    const char *name = options != NULL ? options->key : item->text;
    int family = seed->family_count;

    if (item->kind == NODE_LIST || (item->kind == NODE_MAP && item->count != 1)) {
        node_fail(parse, item, "a family is a name, or one name with its options");
        return err_hint(parse->err, "write '- NAME' or '- NAME: {genes: {GENE: [values]}}'");
    }
    if (!text_is_word(name)) {
        return node_fail(parse, item, "'%.64s' is not the name of a family", name);
    }
    for (int i = 0; i < family; i++) {
        if (strcmp(seed->families[i].name, name) == 0) {
            return node_fail(parse, item, "family '%s' stands here twice", name);
        }
    }
    seed->families[family].name = name;
    seed->families[family].line = item->line;
    seed->families[family].column = item->column;
    seed->family_count++;
    return options == NULL || read_family_options(parse, options, family);
}

static bool read_families(struct parse *parse, const struct node *node, const struct field *field)
{
    const struct node *item;

    if (!list_of(parse, node, field->key, SEED_FAMILIES_MAX, &item)) {
        return false;
    }
    for (; item != NULL; item = item_after(node, item)) {
        if (!read_family(parse, item)) {
            return false;
        }
    }
    return true;
}

static bool read_founders(struct parse *parse, const struct node *node, const struct field *field)
{
    struct seed *seed = parse->seed;
    const struct node *item;

    if (!list_of(parse, node, field->key, SEED_FOUNDERS_MAX, &item)) {
        return false;
    }
    for (; item != NULL; item = item_after(node, item)) {
        if (item->kind != NODE_TEXT) {
            node_fail(parse, item, "a founder is one line of text");
            return err_hint(parse->err, "write '- FAMILY GENE=VALUE GENE=VALUE'");
        }
        if (!node_is(parse, item, NODE_TEXT, "founder")) {
            return false;
        }
        seed->founders[seed->founder_count].text = item->text;
        seed->founders[seed->founder_count].line = item->line;
        seed->founders[seed->founder_count].column = item->column;
        seed->founder_count++;
    }
    return true;
}

static bool read_numerics(struct parse *parse, const struct node *node, const struct field *field)
{
    static const char *const words[] = {"fp32", "fp16"};
    const struct node *item;

    if (!list_of(parse, node, field->key, COUNT(words), &item)) {
        return false;
    }
    parse->seed->numerics[0] = parse->seed->numerics[1] = false;
    for (; item != NULL; item = item_after(node, item)) {
        int value;

        if (!read_enum(parse, item, field->key, words, COUNT(words), &value)) {
            return false;
        }
        parse->seed->numerics[value] = true;
    }
    return true;
}

bool seed_is_file(const char *rival)
{
    size_t length = strlen(rival);

    return strchr(rival, '/') != NULL || (length > 3 && strcmp(rival + length - 3, ".cu") == 0);
}

static bool read_rivals(struct parse *parse, const struct node *node, const struct field *field)
{
    struct seed *seed = parse->seed;
    const struct node *item;

    if (!list_of(parse, node, field->key, SEED_RIVALS_MAX, &item)) {
        return false;
    }
    for (; item != NULL; item = item_after(node, item)) {
        if (!node_is(parse, item, NODE_TEXT, "rival")) {
            return false;
        }
        if (!rival_is_named(item->text) && !torch_is(item->text) && !seed_is_file(item->text)) {
            node_fail(parse, item, "'%.64s' is no rival", item->text);
            return err_hint(parse->err, "known are cudnn, cublas, torch, torch-flash, torch-cudnn, "
                                        "torch-efficient, torch-math, and exported kernels by "
                                        "their files, as best.cu");
        }
        for (int i = 0; i < seed->rival_count; i++) {
            if (strcmp(seed->rivals[i], item->text) == 0) {
                return node_fail(parse, item, "rival '%s' stands here twice", item->text);
            }
        }
        seed->rival_at[seed->rival_count].line = item->line;
        seed->rival_at[seed->rival_count].column = item->column;
        seed->rivals[seed->rival_count++] = item->text;
    }
    return true;
}

/*
 * auto, emu[:CHIP], cuda:N, replay:FILE. Relative paths are the engine's to resolve: it knows who
 * gave them.
 */
static bool device_is_known(const char *text)
{
    int64_t index;

    if (str_starts(text, "cuda:")) {
        return str_to_i64(text + strlen("cuda:"), &index) && index >= 0 && index < 1024;
    }
    if (str_starts(text, "replay:")) {
        return text[strlen("replay:")] != '\0' && strchr(text, ',') == NULL;
    }
    return strcmp(text, "auto") == 0 || strcmp(text, "emu") == 0 ||
           (str_starts(text, "emu:") && text[strlen("emu:")] != '\0' && strchr(text, ',') == NULL);
}

static bool read_device(struct parse *parse, const struct node *node, const struct field *field)
{
    struct buf joined = {0};
    const struct node *item;
    bool ok = false;

    if (!list_of(parse, node, field->key, SEED_JUDGES_MAX, &item)) {
        return false;
    }
    for (; item != NULL; item = item_after(node, item)) {
        if (!node_is(parse, item, NODE_TEXT, field->key)) {
            goto out;
        }
        if (!device_is_known(item->text)) {
            node_fail(parse, item, "unknown device '%.64s'", item->text);
            err_hint(parse->err, "a device is auto, cuda:N, emu or replay:FILE");
            goto out;
        }
        buf_printf(&joined, "%s%s", joined.length > 0 ? "," : "", item->text);
    }
    parse->seed->device = arena_dup(parse->arena, joined.data);
    ok = true;
out:
    buf_free(&joined);
    return ok;
}

static bool read_judges(struct parse *parse, const struct node *node, const struct field *field)
{
    struct seed *seed = parse->seed;
    const struct node *item;
    struct err bad;

    if (!list_of(parse, node, field->key, SEED_JUDGES_MAX, &item)) {
        return false;
    }
    for (; item != NULL; item = item_after(node, item)) {
        if (!node_is(parse, item, NODE_TEXT, field->key)) {
            return false;
        }
        if (strlen(item->text) > COMMAND_MAX) {
            return node_fail(parse, item, "a command line of more than %d bytes", COMMAND_MAX);
        }
        if (str_words(parse->arena, item->text, FLEET_ARGUMENTS_MAX, &bad) == NULL) {
            return node_fail(parse, item, "%s", bad.what);
        }
        seed->judges[seed->judge_count++] = item->text;
    }
    return true;
}

static bool read_arch(struct parse *parse, const struct node *node, const struct field *field)
{
    size_t digits;

    if (!node_is(parse, node, NODE_TEXT, field->key)) {
        return false;
    }
    digits = str_starts(node->text, "sm_") ? strspn(node->text + 3, "0123456789") : 0;
    if (digits < 2 || digits > 3 ||
        (node->text[3 + digits] != '\0' && strcmp(node->text + 3 + digits, "a") != 0)) {
        node_fail(parse, node, "'%s' must be an architecture such as sm_90a, not '%.64s'",
                  field->key, node->text);
        return err_hint(parse->err, "leave it out to compile for the device that judges");
    }
    parse->seed->arch = node->text;
    return true;
}

static const struct field *field_find(const struct field *fields, int count, const char *key)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(fields[i].key, key) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

static bool unknown_key(struct parse *parse, const struct node *value, const char *where,
                        const struct field *fields, int count)
{
    struct buf list = {0};

    for (int i = 0; i < count; i++) {
        buf_printf(&list, " %s", fields[i].key);
    }
    err_set(parse->err, ERR_USER, "unknown key '%.64s'%s%s%s", value->key,
            where != NULL ? " in '" : "", where != NULL ? where : "", where != NULL ? "'" : "");
    err_hint(parse->err, "the keys %s%s are%s (see evo-seed(5))", where != NULL ? "of " : "of a ",
             where != NULL ? where : "seed", list.data);
    buf_free(&list);
    return located(parse->err, parse->seed->path, value->key_line, value->key_column);
}

/* `where` names the mapping; NULL: the whole seed. */
static bool read_fields(struct parse *parse, const struct node *map, const char *where,
                        const struct field *fields, int count)
{
    if (map->kind != NODE_MAP) {
        return node_fail(parse, map, "%s is %s; it must be %s", where != NULL ? where : "a seed",
                         kind_names[map->kind], kind_names[NODE_MAP]);
    }
    for (const struct node *value = map->first; value != NULL; value = value->next) {
        const struct field *field = field_find(fields, count, value->key);

        if (field == NULL) {
            return unknown_key(parse, value, where, fields, count);
        }
        if (!field->read(parse, value, field)) {
            return false;
        }
    }
    return true;
}

static bool read_section(struct parse *parse, const struct node *node, const struct field *field)
{
    return read_fields(parse, node, field->key, field->fields, field->field_count);
}

static const struct field population_fields[] = {
    {"islands", read_int, AT(islands), 1, SEED_ISLANDS_MAX, NULL, 0},
    {"elites", read_int, AT(elites), 1, POPULATION_ELITES_MAX, NULL, 0},
    {"selection", read_selection, 0, 0, 0, NULL, 0},
    {"tournament", read_int, AT(tournament), 1, 64, NULL, 0},
    {"migration", read_number, AT(migration), 0, 1, NULL, 0},
};

static const struct field operator_fields[] = {
    {"step", read_number, AT(weights[OPERATOR_STEP]), 0, 1e6, NULL, 0},
    {"multi", read_number, AT(weights[OPERATOR_MULTI]), 0, 1e6, NULL, 0},
    {"crossover", read_number, AT(weights[OPERATOR_CROSSOVER]), 0, 1e6, NULL, 0},
    {"immigrant", read_number, AT(weights[OPERATOR_IMMIGRANT]), 0, 1e6, NULL, 0},
    {"jump", read_number, AT(weights[OPERATOR_JUMP]), 0, 1e6, NULL, 0},
};

static const struct field search_fields[] = {
    {"strategy", read_strategy, 0, 0, 0, NULL, 0},
    {"seed", read_unsigned, AT(rng_seed), 0, 9007199254740992.0, NULL, 0},
    {"lag", read_int, AT(lag), 1, SEED_LAG_MAX, NULL, 0},
    {"end", read_end, 0, 0, 0, NULL, 0},
};

#define DAYS_MS (24.0 * 3600 * 1000)

static const struct field budget_fields[] = {
    {"evaluations", read_count, AT(budget_evaluations), 1, 1e9, NULL, 0},
    {"wall", read_duration, AT(budget_wall_ms), 1000, 365 * DAYS_MS, NULL, 0},
    {"device", read_duration, AT(budget_device_ms), 1000, 365 * DAYS_MS, NULL, 0},
};

static const struct field worker_fields[] = {
    {"device", read_device, 0, 0, 0, NULL, 0},
    {"judges", read_judges, 0, 0, 0, NULL, 0},
    {"compile", read_int, AT(compile_workers), 0, COMPILERS_MAX, NULL, 0},
    {"arch", read_arch, 0, 0, 0, NULL, 0},
    {"compile_deadline", read_duration, AT(compile_deadline_ms), 1000, 3600e3, NULL, 0},
    {"judge_deadline", read_duration, AT(judge_deadline_ms), 1000, 3600e3, NULL, 0},
};

static const struct field gate_fields[] = {
    {"cases", read_int, AT(gate_cases), GATE_CASES_MIN, 32, NULL, 0},
    {"emu_shapes", read_emu_shapes, 0, 0, 0, NULL, 0},
};

static const struct field seed_fields[] = {
    {"name", read_word, AT(name), 0, 0, NULL, 0},
    {"about", read_line, AT(about), 0, 0, NULL, 0},
    {"workload", read_workload, 0, 0, 0, NULL, 0},
    {"families", read_families, 0, 0, 0, NULL, 0},
    {"founders", read_founders, 0, 0, 0, NULL, 0},
    {"numerics", read_numerics, 0, 0, 0, NULL, 0},
    {"rivals", read_rivals, 0, 0, 0, NULL, 0},
    {"population", read_section, 0, 0, 0, population_fields, COUNT(population_fields)},
    {"operators", read_section, 0, 0, 0, operator_fields, COUNT(operator_fields)},
    {"search", read_section, 0, 0, 0, search_fields, COUNT(search_fields)},
    {"budget", read_section, 0, 0, 0, budget_fields, COUNT(budget_fields)},
    {"workers", read_section, 0, 0, 0, worker_fields, COUNT(worker_fields)},
    {"gate", read_section, 0, 0, 0, gate_fields, COUNT(gate_fields)},
    {"templates", read_line, AT(templates), 0, 0, NULL, 0},
};

/* ---- 3. the whole ------------------------------------------------------------------------- */

static void seed_defaults(struct arena *arena, const char *path, const char *text, size_t length,
                          struct seed *seed)
{
    *seed = (struct seed){
        .path = arena_dup(arena, path),
        .about = "",
        .text = arena_text(arena, text, length),
        .text_bytes = length,
        .numerics = {true, false},
        .islands = search_defaults.islands,
        .elites = search_defaults.elites,
        .selection = search_defaults.selection,
        .tournament = search_defaults.tournament,
        .migration = search_defaults.migration,
        .strategy = search_defaults.strategy,
        .rng_seed = search_defaults.rng_seed,
        .lag = 32,
        .ends_settled = true,
        .device = "auto",
        .compile_deadline_ms = 60 * 1000,
        .judge_deadline_ms = 120 * 1000,
        .gate_cases = GATE_CASES_MIN,
    };
    memcpy(seed->weights, search_defaults.weights, sizeof seed->weights);
}

/* "seeds/phase4.yaml" is called phase4 unless it says otherwise. */
static const char *name_of_path(struct arena *arena, const char *path)
{
    const char *base = strrchr(path, '/');
    char *name;
    size_t length;

    base = base != NULL ? base + 1 : path;
    length = strcspn(base, ".");
    name = arena_text(arena, base, length < NAME_MAX_BYTES ? length : NAME_MAX_BYTES);
    return text_is_word(name) ? name : "seed";
}

static const struct node *node_of(const struct node *root, const char *section, const char *key)
{
    const struct node *at = root;

    for (const char *name = section; name != NULL; name = name == section ? key : NULL) {
        const struct node *value = at->kind == NODE_MAP ? at->first : NULL;

        while (value != NULL && strcmp(value->key, name) != 0) {
            value = value->next;
        }
        if (value == NULL) {
            return at;
        }
        at = value;
    }
    return at;
}

static bool check_images(struct parse *parse, const struct node *root)
{
    const struct seed *seed = parse->seed;
    int images = 0;

    for (int i = 0; i < seed->problem_count; i++) {
        bool seen = false;

        for (int j = 0; j < i; j++) {
            seen = seen || problem_same_static(&seed->problems[i], &seed->problems[j]);
        }
        images += !seen;
    }
    if (images > JOB_IMAGES_MAX) {
        node_fail(parse, node_of(root, "workload", NULL),
                  "the workload needs %d programs for each candidate; at most %d are allowed",
                  images, JOB_IMAGES_MAX);
        return err_hint(parse->err, "shapes share a program when head dimension, type, causal "
                                    "and lse are equal; put the others into a seed of their own");
    }
    return true;
}

/* A shape is judged with the program of one that it shares all compile-time constants with. */
static bool check_emu_shapes(struct parse *parse, const struct node *root)
{
    const struct seed *seed = parse->seed;

    for (int i = 0; i < seed->emu_problem_count; i++) {
        char text[PROBLEM_TEXT_MAX];
        bool found = false;

        for (int j = 0; j < seed->problem_count; j++) {
            found = found || problem_same_static(&seed->emu_problems[i], &seed->problems[j]);
        }
        if (!found) {
            problem_text(&seed->emu_problems[i], text);
            node_fail(parse, node_of(root, "gate", "emu_shapes"),
                      "shape '%s' shares no program with a shape of the workload", text);
            return err_hint(parse->err, "its head dimension, type, causal and lse must be those of "
                                        "a shape under 'workload'");
        }
    }
    return true;
}

static bool check_whole(struct parse *parse, const struct node *root)
{
    static const char *const required[] = {"workload", "families"};
    const struct seed *seed = parse->seed;
    double weights = 0;

    for (int i = 0; i < COUNT(required); i++) {
        if (node_of(root, required[i], NULL) == root) {
            node_fail(parse, root, "the seed has no '%s'", required[i]);
            return err_hint(parse->err, i == 0 ? "say which shapes to search for: "
                                                 "'workload: [1x8x512x64]'"
                                               : "say which templates to breed: "
                                                 "'families: [attention_tiled]'");
        }
    }
    for (int i = 0; i < OPERATOR_DRAWN; i++) {
        weights += seed->weights[i];
    }
    if (weights <= 0) {
        node_fail(parse, node_of(root, "operators", NULL), "every operator has weight 0");
        return err_hint(parse->err, "something must breed: give one a weight above 0");
    }
    return check_images(parse, root) && check_emu_shapes(parse, root);
}

bool seed_parse(struct arena *arena, const char *path, const char *text, size_t length,
                struct seed *seed, struct err *err)
{
    struct reader reader = {
        .arena = arena, .path = path, .text = text, .length = length, .err = err};
    struct parse parse = {.arena = arena, .seed = seed, .err = err};
    struct node *root = NULL;

    if (length > SEED_BYTES_MAX) {
        return err_set(err, ERR_USER, "'%s' is larger than %d bytes", path, SEED_BYTES_MAX);
    }
    seed_defaults(arena, path, text, length, seed);
    if (!read_tree(&reader, &root) ||
        !read_fields(&parse, root, NULL, seed_fields, COUNT(seed_fields)) ||
        !check_whole(&parse, root)) {
        return err->hint[0] != '\0'
                   ? false
                   : err_hint(err, "evo-seed(5) tells every key, its values and its default");
    }
    if (seed->name == NULL) {
        seed->name = name_of_path(arena, path);
    }
    return true;
}

bool seed_load(struct arena *arena, const char *path, struct seed *seed, struct err *err)
{
    struct buf text = {0};
    bool ok;

    if (access(path, F_OK) != 0 && errno == ENOENT) {
        err_set(err, ERR_USER, "there is no seed '%s'", path);
        return err_hint(err, "evo comes with phaseD, phase1, phase4, phase5 and smoke: "
                             "'seeds/phase4.yaml'");
    }
    ok = file_read(path, SEED_BYTES_MAX, &text, err) &&
         seed_parse(arena, path, text.data, text.length, seed, err);
    buf_free(&text);
    return ok;
}

/* ---- families and founders ---------------------------------------------------------------- */

static bool load_family(struct arena *arena, const struct seed *seed, int index,
                        const struct template_set *set, const struct space *space,
                        struct family **family, struct err *err)
{
    const char *name = seed->families[index].name;
    bool recorded = strcmp(name, "replay") == 0;

    if (recorded && space == NULL) {
        err_set(err, ERR_USER, "family 'replay' needs a recorded space to come from");
        err_hint(err, "name one: 'workers: {device: replay:FILE}' or --device replay:FILE");
    } else if (recorded) {
        if (family_of_space(arena, space, family, err)) {
            return true;
        }
    } else if (template_set_family(set, name, family, err)) {
        return true;
    } else if (template_set_find(set, arena_printf(arena, "%s.cu", name)) != NULL) {
        return false; /* the mistake is in the template, and located there */
    }
    return located(err, seed->path, seed->families[index].line, seed->families[index].column);
}

static bool restrict_family(struct arena *arena, const struct seed *seed, int index,
                            struct family **family, struct err *err)
{
    for (int i = 0; i < seed->restriction_count; i++) {
        const struct seed_restriction *restriction = &seed->restrictions[i];

        if (restriction->family == index &&
            !family_restrict(arena, *family, restriction->gene, restriction->values,
                             restriction->count, family, err)) {
            return located(err, seed->path, restriction->line, restriction->column);
        }
    }
    return true;
}

static bool parse_founder(struct arena *arena, const struct seed *seed, const char *text,
                          struct family *const *families, struct genome *founder, struct err *err)
{
    size_t length = strcspn(text, " ");
    const char *name = arena_text(arena, text, length);
    struct buf list = {0};

    for (int i = 0; i < seed->family_count; i++) {
        if (strcmp(seed->families[i].name, name) == 0) {
            buf_free(&list);
            *founder = (struct genome){.family = (uint16_t)i};
            return genome_parse(families[i], text + length + strspn(text + length, " "), founder,
                                err);
        }
        buf_printf(&list, " %s", seed->families[i].name);
    }
    err_set(err, ERR_USER, "'%.64s' is none of the seed's families", name);
    err_hint(err, "a founder begins with its family's name; 'families' lists%s", list.data);
    buf_free(&list);
    return false;
}

static bool founder_is_new(const struct seed *seed, const struct genome *founders, int index,
                           struct err *err)
{
    for (int i = 0; i < index; i++) {
        if (memcmp(&founders[i], &founders[index], sizeof founders[i]) == 0) {
            err_set(err, ERR_USER, "this founder is the same genome as the one in line %d",
                    seed->founders[i].line);
            return err_hint(err, "genes that a founder does not name take their first value");
        }
    }
    return true;
}

bool seed_families(struct arena *arena, const struct seed *seed, const struct template_set *set,
                   const struct space *space, struct family **families, int *family_count,
                   struct genome *founders, struct err *err)
{
    for (int i = 0; i < seed->family_count; i++) {
        if (!load_family(arena, seed, i, set, space, &families[i], err) ||
            !restrict_family(arena, seed, i, &families[i], err)) {
            return false;
        }
    }
    for (int i = 0; i < seed->founder_count; i++) {
        if (!parse_founder(arena, seed, seed->founders[i].text, families, &founders[i], err) ||
            !founder_is_new(seed, founders, i, err)) {
            return located(err, seed->path, seed->founders[i].line, seed->founders[i].column);
        }
    }
    *family_count = seed->family_count;
    return true;
}
