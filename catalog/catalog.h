/* What is in the bucket: the live blocks of each tenant, and the segments not yet in blocks.
 *
 * The catalogue is kept in memory by a thread of its own that lists the store; the process that
 * writes segments and blocks tells it at once, without a listing. Queries take a view: counted,
 * consistent, each span in it once, whatever is committed meanwhile.
 *
 * State objects stand beside the tenants under names without a '/', so that a Tempo on the same
 * bucket, which takes every common prefix for a tenant, never sees them:
 *   _rubato.wal.<unix ms>-<writer>-<seq>   a segment
 *   _rubato.build.<unix ms>-<writer>-<seq> a build: the segments that become blocks together
 *   _rubato.compact.<unix ms>-<writer>-<seq> a plan: the blocks that become one (catalog_plan.h)
 *
 * A build object is written before the blocks of its segments, whose ids follow from its name and
 * the tenant. So a build that is done twice writes the same blocks, and a reader that sees a
 * build's block leaves that tenant's part of its segments out. */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include <stdatomic.h>

#include "base/arena.h"
#include "block/block_meta.h"
#include "catalog/segment.h"
#include "objstore/objstore.h"

#define CATALOG_WAL_PREFIX "_rubato.wal."
#define CATALOG_BUILD_PREFIX "_rubato.build."
#define CATALOG_PLAN_PREFIX "_rubato.compact."

/* How long a finished build or plan object stays for readers in other processes, whose listing may
 * have begun before. A listing that takes two thirds of it is given up, so none can miss it. */
#define CATALOG_LINGER_NS (180 * NS_PER_S)

struct catalog;

struct catalog_opts {
    struct objstore *store;
    const struct log *log;
    struct metrics *metrics;
    const struct clock *clock;
    uint64_t block_poll_ns;   /* how often all blocks are listed */
    uint64_t segment_poll_ns; /* how often segments of other processes are looked for */
    uint64_t linger_ns;       /* 0: CATALOG_LINGER_NS */
    size_t live_bytes_max;    /* raw bytes of segments kept in memory; the rest is read again */
    bool blocks_only;         /* neither segments nor builds are looked at: for a compactor */
};

/* A live block. Counted; immutable but for unchecked, under the catalogue's lock. */
struct catalog_block {
    atomic_uint refs;
    struct arena *arena;
    struct block_meta meta;
    uint64_t created_unix_ns; /* of its meta.json, by the store's clock */
    bool unchecked;           /* its data has not been looked at yet */
};

/* A segment. Counted; only raw changes, under the catalogue's lock. */
struct catalog_segment {
    atomic_uint refs;
    struct arena *arena;
    struct slice name; /* key */
    uint64_t added_mono_ns;
    uint64_t bytes; /* of the object */
    uint64_t raw_bytes;
    struct segment_footer footer;
    struct shared_bytes **raw; /* per section; NULL where not in memory */
    struct slice build;        /* name of the build that has it, or empty */
    bool lent;                 /* known from a job: catalog_lend_section */
};

struct catalog_block *catalog_block_acquire(struct catalog_block *b);
struct catalog_block *catalog_block_release(struct catalog_block *b);
struct catalog_segment *catalog_segment_acquire(struct catalog_segment *s);
struct catalog_segment *catalog_segment_release(struct catalog_segment *s);

int catalog_new(const struct catalog_opts *opts, struct catalog **out, struct err *err);
/* The first listing, then the thread that keeps up. Queries before the first listing is done wait
 * for it (catalog_view). */
int catalog_start(struct catalog *c, struct err *err);
void catalog_stop(struct catalog *c); /* joins the thread */
void catalog_free(struct catalog *c); /* NULL is fine */

/* Waits until the first listing is done. ERR_TIMEOUT, or the error of the listing. */
int catalog_wait(struct catalog *c, uint64_t deadline_mono_ns, struct err *err);

