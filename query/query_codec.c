/* Jobs on a wire. */
#include "query/query_codec.h"

#include <assert.h>

#include "query/query_codec_priv.h"

/* Intervals of a metrics job: what a frontend lets through. */
#define LIMIT_JOB_INTERVALS 1000000

enum {
    JOB_HEAD = 1, /* struct head */
    JOB_BLOCK = 2,
    JOB_SECTION = 3,
    JOB_SEARCH = 4,
    JOB_LEGACY = 5,
    JOB_TAGS = 6,
    JOB_METRICS = 7,
};

/* What every job has. */
struct head {
    uint32_t version, kind;
    struct slice tenant;
    uint64_t left_ms;
    struct slice query; /* text; absent: none */
    uint8_t trace_id[16];
    bool has_query;
    uint32_t row_group_first, row_group_end;
};

#define HEAD(m) offsetof(struct head, m)
PROTO_TABLE(head_table, {1, PROTO_U32, HEAD(version)}, {2, PROTO_U32, HEAD(kind)},
            {3, PROTO_BYTES, HEAD(tenant)}, {4, PROTO_U64, HEAD(left_ms)},
            {5, PROTO_BYTES, HEAD(query)}, {6, PROTO_ID16, HEAD(trace_id)},
            {7, PROTO_BOOL, HEAD(has_query)}, {8, PROTO_U32, HEAD(row_group_first)},
            {9, PROTO_U32, HEAD(row_group_end)});

#define META(m) offsetof(struct block_meta, m)
PROTO_TABLE(meta_table, {1, PROTO_U32, META(version)}, {2, PROTO_ID16, META(id)},
            {3, PROTO_BYTES, META(tenant)}, {4, PROTO_FIXED64, META(start_unix_ns)},
            {5, PROTO_FIXED64, META(end_unix_ns)}, {6, PROTO_I64, META(total_objects)},
            {7, PROTO_U64, META(size)}, {8, PROTO_U32, META(compaction_level)},
            {9, PROTO_U32, META(total_records)}, {10, PROTO_U32, META(bloom_shards)},
            {11, PROTO_U32, META(footer_size)}, {12, PROTO_U32, META(replication_factor)});
enum { META_DEDICATED = 16 };

#define DEDICATED(m) offsetof(struct block_dedicated, m)
PROTO_TABLE(dedicated_table, {1, PROTO_U8, DEDICATED(scope)}, {2, PROTO_U8, DEDICATED(type)},
            {3, PROTO_BOOL, DEDICATED(is_array)}, {4, PROTO_BOOL, DEDICATED(is_blob)},
            {5, PROTO_BYTES, DEDICATED(name)});

struct section {
    struct slice segment;
    struct segment_section section;
};

#define SECTION(m) offsetof(struct section, m)
PROTO_TABLE(section_table, {1, PROTO_BYTES, SECTION(segment)},
            {2, PROTO_U64, SECTION(section.offset)}, {3, PROTO_U64, SECTION(section.bytes)},
            {4, PROTO_U64, SECTION(section.raw_bytes)}, {5, PROTO_U32, SECTION(section.spans)},
            {6, PROTO_FIXED64, SECTION(section.start_unix_ns)},
            {7, PROTO_FIXED64, SECTION(section.end_unix_ns)},
            {8, PROTO_U32, SECTION(section.slice)}, {9, PROTO_U32, SECTION(section.slice_count)});

#define SEARCH(m) offsetof(struct query_search, m)
PROTO_TABLE(search_table, {1, PROTO_U32, SEARCH(limit)}, {2, PROTO_BOOL, SEARCH(most_recent)},
            {3, PROTO_U32, SEARCH(spans_per_set)}, {4, PROTO_FIXED64, SEARCH(start_unix_ns)},
            {5, PROTO_FIXED64, SEARCH(end_unix_ns)});

