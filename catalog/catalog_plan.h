/* Compaction plans: which blocks become one, and the steps that keep every span in exactly one
 * place for a reader whenever a process dies, without a lock.
 *
 * A plan object names a tenant and its input blocks; the output's id follows from the plan's name
 * and the tenant. A reader that knows a plan leaves its inputs out once the output is there, and
 * shows the inputs until then. So it lists plans after blocks: an output that it sees always has
 * its plan.
 *
 * 1. The plan object is written.
 * 2. Plans, builds and inputs are looked at again: when another plan overlaps, an input is gone, or
 *    an input still belongs to a build or is the output of a plan that is there, the plan is
 *    deleted. Two plans that overlap cannot both pass: the one written second sees the first.
 * 3. The plan object is written again, as held. Only a held plan is worked on, so only a held one
 *    is taken over when its owner has died; one that is not held is deleted then.
 * 4. The output is written, meta.json last, after a look whether the plan is still there and still
 *    ours, and the inputs still live.
 * 5. Each input is marked in Tempo's way: meta.compacted.json, then meta.json goes.
 * 6. After a linger the plan object is deleted.
 *
 * What a crash between the steps leaves: docs/architecture.md. Two processes may work on one plan
 * when the first was only slow: they write the same bytes under the same keys, because all that the
 * output depends on stands in the plan. */
#ifndef CATALOG_CATALOG_PLAN_H
#define CATALOG_CATALOG_PLAN_H

#include "catalog/catalog.h"

/* Inputs of one plan. Hit: ERR_INVALID. */
#define LIMIT_PLAN_INPUTS 64

/* What the output depends on beside its inputs. */
struct catalog_plan_opts {
    uint64_t row_group_bytes;
    double bloom_false_positive;
    uint32_t bloom_shard_bytes;
};

struct catalog_plan {
    struct arena *arena;
    struct slice name; /* key of the plan object */
    struct slice tenant;
    struct catalog_plan_opts opts;
    uint8_t (*ids)[16]; /* of the inputs */
    size_t input_count;
    struct catalog_block **inputs; /* NULL when committed */
    uint8_t output[16];
    bool committed; /* the output is there: only catalog_plan_finish is left */
    uint64_t beat_mono_ns;
};

/* Looks at the plan and build objects in the store: what the functions below go by, and which plans
 * have been left. */
int catalog_plans_refresh(struct catalog *c, uint64_t deadline_mono_ns, struct err *err);

/* Live blocks that may become inputs now: no nocompact.flg, no build or plan that names them. One
 * reference each; the array is in the arena. */
int catalog_compactable(struct catalog *c, struct slice tenant, struct arena *a,
                        struct catalog_block ***blocks, size_t *count, struct err *err);

/* Writes a plan for these blocks of a tenant and holds it. *out NULL: another process is at one of
 * them, or one is gone. */
int catalog_plan_begin(struct catalog *c, struct catalog_block *const *inputs, size_t count,
                       const struct catalog_plan_opts *opts, uint64_t deadline_mono_ns,
                       struct catalog_plan **out, struct err *err);
/* Takes over one plan that was left, and clears those away that were left before they were held;
 * *out NULL: none. Goes by the last catalog_plans_refresh. */
int catalog_plan_resume(struct catalog *c, uint64_t deadline_mono_ns, struct catalog_plan **out,
                        struct err *err);
/* To be called all the time while the output is written: tells others, every few seconds, that the
 * plan is being worked on. ERR_CANCELLED: it is not ours any more. */
int catalog_plan_beat(struct catalog *c, struct catalog_plan *p, uint64_t deadline_mono_ns,
                      struct err *err);
/* The look before the output's meta.json. ERR_CANCELLED: the plan must be given up. */
int catalog_plan_check(struct catalog *c, struct catalog_plan *p, uint64_t deadline_mono_ns,
                       struct err *err);
/* The output has been stored: in one step it appears and the inputs are left out of views. meta is
 * copied. */
int catalog_plan_commit(struct catalog *c, struct catalog_plan *p, const struct block_meta *meta,
                        struct err *err);
/* Marks the inputs. Frees p. A failure leaves a plan that catalog_plan_resume hands out again. */
int catalog_plan_finish(struct catalog *c, struct catalog_plan *p, uint64_t deadline_mono_ns,
                        struct err *err);
/* Nothing was written that a reader sees, and nothing will be: deletes the plan object. Frees p. */
int catalog_plan_drop(struct catalog *c, struct catalog_plan *p, uint64_t deadline_mono_ns,
                      struct err *err);
/* Leaves the plan as it is; it is handed out again later, here or elsewhere. Frees p. */
void catalog_plan_abandon(struct catalog *c, struct catalog_plan *p);

/* Id of the block that this plan makes. */
void catalog_plan_block_id(struct slice plan, struct slice tenant, uint8_t id[16]);

#endif
