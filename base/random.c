/* Random bytes from the kernel. */
#include "base/random.h"

#include <assert.h>
#include <sys/random.h>

void random_bytes(void *out, size_t n)
{
    uint8_t *p = out;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0)
            continue; /* a signal came in between */
        p += got;
        n -= (size_t)got;
    }
}