#define LEGACY(m) offsetof(struct query_legacy, m)
PROTO_TABLE(legacy_table, {1, PROTO_U64, LEGACY(min_duration_ns)},
            {2, PROTO_U64, LEGACY(max_duration_ns)}, {3, PROTO_U32, LEGACY(limit)},
            {4, PROTO_FIXED64, LEGACY(start_unix_ns)}, {5, PROTO_FIXED64, LEGACY(end_unix_ns)});
enum { LEGACY_PAIR = 16 };

#define PAIR(m) offsetof(struct query_pair, m)
PROTO_TABLE(pair_table, {1, PROTO_BYTES, PAIR(key)}, {2, PROTO_BYTES, PAIR(value)});

#define TAGS(m) offsetof(struct query_tags, m)
PROTO_TABLE(tags_table, {1, PROTO_BOOL, TAGS(names)}, {2, PROTO_U32, TAGS(levels)},
            {3, PROTO_U32, TAGS(intrinsic)}, {4, PROTO_BYTES, TAGS(name)},
            {5, PROTO_U64, TAGS(bytes_max)});

#define METRICS(m) offsetof(struct query_metrics, m)
PROTO_TABLE(metrics_table, {1, PROTO_I64, METRICS(grid.after_ns)},
            {2, PROTO_I64, METRICS(grid.step_ns)}, {3, PROTO_U32, METRICS(grid.intervals)},
            {4, PROTO_U32, METRICS(exemplars)});

static_assert(sizeof(enum block_version) == sizeof(uint32_t) &&
                  sizeof(enum traceql_intrinsic) == sizeof(uint32_t) &&
                  sizeof(unsigned) == sizeof(uint32_t),
              "enums are read and written as 32 bits");

/* ---- writing ---- */

void query_put_object(struct proto_writer *w, uint32_t number, const struct proto_table *t,
                      const void *object)
{
    size_t begun = proto_begin(w, number);
    proto_put_table(w, t, object);
    proto_end(w, begun);
}

static void put_head(struct proto_writer *w, const struct query_job *job, uint64_t now_mono_ns)
{
    const struct traceql_query *q = job->kind == QUERY_SEARCH    ? job->search.query
                                    : job->kind == QUERY_METRICS ? job->metrics.query
                                    : job->kind == QUERY_TAGS    ? job->tags.filter
                                                                 : NULL;
    uint64_t left = job->deadline_mono_ns > now_mono_ns ? job->deadline_mono_ns - now_mono_ns : 0;
    struct head h = {.version = QUERY_CODEC_VERSION,
                     .kind = job->kind,
                     .tenant = job->source.tenant,
                     .left_ms = (left + NS_PER_MS - 1) / NS_PER_MS,
                     .row_group_first = job->source.row_group_first,
                     .row_group_end = job->source.row_group_end};
    if (q) {
        h.query = traceql_query_text(q);
        h.has_query = true;
    }
    if (job->kind == QUERY_FIND_TRACE)
        memcpy(h.trace_id, job->trace_id, sizeof h.trace_id);
    query_put_object(w, JOB_HEAD, &head_table, &h);
}

static void put_block(struct proto_writer *w, const struct block_meta *m)
{
    size_t begun = proto_begin(w, JOB_BLOCK);
    proto_put_table(w, &meta_table, m);
    for (size_t i = 0; i < m->dedicated_count; i++)
        query_put_object(w, META_DEDICATED, &dedicated_table, &m->dedicated[i]);
    proto_end(w, begun);
}

/* Of a question about one trace, only the sections that may have it. */
static void put_sections(struct proto_writer *w, const struct query_job *job)
{
    const struct catalog_view *v = job->source.view;
    uint64_t fingerprint = job->kind == QUERY_FIND_TRACE ? segment_fingerprint(job->trace_id) : 0;
    for (size_t i = 0; v && i < v->section_count; i++) {
        const struct catalog_section *s = &v->sections[i];
        if (job->kind == QUERY_FIND_TRACE && !segment_has_trace(s->section, fingerprint))
            continue;
        query_put_object(w, JOB_SECTION, &section_table,
                         &(struct section){s->segment->name, *s->section});
    }
}

