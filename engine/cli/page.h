/*
 * page -- the web page of a run: one HTML text with its script and style inside.
 *
 * The page is built in web/ and embedded (web/dist/page.html). It draws the data that it holds
 * itself (a report), or, where it holds none, what it asks the server for that it came from.
 */
#ifndef EVO_CLI_PAGE_H
#define EVO_CLI_PAGE_H

#include <jansson.h>

#include "base/str.h"

/* Appends the page with the report in it. */
void page_with_data(json_t *report, struct buf *page);
/* Appends the page as a server sends it. */
void page_live(struct buf *page);

#endif
