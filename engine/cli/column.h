/*
 * column -- numbers that grow with a run, packed for a page: bytes in base64 inside JSON.
 *
 * Numbers of varying length are LEB128: seven bits a byte, the least first, the high bit set where
 * more follow. web/src/decode.js reads them; docs/VIEWS.md tells which member holds what.
 */
#ifndef EVO_CLI_COLUMN_H
#define EVO_CLI_COLUMN_H

#include <jansson.h>
#include <stdint.h>

#include "base/str.h"

void column_add(struct buf *column, uint32_t value);                  /* as few bytes as it needs */
void column_add_fixed(struct buf *column, uint32_t value, int bytes); /* little-endian */
/* The column as text; it is freed. */
json_t *column_json(struct buf *column);

#endif
