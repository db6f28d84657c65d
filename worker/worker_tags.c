/* Names of attributes, and values of one, in a block or in the live columns.
 *
 * Without a filter that is mostly a matter of dictionaries. With one, the query is evaluated as in
 * a search and only what belongs to the spans that match is collected; but an attribute with a
 * column of its own is named whenever the column holds anything, as Tempo does. */
#include "base/text.h"
#include "query/tag_set.h"
#include "worker/attr_list.h"
#include "worker/attr_walk.h"
#include "worker/dictionary.h"
#include "worker/scan_source.h"
#include "worker/worker_limits.h"

/* Which elements belong to spans that match. */
struct marks {
    uint8_t *traces, *resources, *scopes, *spans;
    /* Names of all levels under a filter. Tempo joins the lists of events and links then, the first
     * event of a span with its first link and so on, and its answers are kept: spans that have only
     * one of the lists are passed over, and of the others the pairs are seen. Per span how many
     * there are; NULL: all is seen. */
    uint32_t *pairs;
};

struct tags_job {
    const struct query_tags *tags;
    struct traceql_eval *eval; /* of the filter */
    struct tag_set set;
    uint64_t bytes_max, text_bytes;
    bool full;
    /* of the row group */
    bool answered[BLOCK_LEAVES]; /* all that the column can tell has been told */
    bool own_unknown;            /* no footer tells whether some columns have values */
    uint64_t status_seen;        /* for status_values */
    bool status_look;
    /* of the window */
    struct scan *scan;
    struct marks marks;
    enum traceql_level level; /* of the column that is walked */
};

/* ---- collecting ---- */

static int add(struct tags_job *job, enum traceql_level level, struct traceql_value v,
               struct err *err)
{
    struct query_tag tag = {.level = job->tags->names ? (uint8_t)level : 0, .value = v};
    if (job->full)
        return 0;
    uint64_t bytes = v.type == TRACEQL_STRING ? v.str.len : 1;
    if (tag_set_has(&job->set, &tag))
        return 0;
    if (job->text_bytes + bytes > job->bytes_max) {
        job->full = true;
        return 0;
    }
    job->text_bytes += bytes;
    return tag_set_add(&job->set, &tag, NULL, err);
}

static int add_text(struct tags_job *job, enum traceql_level level, struct slice text,
                    struct err *err)
{
    return add(job, level, (struct traceql_value){.type = TRACEQL_STRING, .str = text}, err);
}

/* Under a filter some numbers are words. */
static enum traceql_type int_type(const struct query_tags *t)
{
    if (!t->filter)
        return TRACEQL_INT;
    switch (t->intrinsic) {
    case TRACEQL_SPAN_STATUS:
        return TRACEQL_STATUS;
    case TRACEQL_SPAN_KIND:
        return TRACEQL_KIND;
    case TRACEQL_SPAN_DURATION:
    case TRACEQL_TRACE_DURATION:
    case TRACEQL_EVENT_TIME:
        return TRACEQL_DURATION;
    default:
        return TRACEQL_INT;
    }
}

static int add_value(struct tags_job *job, const struct column *c, uint32_t i, struct err *err)
{
    struct traceql_value v = {.type = TRACEQL_NIL};
    switch (c->type) {
    case COLUMN_BOOL:
        v.type = TRACEQL_BOOL;
        v.b = c->v.b[i];
        break;
    case COLUMN_I32:
        v.type = int_type(job->tags);
        v.i64 = c->v.i32[i];
        break;
    case COLUMN_I64:
        v.type = int_type(job->tags);
        v.i64 = c->v.i64[i];
        break;
    case COLUMN_F64:
        v.type = TRACEQL_FLOAT;
        v.f64 = c->v.f64[i];
        break;
    case COLUMN_BYTES:
        v.type = TRACEQL_STRING;
        v.str = column_bytes(c, i);
        break;
    }
    return add(job, TRACEQL_LEVEL_TRACE, v, err);
}

/* ---- the filter ---- */

