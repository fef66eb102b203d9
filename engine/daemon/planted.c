#include "daemon/planted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

enum { HEAD_LINE_MAX = 256 };

static const char PLAIN_SHAPE[] = "1x8x512x64";

/* ---- the head comment ---- */

/* One word at *at, which moves behind it; commas belong to the word before. NULL at the end. */
static const char *next_word(struct arena *arena, const char **at)
{
    size_t length;

    *at += strspn(*at, " \t");
    length = strcspn(*at, " \t");
    if (length == 0) {
        return NULL;
    }
    const char *word = arena_text(arena, *at, length);
    *at += length;
    return word;
}

/* "wrong or unstable at correct or stable": what is left of the line at *at. */
static bool read_verdicts(struct arena *arena, const char **at, struct expectation *expect,
                          struct err *err)
{
    const char *word;

    expect->rungs = "";
    while ((word = next_word(arena, at)) != NULL && strcmp(word, "at") != 0) {
        size_t length = strcspn(word, ",");
        const char *name = arena_text(arena, word, length);
        enum verdict verdict;

        if (strcmp(word, "or") == 0) {
            continue;
        }
        if (!verdict_parse(name, &verdict)) {
            return err_set(err, ERR_USER, "'%s' is not a verdict", name);
        }
        expect->verdicts |= 1u << verdict;
        if (word[length] == ',') { /* what follows is about its time */
            return true;
        }
    }
    while (word != NULL && (word = next_word(arena, at)) != NULL) {
        if (strcmp(word, "or") != 0) {
            expect->rungs = arena_printf(arena, "%s %s ", expect->rungs, word);
        }
    }
    return expect->verdicts != 0 || err_set(err, ERR_USER, "no verdict is expected");
}

/* "no faster than NAME", "40 us slower than NAME" */
static bool read_time(struct arena *arena, const char *at, struct expectation *expect,
                      struct err *err)
{
    const char *words[6] = {NULL};
    int count = 0;

    while (count < 6 && (words[count] = next_word(arena, &at)) != NULL) {
        count++;
    }
    if (count == 4 && strcmp(words[0], "no") == 0 && strcmp(words[1], "faster") == 0) {
        expect->time = TIME_NO_FASTER;
        expect->than = words[3];
    } else if (count == 5 && str_to_f64(words[0], &expect->us) && strcmp(words[1], "us") == 0 &&
               strcmp(words[2], "slower") == 0) {
        expect->time = TIME_SLOWER;
        expect->than = words[4];
    } else if (count > 0) {
        err_set(err, ERR_USER, "a time is 'no faster than NAME' or 'N us slower than NAME'");
        return false;
    }
    return true;
}

static bool read_expect(struct arena *arena, const char *text, struct planted *planted,
                        struct err *err)
{
    struct expectation *expect = &planted->expects[planted->expect_count];

    if (planted->expect_count == PLANTED_EXPECTS_MAX) {
        return err_set(err, ERR_USER, "more than %d expectations", PLANTED_EXPECTS_MAX);
    }
    planted->expect_count++;
    expect->device = next_word(arena, &text);
    if (expect->device == NULL) {
        return err_set(err, ERR_USER, "an expectation begins with a device: emu, cuda or any");
    }
    text += strspn(text, " \t");
    expect->text = text;
    return read_verdicts(arena, &text, expect, err) && read_time(arena, text, expect, err);
}

static bool read_shape(const char *text, struct planted *planted, struct err *err)
{
    if (planted->problem_count == PLANTED_SHAPES_MAX) {
        return err_set(err, ERR_USER, "more than %d shapes", PLANTED_SHAPES_MAX);
    }
    return problem_parse(text, &planted->problems[planted->problem_count++], err) &&
           (problem_same_static(&planted->problems[0],
                                &planted->problems[planted->problem_count - 1]) ||
            err_set(err, ERR_USER, "its shapes need different programs"));
}

static bool read_line(struct arena *arena, const char *line, struct planted *planted,
                      struct err *err)
{
    static const struct {
        const char *key;
        enum planted_kind kind;
    } kinds[] = {{"cheat: ", PLANTED_CHEAT}, {"fault: ", PLANTED_FAULT},
                 {"control: ", PLANTED_CONTROL}};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (str_starts(line, kinds[i].key)) {
            int64_t number = 0;

            planted->kind = kinds[i].kind;
            planted->word = line + strlen(kinds[i].key);
            if (kinds[i].kind == PLANTED_CHEAT &&
                (!str_to_i64(planted->word, &number) || number < 1 || number > PLANTED_CHEATS)) {
                return err_set(err, ERR_USER, "'%s' is no entry of the list, 1 to %d",
                               planted->word, PLANTED_CHEATS);
            }
            planted->number = (int)number;
            return true;
        }
    }
    if (str_starts(line, "shape: ")) {
        return read_shape(line + strlen("shape: "), planted, err);
    }
    return !str_starts(line, "expect: ") ||
           read_expect(arena, line + strlen("expect: "), planted, err);
}

static bool read_head(struct arena *arena, const char *text, struct planted *planted,
                      struct err *err)
{
    static const char MARGIN[] = " * ";
    int number = 1;

