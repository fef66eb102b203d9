#include "daemon/prune.h"

#include <ctype.h>
#include <string.h>

#include "base/arena.h"

/* A declaration or a directive, with the comments and blank lines above it. */
struct item {
    const char *begin, *code, *end; /* `code`: where the comments above it end */
    const char *name;               /* what it declares; NULL: it stays */
    size_t name_length;
    bool kept;
};

struct pruning {
    struct arena *arena;
    struct item *items;
    int count, room;
    bool included; /* the lines come from an included file */
};

/* ---- words of a text, past comments and quotes ---- */

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* The end of a comment or of something in quotes that begins here; `at` where neither does. */
static const char *skip_text(const char *at, const char *end)
{
    const char *stop;

    if (end - at >= 2 && at[0] == '/' && at[1] == '*') {
        stop = strstr(at + 2, "*/");
        return stop == NULL || stop + 2 > end ? end : stop + 2;
    }
    if (end - at >= 2 && at[0] == '/' && at[1] == '/') {
        stop = memchr(at, '\n', (size_t)(end - at));
        return stop == NULL ? end : stop;
    }
    if (*at == '"' || *at == '\'') {
        for (stop = at + 1; stop < end && *stop != *at; stop++) {
            stop += *stop == '\\' && stop + 1 < end;
        }
        return stop < end ? stop + 1 : end;
    }
    return at;
}

static const char *skip_word(const char *at, const char *end)
{
    while (at < end && is_word(*at)) {
        at++;
    }
    return at;
}

/* Blanks, line ends (also behind a backslash) and comments. */
static const char *skip_blank(const char *at, const char *end)
{
    for (;;) {
        const char *next = at;

        while (next < end &&
               (isspace((unsigned char)*next) || (*next == '\\' && next[1] == '\n'))) {
            next++;
        }
        if (next < end && *next == '/') {
            next = skip_text(next, end);
        }
        if (next == at) {
            return at;
        }
        at = next;
    }
}

static bool word_is(const char *word, size_t length, const char *text)
{
    return strlen(text) == length && memcmp(word, text, length) == 0;
}

/* ---- items ---- */

/* The end of the line, of several where a backslash joins them. */
static const char *line_end(const char *at)
{
    for (;;) {
        const char *end = at + strcspn(at, "\n");

        if (*end == '\0') {
            return end;
        }
        if (end == at || end[-1] != '\\') {
            return end + 1;
        }
        at = end + 1;
    }
}

/* Past a declaration: up to a ';' outside of all brackets, or past a body that none follows. */
static const char *declaration_end(const char *at)
{
    const char *const end = at + strlen(at);
    bool braces = false, is_type = false;
    int depth = 0;

    while (at < end) {
        const char *next = skip_text(at, end);
        const char c = *at;

        if (next > at) {
            at = next;
            continue;
        }
        if (isalpha((unsigned char)c) || c == '_') {
            next = skip_word(at, end);
            is_type |= depth == 0 && !braces &&
                       (word_is(at, (size_t)(next - at), "struct") ||
                        word_is(at, (size_t)(next - at), "enum") ||
                        word_is(at, (size_t)(next - at), "union"));
            at = next;
            continue;
        }
        at++;
        if (c == '\n' && strncmp(at, "#line", 5) == 0) {
            return at; /* nothing goes on in another file */
        }
        depth += c == '{' || c == '(' || c == '[';
        depth -= c == '}' || c == ')' || c == ']';
        braces |= c == '{';
        if (depth == 0 && (c == ';' || (c == '}' && !(is_type && *skip_blank(at, end) == ';')))) {
            break;
        }
        if (depth == 0 && c == ')' && !braces) { /* a macro's call may stand alone on its line */
            next = at + strspn(at, " \t");
            if (*next == '\n' && !isspace((unsigned char)next[1]) && next[1] != '{') {
                break;
            }
        }
    }
    const char *rest = at + strspn(at, " \t");
    return *rest == '\n' || *rest == '/' ? line_end(at) : at;
}

/* Past a list in angle brackets. */
static const char *skip_angles(const char *at, const char *end)
{
    int depth = 0;

    for (; at < end; at++) {
        depth += *at == '<';
        depth -= *at == '>';
        if (depth == 0) {
            return at + 1;
        }
    }
    return end;
}

/* Past "template <…>". */
static const char *skip_template(const char *at, const char *end)
{
    while (end - at > 8 && strncmp(at, "template", 8) == 0 && !is_word(at[8])) {
        at = skip_blank(skip_angles(skip_blank(at + 8, end), end), end);
    }
    return at;
}

/* Attributes and operators are not what they stand before. */
static void name_set(struct item *item, const char *word, size_t length)
{
    if ((length < 2 || word[0] != '_' || word[1] != '_') && !word_is(word, length, "operator")) {
        item->name = word;
        item->name_length = length;
    }
}

