/* The catalogue's state, shared by its three files: catalog.c (views and changes), catalog_poll.c
 * (listing the store), catalog_build.c (builds). */
#ifndef CATALOG_CATALOG_PRIV_H
#define CATALOG_CATALOG_PRIV_H

#include <pthread.h>

#include "base/vec.h"
#include "catalog/block_check.h"
#include "catalog/catalog.h"

/* How long a segment or build of another process must have been known before we take it over: a
 * live writer builds its own within its window. */
#define CATALOG_TAKEOVER_NS (30 * NS_PER_S)
/* A finished build object stays so long after its segments have gone: a reader that listed the
 * segments before must still find it. */
#define CATALOG_BUILD_LINGER_NS (60 * NS_PER_S)
/* Names of what we removed, against a listing that was under way. */
#define CATALOG_TOMBSTONE_NS (600 * NS_PER_S)
#define LIMIT_CATALOG_BUILD_BYTES ((size_t)16 << 20)

struct catalog_tenant {
    char *name;
    VEC(struct catalog_block *) blocks; /* ascending by id */
};

struct catalog_build_state {
    char *name;
    VEC(char *) segments;
    uint64_t seen_mono_ns;
    bool ours;     /* being built by this process now */
    uint64_t finished_mono_ns; /* 0: not by us */
    bool blocks_seen;          /* another's: all its blocks are in the catalogue */
};

struct catalog_tombstone {
    char *name;
    uint64_t at_mono_ns;
};

struct catalog {
    struct catalog_opts opts;
    struct log log;
    char writer[17]; /* random, hex: our segments carry it */
    struct {
        struct counter *poll_errors, *bad_segments, *bad_blocks;
        struct gauge *live_segments, *live_bytes;
        struct metrics_family *blocklist_length;
        struct histogram *poll_seconds;
    } m;

    struct block_quarantine *quarantine; /* the polling thread's */

    pthread_t thread;
    bool started;
    struct {
        pthread_mutex_t mu;
        pthread_cond_t changed; /* loaded, stop */
        bool stop;
        bool poll_now;
        uint64_t polls_begun, polls_done; /* numbers of the latest begun, and of the latest good */
        bool loaded;
        struct err load_err;
        uint64_t seq; /* of the next segment name */
        VEC(struct catalog_tenant *) tenants; /* ascending by name */
        VEC(struct catalog_segment *) segments; /* ascending by name */
        VEC(struct catalog_segment *) lent;     /* of one section each */
        VEC(struct catalog_build_state *) builds;
        VEC(struct catalog_tombstone) tombstones;
        size_t raw_bytes; /* of sections in memory */
    } shared; /* hold mu */
};

struct catalog_tenant *catalog_tenant_locked(struct catalog *c, struct slice name, bool make);
/* Index of the block of that id, or where it would stand. */
uint32_t catalog_block_find(const struct catalog_tenant *t, const uint8_t id[16], bool *found);
bool catalog_insert_block_locked(struct catalog *c, struct catalog_tenant *t,
                                 struct catalog_block *b);
uint32_t catalog_segment_find_locked(const struct catalog *c, struct slice name, bool *found);
bool catalog_insert_segment_locked(struct catalog *c, struct catalog_segment *s);
void catalog_remove_segment_locked(struct catalog *c, uint32_t index);
struct catalog_build_state *catalog_build_of_locked(struct catalog *c, struct slice name);
/* Builds and their segments point to each other by name; called after either has changed. */
void catalog_link_builds_locked(struct catalog *c);
void catalog_gauges_locked(struct catalog *c);
bool catalog_tombstone_locked(struct catalog *c, struct slice name);
bool catalog_is_tombstoned_locked(const struct catalog *c, struct slice name);

void catalog_build_state_free(struct catalog_build_state *b);

/* catalog_lent.c */
void catalog_forget_lent_locked(struct catalog *c);

/* catalog_poll.c: one round; full lists the blocks too. */
int catalog_poll(struct catalog *c, bool full, struct err *err);
/* Ours: the segment's name carries our writer id. */
bool catalog_segment_is_ours(const struct catalog *c, struct slice name);

#endif
