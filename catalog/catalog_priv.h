/* The catalogue's state, shared by its files: catalog.c (views and changes), catalog_poll.c
 * (looking at the store), catalog_blocks.c (listing and loading blocks), catalog_build.c (builds),
 * catalog_plan.c and catalog_plan_run.c (compaction plans), catalog_retire.c (dead blocks). */
#ifndef CATALOG_CATALOG_PRIV_H
#define CATALOG_CATALOG_PRIV_H

#include <pthread.h>

#include "base/vec.h"
#include "catalog/block_check.h"
#include "catalog/catalog.h"
#include "catalog/catalog_plan.h"
#include "catalog/catalog_retire.h"

/* How long a segment or build of another process must have been known before we take it over: a
 * live writer builds its own within its window. */
#define CATALOG_TAKEOVER_NS (30 * NS_PER_S)
/* Names of what we removed, against a listing that was under way. */
#define CATALOG_TOMBSTONE_NS (600 * NS_PER_S)
/* How often the owner of a plan says that it lives. */
#define CATALOG_BEAT_NS (10 * NS_PER_S)
#define LIMIT_CATALOG_BUILD_BYTES ((size_t)16 << 20)

#define LIMIT_CATALOG_PLAN_BYTES ((size_t)1 << 20)

struct catalog_block_id {
    uint8_t id[16];
};

struct catalog_dead_entry {
    struct catalog_dead dead;
    uint64_t marked_mono_ns; /* by this process; 0: a listing told */
};

struct catalog_tenant {
    char *name;
    VEC(struct catalog_block *) blocks; /* ascending by id */
    VEC(struct catalog_dead_entry) dead;
    VEC(struct catalog_block_id) flagged; /* with nocompact.flg, ascending */
    bool listed;
};

struct catalog_build_state {
    char *name;
    VEC(char *) segments;
    uint64_t seen_mono_ns;
    bool ours;     /* being built by this process now */
    uint64_t finished_mono_ns; /* 0: not by us */
    bool blocks_seen;          /* another's: all its blocks are in the catalogue */
};

