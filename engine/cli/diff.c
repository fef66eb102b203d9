/*
 * diff.c -- the longest common subsequence of lines by the textbook table, over what is left when
 * equal beginnings and ends are taken off. Sources have some hundred lines, so the table is small;
 * where it would not be, the middle is shown as wholly replaced.
 */
#include "cli/diff.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "cli/text.h"

enum {
    TABLE_CELLS_MAX = 16 << 20, /* of 4 bytes */
    CONTEXT = 3,
};

struct lines {
    const char **at;
    int *lengths;
    int count;
};

static struct lines split(const char *text)
{
    struct lines lines = {0};
    int room = 0;

    while (*text != '\0') {
        int length = (int)strcspn(text, "\n");

        if (lines.count == room) {
            room = room == 0 ? 256 : 2 * room;
            lines.at = xrealloc(lines.at, (size_t)room * sizeof *lines.at);
            lines.lengths = xrealloc(lines.lengths, (size_t)room * sizeof *lines.lengths);
        }
        lines.at[lines.count] = text;
        lines.lengths[lines.count++] = length;
        text += length;
        text += *text == '\n';
    }
    return lines;
}

static void lines_free(struct lines *lines)
{
    free(lines->at);
    free(lines->lengths);
}

static bool same(const struct lines *a, int i, const struct lines *b, int j)
{
    return a->lengths[i] == b->lengths[j] && memcmp(a->at[i], b->at[j], (size_t)a->lengths[i]) == 0;
}

/* One line of the result: from a ('-'), from b ('+'), or from both (' '). */
struct edit {
    char kind;
    int a, b; /* the lines it stands at */
};

struct edits {
    struct edit *list;
    int count;
};

static void add(struct edits *edits, char kind, int *i, int *j)
{
    edits->list[edits->count++] = (struct edit){kind, *i, *j};
    *i += kind != '+';
    *j += kind != '-';
}

/* Walks the middle, rows i..a_end of a against j..b_end of b, by the table of LCS lengths. */
static void edit_middle(struct edits *edits, const struct lines *a, const struct lines *b, int i,
                        int a_end, int j, int b_end)
{
    size_t rows = (size_t)(a_end - i) + 1, columns = (size_t)(b_end - j) + 1;
    int a_begin = i, b_begin = j;
    uint32_t *table =
        rows * columns <= TABLE_CELLS_MAX ? xcalloc(rows * columns, sizeof *table) : NULL;

    for (size_t r = rows - 1; table != NULL && r-- > 0;) {
        for (size_t c = columns - 1; c-- > 0;) {
            uint32_t down = table[(r + 1) * columns + c], right = table[r * columns + c + 1];

            table[r * columns + c] = same(a, a_begin + (int)r, b, b_begin + (int)c)
                                         ? table[(r + 1) * columns + c + 1] + 1
                                     : down > right ? down
                                                    : right;
        }
    }
    while (i < a_end && j < b_end) {
        size_t at = (size_t)(i - a_begin) * columns + (size_t)(j - b_begin);

        if (table == NULL) {
            add(edits, '-', &i, &j);
        } else if (same(a, i, b, j)) {
            add(edits, ' ', &i, &j);
        } else {
            add(edits, table[at + columns] >= table[at + 1] ? '-' : '+', &i, &j);
        }
    }
    while (i < a_end) {
        add(edits, '-', &i, &j);
    }
    while (j < b_end) {
        add(edits, '+', &i, &j);
    }
    free(table);
}

static struct edits compare(const struct lines *a, const struct lines *b)
{
    struct edits edits = {xcalloc((size_t)a->count + (size_t)b->count + 1, sizeof *edits.list), 0};
    int begin = 0, end = 0, i = 0, j = 0;

    while (begin < a->count && begin < b->count && same(a, begin, b, begin)) {
        begin++;
    }
    while (end < a->count - begin && end < b->count - begin &&
           same(a, a->count - 1 - end, b, b->count - 1 - end)) {
        end++;
    }
    while (i < begin) {
        add(&edits, ' ', &i, &j);
    }
    edit_middle(&edits, a, b, i, a->count - end, j, b->count - end);
    i = a->count - end;
    j = b->count - end;
    while (i < a->count) {
        add(&edits, ' ', &i, &j);
    }
    return edits;
}

/* The edits [from, to) as one hunk. */
static void print_hunk(FILE *out, const struct edits *edits, int from, int to,
                       const struct lines *a, const struct lines *b)
{
    int lines_a = 0, lines_b = 0;

    for (int i = from; i < to; i++) {
        lines_a += edits->list[i].kind != '+';
        lines_b += edits->list[i].kind != '-';
    }
    fprintf(out, "@@ -%d,%d +%d,%d @@\n", edits->list[from].a + (lines_a > 0), lines_a,
            edits->list[from].b + (lines_b > 0), lines_b);
    for (int i = from; i < to; i++) {
        const struct edit *edit = &edits->list[i];
        const struct lines *side = edit->kind == '+' ? b : a;
        int line = edit->kind == '+' ? edit->b : edit->a;
        enum style style = edit->kind == '+'   ? STYLE_GOOD
                           : edit->kind == '-' ? STYLE_BAD
                                               : STYLE_PLAIN;

        fprintf(out, "%s%c%.*s%s\n", style_on(out, style), edit->kind, side->lengths[line],
                side->at[line], style_off(out));
    }
}

/* Where the hunk that begins at a change ends: two changes within 2 * CONTEXT lines share one. */
static int hunk_end(const struct edits *edits, int at)
{
    int last = at;

    for (int i = at; i < edits->count && i - last <= 2 * CONTEXT; i++) {
        last = edits->list[i].kind != ' ' ? i : last;
    }
    return last + 1 + CONTEXT < edits->count ? last + 1 + CONTEXT : edits->count;
}

bool diff_print(FILE *out, const char *name_a, const char *a, const char *name_b, const char *b)
{
    struct lines lines_a = split(a), lines_b = split(b);
    struct edits edits = compare(&lines_a, &lines_b);
    bool differ = false;

    for (int i = 0; i < edits.count; i++) {
        int from = i > CONTEXT ? i - CONTEXT : 0;

        if (edits.list[i].kind == ' ') {
            continue;
        }
        if (!differ) {
            fprintf(out, "--- %s\n+++ %s\n", name_a, name_b);
            differ = true;
        }
        i = hunk_end(&edits, i);
        print_hunk(out, &edits, from, i, &lines_a, &lines_b);
        i--; /* the next hunk's changes lie beyond */
    }
    free(edits.list);
    lines_free(&lines_a);
    lines_free(&lines_b);
    return differ;
}
