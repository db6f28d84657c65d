/* Varints of more than one byte. */
#include "base/cursor.h"

bool cursor_varint_long(struct cursor *c, uint64_t *out)
{
    const uint8_t *p = c->ptr;
    uint64_t v = 0;
    for (unsigned shift = 0; p != c->end; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            return false; /* would not fit 64 bits */
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            c->ptr = p;
            *out = v;
            return true;
        }
        if (shift == 63)
            return false;
    }
    return false;
}
