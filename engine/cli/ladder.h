/*
 * ladder -- which rungs a candidate has climbed, why it fell, and how to see that again.
 *
 * Made of the rows of evidence that its judgements left: the search's, and the second one if it was
 * promoted. Everything lives in the command's arena; JSON values are new references.
 */
#ifndef EVO_CLI_LADDER_H
#define EVO_CLI_LADDER_H

#include <jansson.h>

#include "cli/cli.h"

enum judged { JUDGED_SEARCH, JUDGED_PROMOTION, JUDGED_COUNT };

struct ladder {
    const struct kernel_row *kernel;
    struct {
        struct case_result *cases;
        int64_t count;
    } judged[JUDGED_COUNT];
    bool is_built;
    const char *why;   /* it failed, in one sentence; "" for a pass */
    const char *again; /* a command line that shows it; "" when there is none */
};

/* The store is open; of a candidate that is done. */
bool ladder_read(struct cli *cli, const struct kernel_row *kernel,
                 const struct build_facts *builds, int64_t build_count, struct ladder *ladder,
                 struct err *err);
/* The rungs, and how the cases of each shape went. */
void ladder_print(struct arena *arena, const struct ladder *ladder);
json_t *ladder_cases_json(const struct ladder *ladder);
json_t *ladder_failure_json(const struct ladder *ladder); /* null for a pass */

#endif
