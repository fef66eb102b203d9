/*
 * findings -- what the machine saw, for people: as a sentence, and as places in the source.
 *
 * A place is a chain: the line of the access, in whatever helper it stands, and the calls through
 * which it was inlined, up to the kernel's own line. What is returned lives in the arena.
 */
#ifndef EVO_EMU_FINDINGS_H
#define EVO_EMU_FINDINGS_H

#include <stdint.h>

#include "base/arena.h"

struct finding;
struct outcome;
struct ptx_module;

enum { FINDING_PLACES_MAX = 8, FINDINGS_TOLD_MAX = 64 };

struct finding_place {
    const char *file; /* without its folders */
    int line;
};

/* A chain, the innermost first; count 0: nobody said where in the source. */
struct finding_chain {
    struct finding_place places[FINDING_PLACES_MAX];
    int count;
};

struct finding_told {
    const char *kind; /* "race" */
    const char *text; /* "race at copy.cuh:15: st.shared.b32 of warp 0 lane 3 …" */
    const char *opcode, *other_opcode; /* what stands at each place; "": there is none */
    struct finding_chain at, other;
    int weight;    /* how much it explains */
    int64_t alike; /* how many more were kept at these very places */
};

/* The sentence, with the place before it. */
const char *finding_sentence(struct arena *arena, const struct ptx_module *module,
                             const struct finding *finding);

/* All that were kept, what explains most first, those at the same places as one; their number. */
int findings_tell(struct arena *arena, const struct ptx_module *module,
                  const struct outcome *outcome, struct finding_told told[FINDINGS_TOLD_MAX]);

/*
 * The finding that decides: what explains most, as a missing barrier also lets values be read that
 * were not written yet; of those the one of the lowest block, as which thread was first to see one
 * is chance. The outcome has one at least.
 */
const struct finding *findings_first(const struct outcome *outcome);

#endif