/* For walks: whether the element at hand belongs to a span that matches. */
static bool wanted(void *ctx, const struct walk *w)
{
    struct tags_job *job = ctx;
    const struct marks *m = &job->marks;
    struct scan *s = job->scan;
    switch (job->level) {
    case TRACEQL_LEVEL_TRACE:
        return w->traces && w->traces <= s->traces && m->traces[w->traces - 1];
    case TRACEQL_LEVEL_RESOURCE:
        return w->resources && w->resources <= s->resources && m->resources[w->resources - 1];
    case TRACEQL_LEVEL_SCOPE:
        return w->scopes && w->scopes <= s->scopes && m->scopes[w->scopes - 1];
    case TRACEQL_LEVEL_SPAN:
        return w->spans && w->spans <= s->spans && m->spans[w->spans - 1];
    default:
        return w->spans && w->spans <= s->spans && m->spans[w->spans - 1] && w->children &&
               (!m->pairs || w->children <= m->pairs[w->spans - 1]);
    }
}

/* Marks what the marked spans belong to. */
static int mark_owners(struct tags_job *job, struct err *err)
{
    struct scan *s = job->scan;
    struct marks *m = &job->marks;
    m->traces = arena_zalloc(s->arena, s->traces);
    m->resources = arena_zalloc(s->arena, s->resources);
    m->scopes = arena_zalloc(s->arena, s->scopes);
    if (!m->traces || !m->resources || !m->scopes)
        return arena_err(s->arena, err, "a row group");
    for (uint32_t i = 0; i < s->spans; i++) {
        m->scopes[s->span_scope[i]] |= m->spans[i];
        m->resources[s->span_resource[i]] |= m->spans[i];
        m->traces[s->span_trace[i]] |= m->spans[i];
    }
    return 0;
}

static int mark(struct tags_job *job, const struct traceql_result *r, struct err *err)
{
    struct scan *s = job->scan;
    job->marks = (struct marks){.spans = arena_zalloc(s->arena, s->spans)};
    if (!job->marks.spans)
        return arena_err(s->arena, err, "a row group");
    for (uint32_t i = 0; i < r->span_count; i++)
        job->marks.spans[r->spans[i]] = 1;
    return mark_owners(job, err);
}

/* Per span how many events or links it has, by the list's key column. */
static uint32_t *children(struct scan *s, int key_leaf)
{
    const struct column *c = scan_column(s, key_leaf);
    uint32_t *count = arena_zalloc(s->arena, (size_t)s->spans * sizeof *count);
    struct walk w = {0};
    for (uint32_t i = 0; count && i < c->entries; i++) {
        walk_step(&w, c, i);
        if (w.spans && w.spans <= s->spans)
            count[w.spans - 1] = w.children;
    }
    return count;
}

static int mark_pairs(struct tags_job *job, struct err *err)
{
    struct scan *s = job->scan;
    uint32_t *events = children(s, BLOCK_EVENT_ATTRS + BLOCK_ATTR_KEY);
    uint32_t *links = children(s, BLOCK_LINK_ATTRS + BLOCK_ATTR_KEY);
    if (!events || !links)
        return arena_err(s->arena, err, "a row group");
    for (uint32_t i = 0; i < s->spans; i++) {
        job->marks.spans[i] &= (events[i] == 0) == (links[i] == 0);
        events[i] = events[i] < links[i] ? events[i] : links[i];
    }
    job->marks.pairs = events;
    return mark_owners(job, err);
}

/* ---- names ---- */

/* Whether the column has any value in the row group, as far as that is known without reading it. */
enum has { HAS_NONE, HAS_SOME, HAS_UNKNOWN };

static enum has has_values(const struct scan *s, int leaf)
{
    if (s->ready)
        return s->ready[leaf].values ? HAS_SOME : HAS_NONE;
    const struct parquet_chunk *c =
        &s->footer->file->row_groups[s->row_group].chunks[s->footer->leaf_of[leaf]];
    if (c->null_count < 0)
        return HAS_UNKNOWN;
    return c->num_values > c->null_count ? HAS_SOME : HAS_NONE;
}

