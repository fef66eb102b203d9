/*
 * emulated -- what a kernel did on the emulated device, told to people and to programs.
 *
 * Findings with the lines of source that they speak of, and profiles: for commands that run one
 * kernel. Texts live in the given arena; JSON values are new references.
 */
#ifndef EVO_CLI_EMULATED_H
#define EVO_CLI_EMULATED_H

#include <jansson.h>

#include "base/arena.h"
#include "fitness/emu/findings.h"
#include "fitness/emu/model.h"

/* What was compiled; `#line` in it is followed. */
struct emulated_source {
    const char *name, *text;
};

void emulated_print_findings(struct arena *arena, const struct emulated_source *source,
                             const struct finding_told *findings, int count, int64_t total);
void emulated_print_kernel(struct arena *arena, const struct kernel_profile *kernel);

json_t *emulated_findings_json(const struct finding_told *findings, int count);
json_t *emulated_kernel_json(const struct kernel_profile *kernel);

#endif
