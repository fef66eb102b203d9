#include "daemon/lessons.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct pile {
    const struct setup *setup;
    const struct search_space *space; /* NULL: whatever the families know */
    int64_t sources[MEMORY_SOURCES_MAX];
    int source_count;
    struct lesson *lessons;
    int count, room;
};

static int find_family(const struct setup *setup, const char *name)
{
    for (int i = 0; i < setup->family_count; i++) {
        if (strcmp(setup->families[i]->name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static int find_source(struct pile *pile, int64_t source)
{
    for (int i = 0; i < pile->source_count; i++) {
        if (pile->sources[i] == source) {
            return i;
        }
    }
    if (pile->source_count == MEMORY_SOURCES_MAX) {
        return -1;
    }
    pile->sources[pile->source_count] = source;
    return pile->source_count++;
}

/* A row that still means something: its family and its genes' values are there. */
static void take(void *context, const struct lesson_row *row)
{
    struct pile *pile = context;
    int family = find_family(pile->setup, row->family), numerics;
    struct lesson lesson = {.genome = {.family = (uint16_t)family}, .numerics = row->numerics,
                            .us = row->us};

    if (family < 0 || (lesson.source = find_source(pile, row->source)) < 0 ||
        !genome_parse(pile->setup->families[family], row->genes, &lesson.genome,
                      &(struct err){.kind = ERR_NONE}) ||
        (pile->space != NULL && !space_admits(pile->space, &lesson.genome, &numerics, NULL))) {
        return;
    }
    if (pile->count == pile->room) {
        pile->room = pile->room > 0 ? 2 * pile->room : 256;
        pile->lessons = xrealloc(pile->lessons, (size_t)pile->room * sizeof *pile->lessons);
    }
    pile->lessons[pile->count++] = lesson;
}

/* Writes the lessons worth keeping of one family and source. */
static bool keep(struct store *store, const struct pile *pile, int family, int source,
                 int64_t run, struct err *err)
{
    const struct family *of = pile->setup->families[family];
    struct lesson *lessons = xmalloc((size_t)pile->count * sizeof *lessons + 1);
    struct arena *arena = arena_new();
    int count = 0;
    bool ok = true;

    for (int i = 0; i < pile->count; i++) {
        if (pile->lessons[i].genome.family == family && pile->lessons[i].source == source) {
            lessons[count++] = pile->lessons[i];
        }
    }
    count = memory_choose(lessons, count, MEMORY_LESSONS_MAX / pile->source_count);
    for (int i = 0; i < count && ok; i++) {
        const char *genes = strchr(genome_text(arena, of, &lessons[i].genome), ' ');
        struct lesson_row row = {.source = pile->sources[source], .family = of->name,
                                 .genes = genes != NULL ? genes + 1 : "",
                                 .numerics = lessons[i].numerics, .us = lessons[i].us};

        ok = store_lesson_insert(store, run, &row, err);
    }
    arena_free(arena);
    free(lessons);
    return ok;
}

bool lessons_gather(struct store *store, const struct setup *setup, int64_t run, struct err *err)
{
    struct pile pile = {.setup = setup};
    int64_t sources[MEMORY_SOURCES_MAX];
    int count;
    bool ok = store_lesson_sources(store, run, sources, MEMORY_SOURCES_MAX, &count, err);

    for (int i = 0; ok && i < count; i++) {
        ok = store_lessons_gather(store, sources[i], take, &pile, err);
    }
    for (int family = 0; ok && family < setup->family_count; family++) {
        for (int source = 0; ok && source < pile.source_count; source++) {
            ok = keep(store, &pile, family, source, run, err);
        }
    }
    free(pile.lessons);
    return ok;
}

bool lessons_teach(struct store *store, const struct setup *setup,
                   const struct search_space *space, int64_t run, struct population *population,
                   int *count, struct err *err)
{
    struct pile pile = {.setup = setup, .space = space};
    struct buf runs = {0};
    bool ok = store_lessons_each(store, run, take, &pile, err);

    *count = ok ? pile.count : 0;
    if (*count > 0) {
        population_teach(population, pile.lessons, pile.count);
        for (int i = 0; i < pile.source_count; i++) {
            buf_printf(&runs, "%s%lld", i > 0 ? ", " : "", (long long)pile.sources[i]);
        }
        log_line("engine", "the search begins with %d kernels of earlier runs (run %s of this "
                           "database); '--no-memory' begins with none", *count, runs.data);
    }
    buf_free(&runs);
    free(pile.lessons);
    return ok;
}