/* Names of attributes with a column of their own. windows: of those about which the footer is
 * silent. */
static int own_names(struct tags_job *job, struct scan *s, bool windows, struct err *err)
{
    struct own_column *own;
    size_t count;
    int rc = own_columns(s, &own, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (!(job->tags->levels & 1u << own[i].level))
            continue;
        enum has has = has_values(s, own[i].leaf);
        job->own_unknown |= has == HAS_UNKNOWN;
        if (windows && has == HAS_UNKNOWN) {
            rc = scan_need(s, &own[i].leaf, 1, err);
            has = rc == 0 && scan_column(s, own[i].leaf)->values ? HAS_SOME : HAS_NONE;
        } else if (windows) {
            continue;
        }
        if (rc == 0 && has == HAS_SOME)
            rc = add_text(job, own[i].level, own[i].name, err);
    }
    return rc;
}

static int add_texts(struct tags_job *job, enum traceql_level level, const struct column *c,
                     struct err *err)
{
    const struct slice *texts = c->has_dict ? c->dict : c->v.bytes;
    uint32_t count = c->has_dict ? c->dict_count : c->values;
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0 && !job->full; i++)
        rc = add_text(job, level, texts[i], err);
    return rc;
}

/* The keys of elements that belong to spans that match. */
static int add_keys(struct tags_job *job, enum traceql_level level, const struct column *key,
                    struct err *err)
{
    struct walk w = {0};
    uint32_t value = 0;
    int rc = 0;
    uint8_t *seen = arena_zalloc(job->scan->arena, key->has_dict ? key->dict_count : 0);
    if (!seen)
        return arena_err(job->scan->arena, err, "a row group");
    job->level = level;
    for (uint32_t i = 0; i < key->entries && rc == 0 && !job->full; i++) {
        walk_step(&w, key, i);
        if (key->def[i] != key->def_max)
            continue;
        uint32_t v = value++;
        if (!wanted(job, &w) || (key->has_dict && seen[key->v.idx[v]]))
            continue;
        if (key->has_dict)
            seen[key->v.idx[v]] = 1;
        rc = add_text(job, level, column_bytes(key, v), err);
    }
    return rc;
}

static const enum traceql_level name_levels[] = {TRACEQL_LEVEL_RESOURCE, TRACEQL_LEVEL_SCOPE,
                                                 TRACEQL_LEVEL_SPAN, TRACEQL_LEVEL_EVENT,
                                                 TRACEQL_LEVEL_LINK};
enum { NAME_LEVELS = sizeof name_levels / sizeof name_levels[0] };

static int names_batch(struct tags_job *job, const struct traceql_result *matched, struct err *err)
{
    struct scan *s = job->scan;
    enum traceql_level levels[NAME_LEVELS];
    int leaves[NAME_LEVELS];
    size_t n = 0;
    for (size_t i = 0; i < NAME_LEVELS; i++) {
        int leaf = attr_first_leaf(name_levels[i]) + BLOCK_ATTR_KEY;
        if (!(job->tags->levels & 1u << name_levels[i]) || job->answered[leaf])
            continue;
        levels[n] = name_levels[i];
        leaves[n++] = leaf;
    }
    int rc = job->own_unknown ? own_names(job, s, true, err) : 0;
    if (rc < 0 || (matched && matched->span_count == 0))
        return rc;
    rc = scan_need(s, leaves, n, err);
    if (rc == 0 && matched && n == NAME_LEVELS)
        rc = mark_pairs(job, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct column *c = scan_column(s, leaves[i]);
        rc = matched ? add_keys(job, levels[i], c, err) : add_texts(job, levels[i], c, err);
    }
    return rc;
}

/* ---- values ---- */