static void put_legacy(struct proto_writer *w, const struct query_legacy *l)
{
    size_t begun = proto_begin(w, JOB_LEGACY);
    proto_put_table(w, &legacy_table, l);
    for (uint32_t i = 0; i < l->tag_count; i++)
        query_put_object(w, LEGACY_PAIR, &pair_table, &l->tags[i]);
    proto_end(w, begun);
}

int query_job_encode(const struct query_job *job, uint64_t now_mono_ns, struct buf *out,
                     struct err *err)
{
    struct proto_writer w = {.out = out};
    put_head(&w, job, now_mono_ns);
    if (job->source.block)
        put_block(&w, &job->source.block->meta);
    else
        put_sections(&w, job);
    switch (job->kind) {
    case QUERY_SEARCH:
        query_put_object(&w, JOB_SEARCH, &search_table, &job->search);
        break;
    case QUERY_LEGACY:
        put_legacy(&w, &job->legacy);
        break;
    case QUERY_TAGS:
        query_put_object(&w, JOB_TAGS, &tags_table, &job->tags);
        break;
    case QUERY_METRICS:
        query_put_object(&w, JOB_METRICS, &metrics_table, &job->metrics);
        break;
    case QUERY_FIND_TRACE:
        break;
    }
    return w.rc < 0 ? err_set(err, w.rc, "a job takes more than %zu bytes", out->max) : 0;
}

/* ---- reading ---- */

int query_get_object(const struct proto_field *f, const struct proto_table *t, void *out,
                     struct err *err)
{
    struct slice message;
    struct proto_field g;
    int rc = proto_get_bytes(f, &message, err);
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, err)) == 0) {
        rc = proto_get_table(t, &g, out, err);
        rc = rc < 0 ? rc : 0;
    }
    return rc < 0 ? rc : 0;
}

struct reader {
    struct query_job *job;
    struct head head;
    struct catalog_view *view; /* the job's */
    struct catalog *catalog;
    struct arena *arena;
    struct err *err;
};

static int broken(const struct reader *r, const char *what)
{
    return err_set(r->err, ERR_CORRUPT, "not a job: %s", what);
}

/* The messages of that number inside f, each an object of size bytes, in the arena. */
static int get_objects(struct reader *r, const struct proto_field *f, uint32_t number,
                       const struct proto_table *t, size_t size, void **out, size_t *count)
{
    struct slice message;
    struct proto_field g;
    int rc = proto_get_bytes(f, &message, r->err);
    uint32_t max = rc == 0 ? proto_count(message, number) : 0;
    *count = 0;
    *out = arena_alloc_array(r->arena, max, size);
    if (!*out)
        return arena_err(r->arena, r->err, "a job");
    if (max)
        memset(*out, 0, max * size);
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, r->err)) == 0) {
        if (g.number == number)
            rc = query_get_object(&g, t, (char *)*out + size * (*count)++, r->err);
    }
    return rc < 0 ? rc : 0;
}

static int get_block(struct reader *r, const struct proto_field *f)
{
    struct catalog_block *b = arena_zalloc(r->arena, sizeof *b);
    void *dedicated;
    if (!b)
        return arena_err(r->arena, r->err, "a job");
    int rc = query_get_object(f, &meta_table, &b->meta, r->err);
    if (rc == 0)
        rc = get_objects(r, f, META_DEDICATED, &dedicated_table, sizeof(struct block_dedicated),
                         &dedicated, &b->meta.dedicated_count);
    if (rc < 0)
        return rc;
    b->meta.dedicated = dedicated;
    for (size_t i = 0; i < b->meta.dedicated_count; i++) {
        if (b->meta.dedicated[i].scope > BLOCK_SCOPE_EVENT ||
            b->meta.dedicated[i].type > BLOCK_DEDICATED_INT)
            return broken(r, "a dedicated column of an unknown kind");
    }
    if (b->meta.version < BLOCK_VPARQUET3 || b->meta.version > BLOCK_VPARQUET5)
        return broken(r, "a block of an unknown version");
    atomic_init(&b->refs, 1);
    r->job->source.block = b;
    return 0;
}

