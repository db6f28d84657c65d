/* Time, handed in so that a test can turn it. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct clock {
    uint64_t (*unix_ns)(const struct clock *c); /* wall clock */
    uint64_t (*mono_ns)(const struct clock *c); /* never goes back; for deadlines */
    void *ctx;
};

extern const struct clock clock_system;

static inline uint64_t clock_unix_ns(const struct clock *c) { return c->unix_ns(c); }
static inline uint64_t clock_mono_ns(const struct clock *c) { return c->mono_ns(c); }

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

#endif