    if (!str_starts(text, "/*\n")) {
        return true;
    }
    for (text = strchr(text, '\n') + 1; !str_starts(text, " */") && *text != '\0'; number++) {
        size_t length = strcspn(text, "\n");

        if (str_starts(text, MARGIN) && length < HEAD_LINE_MAX) {
            size_t margin = strlen(MARGIN);
            const char *line = arena_text(arena, text + margin, length - margin);

            if (!read_line(arena, line, planted, err)) {
                return err_in(err, "%s:%d:%zu", planted->path, number + 1, margin + 1);
            }
        }
        text += length + (text[length] == '\n');
    }
    return true;
}

/* ---- files ---- */

bool planted_is_template(const char *text)
{
    for (; (text = strstr(text, "EVO_LAUNCH(")) != NULL; text++) {
        if (text[-1] == '\n') {
            return true;
        }
    }
    return false;
}

static bool read_one(struct arena *arena, const struct template_set *set, const char *name,
                     struct planted *planted, struct err *err)
{
    const struct template_file *file =
        template_set_find(set, arena_printf(arena, "%s.cu", name));

    *planted = (struct planted){
        .name = name, .path = file->path, .word = "", .set = set};
    return template_set_family(set, name, &planted->family, err) &&
           read_head(arena, file->text, planted, err) &&
           (planted->problem_count > 0 || read_shape(PLAIN_SHAPE, planted, err));
}

static bool add_templates(struct template_set *set, struct err *err)
{
    const char *folder = templates_folder(set->arena, err);

    return folder != NULL && template_set_load(set, folder, err);
}

/* "fitness/x.cu" → "x" */
static const char *plain_name(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    size_t length = strlen(name);

    return arena_text(arena, name, length > 3 ? length - 3 : length);
}

bool planted_read(struct arena *arena, const char *path, struct planted *planted, struct err *err)
{
    struct template_set *set = template_set_new(arena);

    return template_set_load_file(set, path, err) && add_templates(set, err) &&
           read_one(arena, set, plain_name(arena, path), planted, err);
}

bool planted_read_all(struct arena *arena, const char *folder, struct planted **list, int *count,
                      struct err *err)
{
    struct template_set *set = template_set_new(arena);
    int own = 0;

    *count = 0;
    if (!template_set_load(set, folder, err)) {
        return false;
    }
    own = set->count;
    *list = arena_alloc(arena, PLANTED_MAX * sizeof **list);
    if (!add_templates(set, err)) {
        return false;
    }
    for (int i = 0; i < own; i++) {
        if (str_starts(set->files[i].name, "include/")) {
            continue;
        }
        if (*count == PLANTED_MAX) {
            return err_set(err, ERR_USER, "'%s' holds more than %d files", folder, PLANTED_MAX);
        }
        if (!read_one(arena, set, plain_name(arena, set->files[i].name), &(*list)[*count], err)) {
            return false;
        }
        ++*count;
    }
    return true;
}

const char *planted_folder(struct arena *arena, struct err *err)
{
    static const char *const places[] = {"../fitness/cheats", "../cheats"};
    const char *asked = getenv("EVO_CHEATS"), *templates;

    if (asked != NULL && *asked != '\0') {
        return asked;
    }
    templates = templates_folder(arena, err); /* the tree's, or share/evo/templates */
    for (size_t i = 0; templates != NULL && i < sizeof places / sizeof *places; i++) {
        const char *there = arena_printf(arena, "%s/%s", templates, places[i]);

        if (access(arena_printf(arena, "%s/include/honest.cuh", there), F_OK) == 0) {
            return there;
        }
    }
    if (templates != NULL) {
        err_set(err, ERR_SYSTEM, "the planted kernels are not beside '%s'", templates);
        err_hint(err, "they are installed as share/evo/cheats; EVO_CHEATS names another folder");
    }
    return NULL;
}

/* ---- what is expected ---- */

const struct expectation *planted_expects(const struct planted *planted, const char *backend)
{
    for (int i = 0; i < planted->expect_count; i++) {
        const struct expectation *expect = &planted->expects[i];

        if (strcmp(expect->device, backend) == 0 || strcmp(expect->device, "any") == 0) {
            return expect;
        }
    }
    return NULL;
}

bool expectation_met(const struct expectation *expectation, enum verdict verdict, const char *rung)
{
    char word[64];

    if ((expectation->verdicts & 1u << verdict) == 0) {
        return false;
    }
    snprintf(word, sizeof word, " %s ", rung);
    return verdict == VERDICT_PASS || *expectation->rungs == '\0' ||
           strstr(expectation->rungs, word) != NULL;
}

/* ---- variants ---- */

static bool step(const struct family *family, struct genome *genome)
{
    for (int i = family->gene_count - 1; i >= 0; i--) {
        if (++genome->at[i] < family->genes[i].count) {
            return true;
        }
        genome->at[i] = 0;
    }
    return false;
}

bool planted_next(const struct planted *planted, const struct givens *givens, bool *first,
                  struct genome *genome, int64_t *values)
{
    while (*first || step(planted->family, genome)) {
        *first = false;
        if (family_feasible(planted->family, genome, givens, values, NULL)) {
            return true;
        }
    }
    return false;
}
