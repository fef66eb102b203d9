/*
 * emulate_plain -- `evo emulate` for a .cu that evo has not exported: anybody's kernel.
 *
 * How it is launched is said by --launch, or by a line "// evo: launch …" of the file (plain.h).
 */
#ifndef EVO_CLI_EMULATE_PLAIN_H
#define EVO_CLI_EMULATE_PLAIN_H

#include "cli/cli.h"

bool emulate_plain(struct cli *cli, const char *path, const char *source, unsigned sanitize,
                   struct err *err);

#endif