static int intrinsic_leaf(const struct scan *s, enum traceql_intrinsic i, enum traceql_level *level)
{
    static const struct {
        int leaf;
        enum traceql_level level;
    } of[TRACEQL_INTRINSICS] = {
        [TRACEQL_SPAN_DURATION] = {BLOCK_SPAN_DURATION, TRACEQL_LEVEL_SPAN},
        [TRACEQL_SPAN_NAME] = {BLOCK_SPAN_NAME, TRACEQL_LEVEL_SPAN},
        [TRACEQL_SPAN_STATUS] = {BLOCK_SPAN_STATUS_CODE, TRACEQL_LEVEL_SPAN},
        [TRACEQL_SPAN_STATUS_MESSAGE] = {BLOCK_SPAN_STATUS_MESSAGE, TRACEQL_LEVEL_SPAN},
        [TRACEQL_SPAN_KIND] = {BLOCK_SPAN_KIND, TRACEQL_LEVEL_SPAN},
        [TRACEQL_NESTED_SET_LEFT] = {BLOCK_SPAN_NESTED_LEFT, TRACEQL_LEVEL_SPAN},
        [TRACEQL_NESTED_SET_RIGHT] = {BLOCK_SPAN_NESTED_RIGHT, TRACEQL_LEVEL_SPAN},
        [TRACEQL_NESTED_SET_PARENT] = {BLOCK_SPAN_PARENT_ID, TRACEQL_LEVEL_SPAN},
        [TRACEQL_TRACE_DURATION] = {BLOCK_TRACE_DURATION, TRACEQL_LEVEL_TRACE},
        [TRACEQL_TRACE_ROOT_NAME] = {BLOCK_ROOT_NAME, TRACEQL_LEVEL_TRACE},
        [TRACEQL_TRACE_ROOT_SERVICE] = {BLOCK_ROOT_SERVICE, TRACEQL_LEVEL_TRACE},
        [TRACEQL_EVENT_NAME] = {BLOCK_EVENT_NAME, TRACEQL_LEVEL_EVENT},
        [TRACEQL_EVENT_TIME] = {BLOCK_EVENT_TIME, TRACEQL_LEVEL_EVENT},
        [TRACEQL_SCOPE_NAME] = {BLOCK_SCOPE_NAME, TRACEQL_LEVEL_SCOPE},
        [TRACEQL_SCOPE_VERSION] = {BLOCK_SCOPE_VERSION, TRACEQL_LEVEL_SCOPE},
    };
    int leaf = of[i].leaf; /* ids have no list of values; leaf 0 is one itself */
    *level = of[i].level;
    return leaf && scan_has(s, leaf) ? leaf : -1;
}

/* All values of a column, or those of the elements that are wanted. */
static int column_values(struct tags_job *job, int leaf, enum traceql_level level, bool filtered,
                         struct err *err)
{
    struct scan *s = job->scan;
    int rc = job->answered[leaf] ? 0 : scan_need(s, &leaf, 1, err);
    if (rc < 0 || job->answered[leaf])
        return rc;
    const struct column c = *scan_column(s, leaf);
    uint8_t *seen = arena_zalloc(s->arena, c.has_dict ? c.dict_count : 0);
    if (!seen)
        return arena_err(s->arena, err, "a row group");
    struct walk w = {0};
    job->level = level;
    for (uint32_t i = 0, value = 0; i < c.entries && rc == 0 && !job->full; i++) {
        walk_step(&w, &c, i);
        if (c.def && c.def[i] != c.def_max)
            continue;
        uint32_t v = value++;
        if ((filtered && !wanted(job, &w)) || (c.has_dict && seen[c.v.idx[v]]))
            continue;
        if (c.has_dict)
            seen[c.v.idx[v]] = 1;
        rc = add_value(job, &c, v, err);
    }
    return rc;
}

/* A filter that asks only about traces and resources. */
static bool above_spans(const struct traceql_query *filter)
{
    for (size_t i = 0; i < traceql_field_count(filter); i++) {
        enum traceql_level level = traceql_field_at(filter, i)->level;
        if (level != TRACEQL_LEVEL_TRACE && level != TRACEQL_LEVEL_RESOURCE)
            return false;
    }
    return true;
}

