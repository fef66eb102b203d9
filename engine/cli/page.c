#include "cli/page.h"

#include <assert.h>
#include <string.h>

#include "generated/web_page.h" /* web/dist/page.html */

/* Where the build leaves room for data. */
static const char mark[] = "<!--data-->";

/* JSON inside HTML: no text in it may look like the end of the element it stands in. */
static int append_escaped(const char *text, size_t length, void *context)
{
    struct buf *page = context;

    for (size_t i = 0; i < length; i++) {
        if (text[i] == '<') {
            buf_puts(page, "\\u003c");
        } else {
            buf_add(page, &text[i], 1);
        }
    }
    return 0;
}

static const char *find_mark(void)
{
    const char *at = strstr(web_page, mark);

    assert(at != NULL);
    return at;
}

void page_with_data(json_t *report, struct buf *page)
{
    const char *at = find_mark();

    buf_add(page, web_page, (size_t)(at - web_page));
    buf_puts(page, "<script type=\"application/json\" id=\"data\">");
    json_dump_callback(report, append_escaped, page, JSON_COMPACT | JSON_REAL_PRECISION(7));
    buf_puts(page, "</script>");
    buf_puts(page, at + strlen(mark));
}

void page_live(struct buf *page)
{
    const char *at = find_mark();

    buf_add(page, web_page, (size_t)(at - web_page));
    buf_puts(page, at + strlen(mark));
}
