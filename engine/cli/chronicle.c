#include "cli/chronicle.h"

#include <stdlib.h>
#include <string.h>

const char *const funnel_names[FUNNEL_RUNGS] = {"proposed", "rendered", "built",   "launched",
                                                "right",    "timed",    "improved"};

void chronicle_open(struct chronicle *chronicle, int64_t run)
{
    *chronicle = (struct chronicle){.arena = arena_new(), .run = run, .last_place = -1};
}

void chronicle_close(struct chronicle *chronicle)
{
    arena_free(chronicle->arena);
    free(chronicle->improvements);
    *chronicle = (struct chronicle){.last_place = -1};
}

/* The row of a name; the last one takes what there is no room for. */
static struct share *share_of(struct chronicle *chronicle, struct share *list, int *count,
                              const char *name)
{
    for (int i = 0; i < *count; i++) {
        if (strcmp(list[i].name, name) == 0) {
            return &list[i];
        }
    }
    if (*count == CHRONICLE_NAMES_MAX) {
        return &list[CHRONICLE_NAMES_MAX - 1];
    }
    list[*count] = (struct share){.name = arena_dup(chronicle->arena, name), .best_place = -1};
    return &list[(*count)++];
}

static struct share *island_of(struct chronicle *chronicle, int island)
{
    int at = island < 0 ? 0 : island < CHRONICLE_ISLANDS_MAX ? island : CHRONICLE_ISLANDS_MAX - 1;

    while (chronicle->island_count <= at) {
        chronicle->islands[chronicle->island_count++] =
            (struct share){.name = "", .best_place = -1};
    }
    return &chronicle->islands[at];
}

static void share_add(struct share *share, const struct story_row *row, bool improved)
{
    share->tried++;
    share->passed += row->verdict == VERDICT_PASS;
    share->aliases += row->alias_of >= 0;
    share->improved += improved;
    if (row->score.us > 0 && (share->best_us == 0 || row->score.us < share->best_us)) {
        share->best_us = row->score.us;
        share->best_place = row->place;
    }
}

static enum funnel reached(const struct story_row *row, bool improved)
{
    switch (row->verdict) {
    case VERDICT_PASS:
        return improved ? FUNNEL_IMPROVED : row->score.us > 0 ? FUNNEL_TIMED : FUNNEL_RIGHT;
    case VERDICT_WRONG:
    case VERDICT_RACY:
    case VERDICT_UNSTABLE: return FUNNEL_LAUNCHED;
    default: return row->built ? FUNNEL_BUILT : row->rendered ? FUNNEL_RENDERED : FUNNEL_PROPOSED;
    }
}

static void improvement_add(struct chronicle *chronicle, const struct story_row *row,
                            const char *family, const char *operator_name)
{
    if (chronicle->improvement_count == chronicle->improvement_room) {
        chronicle->improvement_room =
            chronicle->improvement_room > 0 ? 2 * chronicle->improvement_room : 64;
        chronicle->improvements =
            xrealloc(chronicle->improvements,
                     (size_t)chronicle->improvement_room * sizeof *chronicle->improvements);
    }
    chronicle->improvements[chronicle->improvement_count++] =
        (struct improvement){.place = row->place,
                             .parent = row->parents[0],
                             .evaluation = row->evaluation,
                             .at = row->finished_at,
                             .numerics = row->numerics,
                             .us = row->score.us,
                             .low = row->score.low,
                             .high = row->score.high,
                             .family = family,
                             .operator_name = operator_name};
}

void chronicle_add(struct chronicle *c, const struct story_row *row)
{
    int numerics = row->numerics == 1;
    bool improved = row->score.us > 0 && row->alias_of < 0 &&
                    (c->best_us[numerics] == 0 || row->score.us < c->best_us[numerics]);
    struct share *operator_ = share_of(c, c->operators, &c->operator_count, row->operator_name);
    struct share *family = share_of(c, c->families, &c->family_count, row->family);

    for (enum funnel rung = 0; rung <= reached(row, improved); rung++) {
        c->funnel[rung]++;
    }
    c->by_verdict[row->verdict]++;
    c->aliases += row->alias_of >= 0;
    share_add(operator_, row, improved);
    share_add(family, row, improved);
    share_add(island_of(c, row->island), row, improved);
    if (improved) {
        c->best_us[numerics] = row->score.us;
        improvement_add(c, row, family->name, operator_->name);
    }
    c->last_place = row->place;
    c->last_finished_at = row->finished_at;
}

static void visit(void *context, const struct story_row *row) { chronicle_add(context, row); }

bool chronicle_advance(struct chronicle *chronicle, struct store *store, int64_t limit,
                       bool *behind, struct err *err)
{
    int64_t count;
    bool ok = query_story(store, chronicle->run, chronicle->last_place, limit, visit, chronicle,
                          &count, err);

    *behind = ok && count == limit;
    return ok;
}
