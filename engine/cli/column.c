#include "cli/column.h"

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
    struct buf text = {0};
    json_t *value;

    buf_base64(&text, column->data, column->length);
    value = json_stringn(text.data != NULL ? text.data : "", text.length);
    buf_free(&text);
    buf_free(column);
    return value;
}
