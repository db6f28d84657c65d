/* Questions about tags: what they ask (tags_query.h), how they are run (tags_api.c), what limits
 * them (tags_collect.h) and what they get (tags_json.c). Private to the room. */
#ifndef FRONTEND_TAGS_PRIV_H
#define FRONTEND_TAGS_PRIV_H

#include "frontend/answer_proto.h"
#include "frontend/tags_collect.h"
#include "frontend/tags_query.h"

/* What an answer tells of its making. */
struct tags_metrics {
    uint64_t inspected_bytes, total_block_bytes;
    uint32_t total_jobs, completed_jobs, total_blocks;
    const char *truncated; /* only when asked for, or NULL */
};

/* Each writes the whole body. Tags are in the order of query_tag_cmp. */
int tags_json_names(const struct tag_set *set, const struct tags_metrics *m, struct buf *out);
/* By level, with the intrinsics as a level of their own when they are asked for. */
int tags_json_scopes(const struct tag_set *set, bool intrinsics, const struct tags_metrics *m,
                     struct buf *out);
/* As texts, or with types. */
int tags_json_values(const struct tag_set *set, bool typed, const struct tags_metrics *m,
                     struct buf *out);

/* The same in protobuf, all but the metrics, of `count` tags in that order. */
void tags_proto_names(struct packets *p, const struct query_tag *tags, uint32_t count);
void tags_proto_scopes(struct packets *p, const struct query_tag *tags, uint32_t count,
                       bool intrinsics);
void tags_proto_values(struct packets *p, const struct query_tag *tags, uint32_t count, bool typed);

/* A level as the second version of the API calls it. */
struct tags_scope {
    const char *name;
    enum traceql_level level; /* TRACEQL_LEVELS: the intrinsics */
};
#define TAGS_SCOPES 6
extern const struct tags_scope tags_scopes[TAGS_SCOPES]; /* in the order of answers */

/* The names of the intrinsics, in bytewise order. */
extern const char *const tags_intrinsics[];
extern const size_t tags_intrinsic_count;

#endif