static void release_view(void *ctx)
{
    catalog_view_release(ctx);
}

/* Room for all sections, released with the arena. */
static int begin_sections(struct reader *r, uint32_t count)
{
    struct catalog_view *v = arena_zalloc(r->arena, sizeof *v);
    if (!v || !(v->sections = arena_array(r->arena, struct catalog_section, count)) ||
        !arena_on_reset(r->arena, release_view, v))
        return arena_err(r->arena, r->err, "a job");
    r->view = v;
    r->job->source.view = v;
    return 0;
}

static int get_section(struct reader *r, const struct proto_field *f)
{
    struct catalog_view *v = r->view;
    struct section s = {0};
    int rc = query_get_object(f, &section_table, &s, r->err);
    if (rc < 0)
        return rc;
    if (s.section.raw_bytes > LIMIT_SEGMENT_SECTION_BYTES ||
        s.section.bytes > LIMIT_SEGMENT_SECTION_BYTES)
        return broken(r, "a section that no segment has");
    if (!r->catalog)
        return err_set(r->err, ERR_UNSUPPORTED, "this worker takes no jobs about live spans");
    s.section.tenant = r->head.tenant;
    rc = catalog_lend_section(r->catalog, s.segment, &s.section, &v->sections[v->section_count],
                              r->err);
    if (rc < 0)
        return rc;
    struct catalog_section *lent = &v->sections[v->section_count++];
    if (r->job->kind != QUERY_FIND_TRACE)
        return 0;
    /* It is here because it may have the trace. */
    struct segment_section *copy = arena_alloc(r->arena, sizeof *copy);
    uint64_t *fingerprint = arena_alloc(r->arena, sizeof *fingerprint);
    if (!copy || !fingerprint)
        return arena_err(r->arena, r->err, "a job");
    *fingerprint = segment_fingerprint(r->head.trace_id);
    *copy = *lent->section;
    copy->traces = fingerprint;
    copy->trace_count = 1;
    lent->section = copy;
    return 0;
}

static int parse_query(struct reader *r, const struct traceql_query **out)
{
    struct traceql_query *q;
    int rc = traceql_parse(r->head.query, r->arena, &q, r->err);
    *out = rc == 0 ? q : NULL;
    return rc;
}

static int get_search(struct reader *r, const struct proto_field *f)
{
    struct query_search *s = &r->job->search;
    int rc = query_get_object(f, &search_table, s, r->err);
    return rc < 0 ? rc : parse_query(r, &s->query);
}

static int get_legacy(struct reader *r, const struct proto_field *f)
{
    struct query_legacy *l = &r->job->legacy;
    void *tags;
    size_t count = 0;
    int rc = query_get_object(f, &legacy_table, l, r->err);
    if (rc == 0)
        rc = get_objects(r, f, LEGACY_PAIR, &pair_table, sizeof(struct query_pair), &tags, &count);
    if (rc == 0) {
        l->tags = tags;
        l->tag_count = (uint32_t)count;
    }
    return rc;
}

static int get_tags(struct reader *r, const struct proto_field *f)
{
    struct query_tags *t = &r->job->tags;
    int rc = query_get_object(f, &tags_table, t, r->err);
    if (rc == 0 && t->intrinsic >= TRACEQL_INTRINSICS)
        rc = broken(r, "an unknown intrinsic");
    return rc < 0 || !r->head.has_query ? rc : parse_query(r, &t->filter);
}

