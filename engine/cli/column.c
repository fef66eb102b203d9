#include "cli/column.h"

#include <stdlib.h>

void column_add(struct buf *column, uint32_t value)
{
    unsigned char byte;

    do {
        byte = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        buf_add(column, &byte, 1);
        value >>= 7;
    } while (value > 0);
}

void column_add_fixed(struct buf *column, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++, value >>= 8) {
        unsigned char byte = value & 0xff;

        buf_add(column, &byte, 1);
    }
}

json_t *column_json(struct buf *column)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = (const unsigned char *)column->data;
    size_t length = (column->length + 2) / 3 * 4;
    char *text = xmalloc(length + 1), *to = text;
    json_t *value;

    for (size_t i = 0; i < column->length; i += 3) {
        size_t left = column->length - i;
        uint32_t three = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                         (left > 2 ? in[i + 2] : 0);

        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[three & 63] : '=';
    }
    *to = '\0';
    value = json_stringn(text, length);
    free(text);
    buf_free(column);
    return value;
}
