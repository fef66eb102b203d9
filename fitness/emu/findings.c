#include "fitness/emu/findings.h"

#include <stdio.h>
#include <string.h>

#include "fitness/emu/machine.h"

_Static_assert((int)FINDINGS_MAX <= (int)FINDINGS_TOLD_MAX, "every kept finding is told");

enum { PLACE_TEXT = 256 };

/* What explains most weighs most. */
static const int weights[FINDING_KINDS] = {
    [FINDING_DEADLOCK] = 1,  [FINDING_BUDGET] = 1,        [FINDING_TRAP] = 2,
    [FINDING_READ_ONLY] = 3, [FINDING_OUT_OF_BOUNDS] = 3, [FINDING_MISALIGNED] = 3,
    [FINDING_RACE] = 4,      [FINDING_BARRIER] = 4,       [FINDING_PROXY] = 4,
    [FINDING_IN_FLIGHT] = 4, [FINDING_UNSUPPORTED] = 5,
};

/* ---- places -------------------------------------------------------------------------------- */

/* NULL: no such file, or no line of it. */
static const char *file_of(const struct ptx_module *module, int file, int line)
{
    const char *name =
        line > 0 && file > 0 && file < module->file_count ? module->files[file] : NULL;
    const char *slash = name != NULL ? strrchr(name, '/') : NULL;

    return slash != NULL ? slash + 1 : name;
}

static void chain_add(struct finding_chain *chain, const struct ptx_module *module, int file,
                      int line)
{
    const char *name = file_of(module, file, line);

    if (name != NULL && chain->count < FINDING_PLACES_MAX) {
        chain->places[chain->count++] = (struct finding_place){name, line};
    }
}

static struct finding_chain chain_of(const struct ptx_module *module,
                                     const struct ptx_instruction *at)
{
    struct finding_chain chain = {.count = 0};

    if (at == NULL) {
        return chain;
    }
    chain_add(&chain, module, at->file, at->source_line);
    for (const struct ptx_place *caller = at->caller;
         caller != NULL && chain.count < FINDING_PLACES_MAX; caller = caller->caller) {
        chain_add(&chain, module, caller->file, caller->line);
    }
    return chain;
}

static bool chain_equal(const struct finding_chain *a, const struct finding_chain *b)
{
    for (int i = 0; i < a->count && i < b->count; i++) {
        if (a->places[i].line != b->places[i].line ||
            strcmp(a->places[i].file, b->places[i].file) != 0) {
            return false;
        }
    }
    return a->count == b->count;
}

/* "softmax.cuh:41", or where in the PTX when there is no line information; "" when neither. */
static void place_text(const struct ptx_module *module, const struct ptx_instruction *at,
                       char text[PLACE_TEXT])
{
    const char *file = at != NULL ? file_of(module, at->file, at->source_line) : NULL;

    *text = '\0';
    if (file != NULL) {
        snprintf(text, PLACE_TEXT, "%s:%d", file, at->source_line);
    } else if (at != NULL) {
        snprintf(text, PLACE_TEXT, "PTX line %d", at->line);
    }
}

/* ---- sentences ----------------------------------------------------------------------------- */

/* The machine's sentence without " (place)", which has just been said. */
static const char *unplaced(struct arena *arena, const char *text, const char *place)
{
    const char *said = arena_printf(arena, " (%s)", place), *found = strstr(text, said);

    return found == NULL
               ? text
               : arena_printf(arena, "%.*s%s", (int)(found - text), text, found + strlen(said));
}

const char *finding_sentence(struct arena *arena, const struct ptx_module *module,
                             const struct finding *finding)
{
    char at[PLACE_TEXT], other[PLACE_TEXT];

    place_text(module, finding->at, at);
    place_text(module, finding->other, other);
    if (strstr(finding->text, other) != NULL) { /* the sentence says so itself */
        *other = '\0';
    }
    return arena_printf(arena, "%s%s%s: %s%s%s%s", finding_names[finding->kind],
                        *at != '\0' ? " at " : "", at, unplaced(arena, finding->text, at),
                        *other != '\0' ? " (the other is at " : "", other,
                        *other != '\0' ? ")" : "");
}

/* The module is gone before what it said is printed. */
static void chain_keep(struct arena *arena, struct finding_chain *chain)
{
    for (int i = 0; i < chain->count; i++) {
        chain->places[i].file = arena_dup(arena, chain->places[i].file);
    }
}

static bool is_alike(const struct finding_told *a, const struct finding_told *b)
{
    return a->at.count > 0 && strcmp(a->kind, b->kind) == 0 && chain_equal(&a->at, &b->at) &&
           chain_equal(&a->other, &b->other);
}

/* Puts it behind all that weigh as much. */
static void told_put(struct finding_told *told, int count, const struct finding_told *new)
{
    int at = count;

    while (at > 0 && told[at - 1].weight < new->weight) {
        at--;
    }
    memmove(told + at + 1, told + at, (size_t)(count - at) * sizeof *told);
    told[at] = *new;
}

int findings_tell(struct arena *arena, const struct ptx_module *module,
                  const struct outcome *outcome, struct finding_told told[FINDINGS_TOLD_MAX])
{
    int count = 0;

    for (int i = 0; i < outcome->finding_count; i++) {
        const struct finding *finding = &outcome->findings[i];
        struct finding_told new = {.kind = finding_names[finding->kind],
                                   .weight = weights[finding->kind],
                                   .at = chain_of(module, finding->at),
                                   .other = chain_of(module, finding->other),
                                   .opcode = finding->at != NULL ? finding->at->opcode : "",
                                   .other_opcode =
                                       finding->other != NULL ? finding->other->opcode : ""};
        int same = 0;

        while (same < count && !is_alike(&told[same], &new)) {
            same++;
        }
        if (same < count) {
            told[same].alike++;
            continue;
        }
        new.text = finding_sentence(arena, module, finding);
        new.opcode = arena_dup(arena, new.opcode);
        new.other_opcode = arena_dup(arena, new.other_opcode);
        chain_keep(arena, &new.at);
        chain_keep(arena, &new.other);
        told_put(told, count++, &new);
    }
    return count;
}

/* ---- which decides ------------------------------------------------------------------------- */

const struct finding *findings_first(const struct outcome *outcome)
{
    const struct finding *first = &outcome->findings[0];

    for (int i = 1; i < outcome->finding_count; i++) {
        const struct finding *one = &outcome->findings[i];
        bool before = weights[one->kind] > weights[first->kind];
        bool equal = weights[one->kind] == weights[first->kind];

        for (int d = 2; d >= 0 && equal; d--) {
            equal = one->block[d] == first->block[d];
            before = one->block[d] < first->block[d];
        }
        first = before ? one : first;
    }
    return first;
}