/* Looks at the store, and waits until a listing begun after this call is done. */
int catalog_refresh(struct catalog *c, uint64_t deadline_mono_ns, struct err *err);

/* Name for a new segment of this process. */
int catalog_segment_name(struct catalog *c, struct buf *out);
/* A segment that this process has stored: visible from now on. Takes over arena and raw (also on
 * failure). name is copied. */
int catalog_add_segment(struct catalog *c, struct slice name, uint64_t bytes, struct arena *a,
                        const struct segment_footer *footer, struct shared_bytes **raw,
                        struct err *err);

/* One section of one segment, for one tenant. */
struct catalog_section {
    struct catalog_segment *segment;
    const struct segment_section *section;
    uint32_t index;
};

struct catalog_view {
    struct catalog_block **blocks; /* newest end time first */
    size_t block_count;
    struct catalog_section *sections; /* oldest first */
    size_t section_count;
};

/* What tenant has now. Arrays live in the arena; release before the arena goes. */
int catalog_view(struct catalog *c, struct slice tenant, uint64_t deadline_mono_ns,
                 struct arena *a, struct catalog_view *out, struct err *err);
void catalog_view_release(struct catalog_view *v);

/* Requests of a section, from memory or the store. One reference in *out. */
int catalog_section_raw(struct catalog *c, const struct catalog_section *s,
                        uint64_t deadline_mono_ns, struct shared_bytes **out, struct err *err);

/* A section as a job of another process describes it; its fingerprints are left out. One reference
 * in out->segment, which is the same for the same section while jobs keep naming it. */
int catalog_lend_section(struct catalog *c, struct slice name,
                         const struct segment_section *section, struct catalog_section *out,
                         struct err *err);

/* Tenants with blocks or segments; fn is called without the lock, slices good during the call. */
typedef void(catalog_tenant_fn)(void *ctx, struct slice tenant);
int catalog_tenants(struct catalog *c, catalog_tenant_fn *fn, void *ctx);

/* ---- for the builder ---- */

/* Segments that wait for a build: how many raw bytes, and when the oldest came (0: none). */
void catalog_waiting(struct catalog *c, uint64_t *raw_bytes, uint64_t *oldest_mono_ns);

struct catalog_build {
    struct arena *arena;
    struct slice name; /* key of the build object */
    struct catalog_segment **segments;
    size_t segment_count;
    bool committed; /* all its blocks are there: only catalog_build_finish is left */
};

/* Takes the oldest waiting segments, at most raw_bytes_max of them (at least one), and writes the
 * build object. *out NULL: nothing waits. On failure the segments wait again. */
int catalog_build_begin(struct catalog *c, uint64_t raw_bytes_max, uint64_t deadline_mono_ns,
                        struct catalog_build **out, struct err *err);
/* Builds left unfinished by an earlier process, one at each call; *out NULL: none. */
int catalog_build_resume(struct catalog *c, uint64_t deadline_mono_ns, struct catalog_build **out,
                         struct err *err);
/* Id of the block that this build makes for that tenant. */
void catalog_build_block_id(struct slice build, struct slice tenant, uint8_t id[16]);
/* Whether that block is there already. */
bool catalog_has_block(struct catalog *c, struct slice tenant, const uint8_t id[16]);
/* A block of a build has been stored: in one step it appears and the tenant's sections of the
 * build's segments are left out of views. meta is copied. */
int catalog_build_commit(struct catalog *c, const struct catalog_build *b,
                         const struct block_meta *meta, struct err *err);
/* All blocks are there: deletes the segments, then the build object. Frees b. A failure leaves
 * objects that the next start removes. */
int catalog_build_finish(struct catalog *c, struct catalog_build *b, uint64_t deadline_mono_ns,
                         struct err *err);
/* Gives the build up for now; catalog_build_resume hands it out again. Frees b. */
void catalog_build_abandon(struct catalog *c, struct catalog_build *b);

#endif