/* What a declaration is called; it stays (NULL) where that is not plain to see. */
static void item_name(struct item *item)
{
    const char *const end = item->end, *at = skip_template(item->code, end), *word = at;
    size_t length = 0;
    int words = 0;

    while (at < end) {
        if (is_word(*at)) {
            const bool type = word_is(word, length, "struct") || word_is(word, length, "using");

            word = at;
            at = skip_word(at, end);
            length = (size_t)(at - word);
            words++;
            if (type) { /* alignas(…) is none */
                if (*skip_blank(at, end) != '(') {
                    name_set(item, word, length);
                }
                return;
            }
        } else if (*at == '<') { /* a type's arguments, or a specialised function's */
            at = skip_angles(at, end);
        } else if (*at == '(') { /* the word before it is a function's name, or a macro's */
            if (words > 1) {
                name_set(item, word, length);
            }
            return;
        } else if (*at == '*' || *at == '&') {
            at++;
        } else {
            return;
        }
        at = skip_blank(at, end);
    }
}

/* "#define NAME" and "#undef NAME" go with who uses NAME; other directives stay. */
static void directive_name(struct item *item)
{
    const char *at = item->code + 1;

    at += strspn(at, " \t");
    if (strncmp(at, "define ", 7) == 0 || strncmp(at, "undef ", 6) == 0) {
        at = skip_blank(skip_word(at, item->end), item->end);
        item->name = at;
        item->name_length = (size_t)(skip_word(at, item->end) - at);
    }
}

static void item_add(struct pruning *pruning, const struct item *item)
{
    if (pruning->count == pruning->room) {
        const int room = pruning->room == 0 ? 256 : 2 * pruning->room;
        struct item *items = arena_alloc(pruning->arena, (size_t)room * sizeof *items);

        if (pruning->count > 0) {
            memcpy(items, pruning->items, (size_t)pruning->count * sizeof *items);
        }
        pruning->items = items;
        pruning->room = room;
    }
    pruning->items[pruning->count++] = *item;
}

/* "#line 12 "include/x.cuh"": whether what follows is of an included file. */
static bool line_of_include(const char *at, const char *end)
{
    return end - at > 7 && memcmp(end - 6, ".cuh\"\n", 6) == 0;
}

static void source_cut(struct pruning *pruning, const char *source)
{
    const char *const end = source + strlen(source);

    for (const char *at = source; at < end;) {
        struct item item = {.begin = at, .code = skip_blank(at, end)};

        if (item.code == end) {
            item.end = end;
        } else if (strncmp(item.code, "#line", 5) == 0) {
            pruning->included = line_of_include(item.code, line_end(item.code));
            if (item.code > at) { /* comments above it are nobody's */
                item.end = item.code;
                item_add(pruning, &item);
            }
            at = line_end(item.code);
            continue;
        } else if (*item.code == '#') {
            item.end = line_end(item.code);
            directive_name(&item);
        } else {
            item.end = declaration_end(item.code);
            item_name(&item);
        }
        if (!pruning->included) {
            item.name = NULL;
        }
        item_add(pruning, &item);
        at = item.end;
    }
}

/* ---- who is named ---- */

/* `pasted`: the name goes on with what a macro is given. */
static bool item_is(const struct item *item, const char *word, size_t length, bool pasted)
{
    return item->name != NULL &&
           (pasted ? item->name_length > length : item->name_length == length) &&
           memcmp(item->name, word, length) == 0;
}

/* Every word of an item that stays keeps what is called so. Words in quotes are no names. */
static void item_keep(struct pruning *pruning, int index, int *queue, int *waiting)
{
    const struct item *item = &pruning->items[index];

    for (const char *at = item->code; at < item->end;) {
        const char *next = skip_text(at, item->end);

        if (next == at && is_word(*at)) {
            next = skip_word(at, item->end);
            const bool pasted = item->end - next > 2 && next[0] == '#' && next[1] == '#';
            for (int i = 0; i < pruning->count; i++) {
                if (!pruning->items[i].kept &&
                    item_is(&pruning->items[i], at, (size_t)(next - at), pasted)) {
                    pruning->items[i].kept = true;
                    queue[(*waiting)++] = i;
                }
            }
        }
        at = next > at ? next : at + 1;
    }
}

void prune_source(const char *source, struct buf *out)
{
    struct pruning pruning = {.arena = arena_new()};
    int waiting = 0;

    source_cut(&pruning, source);
    int *queue = arena_alloc(pruning.arena, ((size_t)pruning.count + 1) * sizeof *queue);
    for (int i = 0; i < pruning.count; i++) {
        if (pruning.items[i].name == NULL) {
            pruning.items[i].kept = true;
            queue[waiting++] = i;
        }
    }
    while (waiting > 0) {
        const int next = queue[--waiting];
        item_keep(&pruning, next, queue, &waiting);
    }
    for (int i = 0; i < pruning.count; i++) {
        const struct item *item = &pruning.items[i];

        if (item->kept) {
            buf_add(out, item->begin, (size_t)(item->end - item->begin));
        }
    }
    arena_free(pruning.arena);
}
