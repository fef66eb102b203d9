/*
 * subject -- a candidate with all that is needed to use it outside its run: the source of one of
 * its images, rendered again, how it is called, where it came from.
 */
#ifndef EVO_CLI_SUBJECT_H
#define EVO_CLI_SUBJECT_H

#include "cli/cli.h"
#include "daemon/exported.h"
#include "cli/source.h"

struct subject {
    struct kernel_row kernel;
    struct recalled recalled;
    struct exported exported;
    const struct build_facts *build;
    int image;
};

/*
 * Opens the database, if it is not; `id` as people write it. `shape` says which image where there
 * are several; NULL: the first, aloud.
 */
bool subject_gather(struct cli *cli, const char *id, const char *shape, struct subject *subject,
                    struct err *err);

#endif