/* Status under a filter above spans. Tempo, in all versions so far, decides about a status at the
 * first span with it that it looks at: all that match, the very first, and each that follows one
 * that matches. When that span does not match, the status is never reported. Its answers are kept,
 * for this one field, whose values everybody knows. */
static int status_values(struct tags_job *job, struct err *err)
{
    struct scan *s = job->scan;
    int leaf = BLOCK_SPAN_STATUS_CODE;
    int rc = scan_need(s, &leaf, 1, err);
    const struct column *c = scan_column(s, leaf);
    for (uint32_t i = 0; rc == 0 && i < c->values && i < s->spans; i++) {
        bool match = job->marks.spans[i];
        uint64_t bit = c->v.i64[i] >= 0 && c->v.i64[i] < 64 ? UINT64_C(1) << c->v.i64[i] : 0;
        if ((job->status_look || match) && !(job->status_seen & bit)) {
            job->status_seen |= bit;
            rc = match ? add_value(job, c, i, err) : 0;
        }
        job->status_look = match;
    }
    return rc;
}

static bool has_text(const struct column *c, struct slice text)
{
    const struct slice *texts = c->has_dict ? c->dict : c->v.bytes;
    uint32_t count = c->has_dict ? c->dict_count : c->values;
    for (uint32_t i = 0; i < count; i++) {
        if (slice_eq(texts[i], text))
            return true;
    }
    return false;
}

/* Those that belong to spans that match. */
static int keep_wanted(struct tags_job *job, enum traceql_level level, struct occurrences *occ,
                       struct err *err)
{
    struct scan *s = job->scan;
    const struct marks *m = &job->marks;
    const uint8_t *of[TRACEQL_LEVELS] = {m->traces, m->resources, m->scopes,
                                         m->spans,  m->spans,     m->spans};
    const uint32_t *span = NULL;
    uint32_t n = 0, count;
    int rc = 0;
    if (level > TRACEQL_LEVEL_SPAN)
        rc = scan_child_spans(s, level, &span, &count, err);
    for (uint32_t i = 0; i < occ->count && rc == 0; i++) {
        uint32_t holder = span ? span[occ->owner[i]] : occ->owner[i];
        occ->slot[n] = occ->slot[i];
        n += of[level][holder];
    }
    occ->count = n;
    return rc;
}

static uint32_t elements_of(const struct scan *s, enum traceql_level level)
{
    return level == TRACEQL_LEVEL_RESOURCE ? s->resources
           : level == TRACEQL_LEVEL_SCOPE  ? s->scopes
                                           : s->spans;
}

static int add_list_values(struct tags_job *job, const struct traceql_values *v, struct err *err)
{
    uint8_t *seen = arena_zalloc(job->scan->arena, v->idx ? v->dict_count : 0);
    int rc = seen ? 0 : arena_err(job->scan->arena, err, "a row group");
    for (uint32_t i = 0; i < v->count && rc == 0 && !job->full; i++) {
        struct traceql_value value = {.type = v->type};
        if (v->type == TRACEQL_STRING && v->idx) {
            if (seen[v->idx[i]])
                continue;
            seen[v->idx[i]] = 1;
        }
        if (v->type == TRACEQL_STRING)
            value.str = v->dict[v->idx ? v->idx[i] : i];
        else if (v->type == TRACEQL_FLOAT)
            value.f64 = v->f64[i];
        else if (v->type == TRACEQL_BOOL)
            value.b = v->b[i];
        else
            value.i64 = v->i64[i];
        rc = add(job, TRACEQL_LEVEL_TRACE, value, err);
    }
    return rc;
}

