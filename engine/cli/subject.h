/*
 * subject -- a candidate with all that is needed to use it outside its run: the source of one of
 * its images, rendered again, how it is called, where it came from.
 */
#ifndef EVO_CLI_SUBJECT_H
#define EVO_CLI_SUBJECT_H

#include "cli/cli.h"
#include "cli/exported.h"
#include "cli/source.h"

struct subject {
    struct kernel_row kernel;
    struct recalled recalled;
    struct exported exported;
    const struct build_facts *build;
    int image;
};

/* Opens the database; `id` as people write it. Which image, of several, the option --shape says. */
bool subject_gather(struct cli *cli, const char *id, struct subject *subject, struct err *err);

#endif
