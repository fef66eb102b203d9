/*
 * torch_module -- one kernel as one file of Python that PyTorch calls: its machine code, its
 * program's declaration, and engine/cli/export/module.py, which launches it through the driver.
 *
 * The file needs PyTorch and an NVIDIA driver, and no compiler, toolkit or part of evo.
 */
#ifndef EVO_CLI_TORCH_MODULE_H
#define EVO_CLI_TORCH_MODULE_H

#include "base/str.h"
#include "daemon/exported.h"

void torch_module_write(const struct exported *exported, const void *cubin, size_t cubin_bytes,
                        struct buf *out);

#endif