/* From the attribute list of a level. */
static int list_attr(struct tags_job *job, enum traceql_level level, bool filtered, struct err *err)
{
    static const int which[] = {BLOCK_ATTR_STRING, BLOCK_ATTR_INT, BLOCK_ATTR_DOUBLE,
                                BLOCK_ATTR_BOOL};
    enum { WHICH = sizeof which / sizeof which[0] };
    struct scan *s = job->scan;
    int leaves[WHICH + 1] = {attr_first_leaf(level) + BLOCK_ATTR_KEY};
    struct occurrences occ = {0};
    uint32_t elements = UINT32_MAX;
    if (job->answered[leaves[0]])
        return 0;
    for (size_t i = 0; i < WHICH; i++)
        leaves[i + 1] = attr_first_leaf(level) + which[i];
    int rc = scan_need(s, leaves, WHICH + 1, err);
    if (rc == 0 && filtered && level > TRACEQL_LEVEL_SPAN) {
        const uint32_t *span;
        rc = scan_child_spans(s, level, &span, &elements, err);
    } else if (filtered) {
        elements = elements_of(s, level);
    }
    if (rc == 0)
        rc = attr_occurrences(s, level, job->tags->name, elements, &occ, err);
    if (rc == 0 && filtered && occ.count)
        rc = keep_wanted(job, level, &occ, err);
    for (size_t i = 0; i < WHICH && rc == 0 && occ.count && !job->full; i++) {
        struct traceql_values values;
        rc = attr_values(s, level, which[i], &occ, &values, err);
        rc = rc < 0 ? rc : add_list_values(job, &values, err);
    }
    return rc;
}

static int values_batch(struct tags_job *job, const struct traceql_result *matched, struct err *err)
{
    const struct query_tags *t = job->tags;
    struct scan *s = job->scan;
    if (matched && matched->span_count == 0)
        return 0;
    if (matched && t->intrinsic == TRACEQL_SPAN_STATUS && above_spans(t->filter))
        return status_values(job, err);
    if (t->intrinsic != TRACEQL_ATTRIBUTE) {
        enum traceql_level level;
        int leaf = intrinsic_leaf(s, t->intrinsic, &level);
        return leaf < 0 ? 0 : column_values(job, leaf, level, matched != NULL, err);
    }
    struct own_column *own;
    size_t count;
    int rc = own_columns(s, &own, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if ((t->levels & 1u << own[i].level) && slice_eq(own[i].name, t->name))
            rc = column_values(job, own[i].leaf, own[i].level, matched != NULL, err);
    }
    for (size_t i = 0; rc == 0 && i < NAME_LEVELS; i++) {
        if (t->levels & 1u << name_levels[i])
            rc = list_attr(job, name_levels[i], matched != NULL, err);
    }
    return rc;
}

/* ---- the job ---- */

/* The columns that the question is about: of attribute lists those of the keys. */
static int asked_leaves(struct tags_job *job, struct scan *s, int *leaves, size_t *count,
                        struct err *err)
{
    const struct query_tags *t = job->tags;
    enum traceql_level level;
    struct own_column *own;
    size_t own_count = 0;
    int rc = 0;
    *count = 0;
    if (!t->names && t->intrinsic != TRACEQL_ATTRIBUTE) {
        int leaf = intrinsic_leaf(s, t->intrinsic, &level);
        if (leaf >= 0)
            leaves[(*count)++] = leaf;
        return 0;
    }
    if (!t->names)
        rc = own_columns(s, &own, &own_count, err);
    for (size_t i = 0; rc == 0 && i < own_count; i++) {
        if ((t->levels & 1u << own[i].level) && slice_eq(own[i].name, t->name))
            leaves[(*count)++] = own[i].leaf;
    }
    for (size_t i = 0; rc == 0 && i < NAME_LEVELS; i++) {
        if (t->levels & 1u << name_levels[i])
            leaves[(*count)++] = attr_first_leaf(name_levels[i]) + BLOCK_ATTR_KEY;
    }
    return rc;
}

static bool is_key(int leaf)
{
    for (size_t i = 0; i < NAME_LEVELS; i++) {
        if (leaf == attr_first_leaf(name_levels[i]) + BLOCK_ATTR_KEY)
            return true;
    }
    return false;
}