static int get_metrics(struct reader *r, const struct proto_field *f)
{
    struct query_metrics *m = &r->job->metrics;
    int rc = query_get_object(f, &metrics_table, m, r->err);
    if (rc == 0 &&
        (m->grid.step_ns <= 0 || m->grid.intervals == 0 || m->grid.intervals > LIMIT_JOB_INTERVALS))
        rc = broken(r, "intervals that no range has");
    rc = rc < 0 ? rc : parse_query(r, &m->query);
    if (rc == 0 && !traceql_query_is_metrics(m->query))
        rc = broken(r, "a metrics job without a metrics query");
    return rc;
}

static int get_head(struct reader *r, const struct proto_field *f, uint64_t now_mono_ns)
{
    struct head *h = &r->head;
    int rc = query_get_object(f, &head_table, h, r->err);
    if (rc < 0)
        return rc;
    if (h->version != QUERY_CODEC_VERSION)
        return err_set(r->err, ERR_UNSUPPORTED, "a job of version %u, this worker knows %d",
                       h->version, QUERY_CODEC_VERSION);
    if (h->kind < QUERY_SEARCH || h->kind > QUERY_FIND_TRACE)
        return broken(r, "an unknown kind");
    r->job->kind = (enum query_kind)h->kind;
    r->job->source.tenant = h->tenant;
    r->job->source.row_group_first = h->row_group_first;
    r->job->source.row_group_end = h->row_group_end;
    uint64_t left_ms = h->left_ms < UINT32_MAX ? h->left_ms : UINT32_MAX;
    r->job->deadline_mono_ns = now_mono_ns + left_ms * NS_PER_MS;
    if (h->kind == QUERY_FIND_TRACE)
        memcpy(r->job->trace_id, h->trace_id, sizeof h->trace_id);
    return 0;
}

/* One field after the head. */
static int get_part(struct reader *r, const struct proto_field *f, bool *question)
{
    static int (*const parts[])(struct reader * r, const struct proto_field *f) = {
        [QUERY_SEARCH] = get_search,   [QUERY_LEGACY] = get_legacy, [QUERY_TAGS] = get_tags,
        [QUERY_METRICS] = get_metrics, [QUERY_FIND_TRACE] = NULL,
    };
    static const uint32_t numbers[] = {[QUERY_SEARCH] = JOB_SEARCH,
                                       [QUERY_LEGACY] = JOB_LEGACY,
                                       [QUERY_TAGS] = JOB_TAGS,
                                       [QUERY_METRICS] = JOB_METRICS,
                                       [QUERY_FIND_TRACE] = 0};
    if (f->number == JOB_BLOCK)
        return get_block(r, f);
    if (f->number == JOB_SECTION)
        return get_section(r, f);
    if (f->number != numbers[r->job->kind])
        return 0;
    *question = true;
    return parts[r->job->kind](r, f);
}

int query_job_decode(struct slice bytes, uint64_t now_mono_ns, struct catalog *catalog,
                     struct arena *a, struct query_job *out, struct err *err)
{
    struct reader r = {.job = out, .catalog = catalog, .arena = a, .err = err};
    struct cursor c = cursor_of(bytes);
    struct proto_field f;
    *out = (struct query_job){0};
    int rc = begin_sections(&r, proto_count(bytes, JOB_SECTION));
    if (rc < 0)
        return rc;
    rc = proto_next(&c, &f, err);
    if (rc == 1 || (rc == 0 && f.number != JOB_HEAD))
        rc = broken(&r, "it has no head");
    rc = rc < 0 ? rc : get_head(&r, &f, now_mono_ns);
    bool question = out->kind == QUERY_FIND_TRACE;
    while (rc == 0 && (rc = proto_next(&c, &f, err)) == 0)
        rc = get_part(&r, &f, &question);
    if (rc == 1)
        rc = question ? 0 : broken(&r, "it asks nothing");
    return rc;
}
