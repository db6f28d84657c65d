/* Synthetic traffic of a small web shop: traces of five to eight services with errors, events, links and
 * attributes of every common kind. The same seed gives the same traces. */
#ifndef RUBATO_SHOP_H
#define RUBATO_SHOP_H

#include "base/arena.h"
#include "base/random.h"
#include "block/span.h"

struct shop {
    struct rng rng;
    uint8_t last_trace[16]; /* what the next trace may link to */
    bool any;
    struct slice next_id; /* the next trace's, 16 bytes; empty: a random one */
};

/* Appends one trace that starts at start_unix_ns; strings live in the arena. */
bool shop_trace(struct shop *s, uint64_t start_unix_ns, struct arena *a, struct span_batch *out);

#endif