static enum traceql_level level_of_key(int leaf)
{
    size_t i = 0;
    while (i + 1 < NAME_LEVELS && leaf != attr_first_leaf(name_levels[i]) + BLOCK_ATTR_KEY)
        i++;
    return name_levels[i];
}

/* What the dictionaries alone tell. */
static int tags_begin(void *ctx, struct scan *s, bool *wanted, struct err *err)
{
    struct tags_job *job = ctx;
    struct column dicts[BLOCK_LEAVES];
    int leaves[BLOCK_LEAVES];
    size_t count;
    scan_step(s, QUERY_STEP_EVALUATE);
    memset(job->answered, 0, sizeof job->answered);
    job->own_unknown = false;
    job->status_seen = 0;
    job->status_look = true;
    int rc = job->tags->names ? own_names(job, s, false, err) : 0;
    rc = rc < 0 ? rc : asked_leaves(job, s, leaves, &count, err);
    rc = rc < 0 ? rc : scan_dictionaries(s, leaves, count, dicts, err);
    *wanted = job->own_unknown;
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct column *d = &dicts[i];
        bool key = !job->tags->names && is_key(leaves[i]);
        if (key && d->has_dict) {
            job->answered[leaves[i]] = !has_text(d, job->tags->name);
        } else if (!key && d->has_dict && !job->eval) {
            enum traceql_level level =
                job->tags->names ? level_of_key(leaves[i]) : TRACEQL_LEVEL_TRACE;
            job->answered[leaves[i]] = true;
            rc = add_texts(job, level, d, err);
        }
        *wanted |= !job->answered[leaves[i]];
    }
    return rc;
}

static int tags_batch(void *ctx, struct scan *s, struct err *err)
{
    struct tags_job *job = ctx;
    struct traceql_batch batch;
    struct traceql_result result, *matched = NULL;
    scan_step(s, QUERY_STEP_EVALUATE);
    job->scan = s;
    if (job->eval) {
        matched = &result;
        int rc = scan_batch(s, job->tags->filter, &batch, err);
        if (rc == 0)
            rc = traceql_eval_batch(job->eval, &batch, s->arena, &result, err);
        if (rc == 0)
            rc = mark(job, &result, err);
        if (rc < 0)
            return rc;
    }
    return job->tags->names ? names_batch(job, matched, err) : values_batch(job, matched, err);
}

static bool is_done(void *ctx)
{
    const struct tags_job *job = ctx;
    return job->full;
}

static int take_result(struct tags_job *job, struct arena *a, struct query_tags_result *out,
                       struct err *err)
{
    tag_set_sort(&job->set);
    out->tags = arena_array(a, struct query_tag, job->set.tags.count);
    if (!out->tags)
        return arena_err(a, err, "tags");
    if (job->set.tags.count)
        memcpy(out->tags, job->set.tags.at, job->set.tags.count * sizeof *out->tags);
    out->count = job->set.tags.count;
    out->truncated = job->full;
    return 0;
}

int worker_tags(void *self, const struct query_source *source, const struct query_tags *tags,
                uint64_t deadline_mono_ns, struct arena *a, struct query_tags_result *out,
                struct err *err)
{
    struct tags_job job = {.tags = tags,
                           .bytes_max = tags->bytes_max && tags->bytes_max < LIMIT_TAG_BYTES
                                            ? tags->bytes_max
                                            : LIMIT_TAG_BYTES};
    const struct scan_visit visit = {
        .begin = tags_begin, .batch = tags_batch, .is_done = is_done, .ctx = &job};
    int rc = 0;
    *out = (struct query_tags_result){0};
    tag_set_init(&job.set, a);
    if (tags->filter)
        rc = traceql_eval_new(tags->filter, a, &job.eval, err);
    if (rc == 0)
        rc = scan_source(self, source, &visit, deadline_mono_ns, &out->stats, err);
    if (rc == 0)
        rc = take_result(&job, a, out, err);
    out->inspected_bytes = out->stats.bytes_read;
    tag_set_clear(&job.set);
    return rc;
}