/* A compaction plan that is in the store, or was until lately. */
struct catalog_plan_state {
    char *name, *tenant;
    VEC(struct catalog_block_id) inputs;
    struct catalog_plan_opts opts;
    uint8_t output[16];
    bool held;        /* as the object says */
    bool ours;        /* being worked on by this process now */
    bool output_seen; /* the inputs are left out from now on */
    bool listed;      /* the last listing of plans had it */
    bool absent;      /* a full listing of blocks has ended without it */
    bool deleted;     /* by this process */
    uint64_t modified_unix_ns;
    uint64_t seen_mono_ns;     /* when this process saw the object change last */
    uint64_t finished_mono_ns; /* all inputs are marked, by this process; 0: not */
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
        struct metrics_family *blocklist_length, *index_errors;
        struct metrics_family *backend_objects, *backend_bytes;
        struct histogram *poll_seconds;
    } m;

    struct block_quarantine *quarantine; /* the polling thread's */
    pthread_mutex_t plan_io; /* held while plans are listed: one listing after the other */

    pthread_t thread;
    bool started;
    struct {
        pthread_mutex_t mu;
        pthread_cond_t changed; /* loaded, stop */
        bool stop;
        bool poll_now;
        uint64_t polls_begun, polls_done; /* numbers of the latest begun, and of the latest good */
        uint64_t full_polls;              /* good ones that listed all blocks */
        bool loaded;
        struct err load_err;
        uint64_t seq; /* of the next segment or plan name */
        VEC(struct catalog_tenant *) tenants; /* ascending by name */
        VEC(struct catalog_segment *) segments; /* ascending by name */
        VEC(struct catalog_segment *) lent;     /* of one section each */
        VEC(struct catalog_build_state *) builds;
        VEC(struct catalog_plan_state *) plans;
        VEC(char *) build_names; /* as catalog_plans_refresh saw them */
        bool unreadable_plans;   /* as well: there are some that may name any block */
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
void catalog_gauges_locked(struct catalog *c); /* of segments */
void catalog_tenant_gauges_locked(struct catalog *c, const struct catalog_tenant *t);
bool catalog_tombstone_locked(struct catalog *c, struct slice name);
bool catalog_is_tombstoned_locked(const struct catalog *c, struct slice name);

void catalog_build_state_free(struct catalog_build_state *b);
/* The latest time at which a listing begun now may still be taken for true. */
uint64_t catalog_listing_deadline(const struct catalog *c);
uint64_t catalog_linger_ns(const struct catalog *c);

/* catalog_lent.c */
void catalog_forget_lent_locked(struct catalog *c);

/* catalog_poll.c: one round; full lists the blocks too. */
int catalog_poll(struct catalog *c, bool full, struct err *err);
/* Ours: the segment's name carries our writer id. */
bool catalog_segment_is_ours(const struct catalog *c, struct slice name);

struct catalog_names {
    VEC(struct catalog_name { char *name; uint64_t modified_unix_ns; }) at;
    bool out_of_memory;
};
/* Names under a prefix, ascending. */
int catalog_list_names(struct catalog *c, const char *prefix, bool delimiter, uint64_t deadline,
                       struct catalog_names *out, struct err *err);
void catalog_names_clear(struct catalog_names *l);
bool catalog_names_have(const struct catalog_names *l, struct slice name);

/* ---- catalog_blocks.c ---- */

/* What a listing has told of one directory of a tenant. */
struct catalog_listed_block {
    uint8_t id[16];
    bool live, compacted, flagged;
    uint64_t created_unix_ns, compacted_unix_ns, newest_unix_ns;
    uint64_t data_bytes;
    uint32_t bloom_count, bloom_last; /* shards with a byte in them; the highest number */
};

/* A tenant's blocks as listed; what is loaded waits here until the plans are known as well. */
struct catalog_tenant_listing {
    char *name;
    VEC(struct catalog_listed_block) listed; /* ascending by id */
    VEC(struct catalog_block_id) known;      /* in the catalogue before the listing began */
    VEC(struct catalog_block *) fresh;       /* loaded and whole at first sight */
    bool index_pb, index_json;               /* there is one */
    bool vanished; /* one that was listed alive was not there when it was read */
};

struct catalog_listing {
    uint64_t started_mono_ns, started_unix_ns;
    VEC(struct catalog_tenant_listing *) tenants;
};

/* Lists all tenants and loads the blocks that are not known. */
int catalog_listing_make(struct catalog *c, struct catalog_listing *l, uint64_t deadline,
                         struct err *err);
/* Loads the outputs of plans that the listing may have passed by. */
int catalog_listing_follow_plans(struct catalog *c, struct catalog_listing *l, uint64_t deadline,
                                 struct err *err);
/* Makes the catalogue what the listing and the plans say. */
bool catalog_listing_apply_locked(struct catalog *c, struct catalog_listing *l);
void catalog_listing_clear(struct catalog_listing *l);
/* Loads one block by its id and inserts it; one that is not there is no error. */
int catalog_block_load(struct catalog *c, struct slice tenant, const uint8_t id[16],
                       uint64_t deadline, struct err *err);
/* Reads metas under that name, "meta.json" or "meta.compacted.json": one reference each in out,
 * which holds count; NULL where there is none or none that can be read. *missing, which may be NULL:
 * how many are not there. At most CATALOG_META_BATCH. */
#define CATALOG_META_BATCH 64
int catalog_metas_read(struct catalog *c, struct slice tenant, const char *name,
                       const struct catalog_block_id *ids, size_t count, uint64_t deadline,
                       struct catalog_block **out, size_t *missing, struct err *err);
/* First sight of blocks that were taken from a tenant index; drops those that are damaged. */
int catalog_blocks_check(struct catalog *c, uint64_t deadline, struct err *err);
/* A block of that meta, which is copied; NULL: no memory. */
struct catalog_block *catalog_block_new(const struct block_meta *meta, uint64_t created_unix_ns);
/* Inserts a block that was written here; makes the tenant. Takes b over. */
bool catalog_add_block_locked(struct catalog *c, struct catalog_block *b);

/* ---- catalog_plan.c ---- */

struct catalog_plan_state *catalog_plan_of_locked(struct catalog *c, struct slice name);
/* Whether a plan's output has taken the block's place. */
bool catalog_is_superseded_locked(const struct catalog *c, struct slice tenant,
                                  const uint8_t id[16]);
/* Notes which outputs are there, and takes their inputs out of the tenants. */
void catalog_plans_apply_locked(struct catalog *c);
/* After a full listing has been applied: forgets plans that no listing can need any more. */
void catalog_plans_forget_locked(struct catalog *c, uint64_t started_mono_ns);
void catalog_plan_state_free(struct catalog_plan_state *p);
/* Reads a plan object; its owner's id into writer[17], which may be NULL. ERR_NOTFOUND. */
int catalog_plan_get(struct catalog *c, struct slice name, uint64_t deadline, char *writer,
                     struct catalog_plan_state **out, struct err *err);
/* Writes it, as ours. */
int catalog_plan_put(struct catalog *c, const struct catalog_plan *p, bool held, uint64_t deadline,
                     struct err *err);
/* Whether a build or plan in the store has, or is about to make, that block. */
bool catalog_is_in_use_locked(const struct catalog *c, struct slice tenant, const uint8_t id[16]);
/* Takes a block out of the tenant's live ones; one reference, or NULL. */
struct catalog_block *catalog_take_block_locked(struct catalog_tenant *t, const uint8_t id[16]);
/* The look at the inputs in the store: *live false when one is gone, marked or flagged. */
int catalog_inputs_live(struct catalog *c, struct slice tenant, const struct catalog_block_id *ids,
                        size_t count, uint64_t deadline, bool *live, struct err *err);
/* Whether no other plan or build has them: goes by the last refresh. */
bool catalog_inputs_free_locked(const struct catalog *c, const struct catalog_plan_state *self);

#endif
