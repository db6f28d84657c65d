/* What a search result shows of a span: the visible values of the query's fields. */
#include "traceql/eval_priv.h"

/* These have places of their own in a result. */
static bool is_shown(enum traceql_intrinsic i)
{
    switch (i) {
    case TRACEQL_SPAN_START:
    case TRACEQL_SPAN_NAME:
    case TRACEQL_SPAN_DURATION:
    case TRACEQL_SPAN_ID:
    case TRACEQL_TRACE_DURATION:
    case TRACEQL_TRACE_ROOT_NAME:
    case TRACEQL_TRACE_ROOT_SERVICE:
    case TRACEQL_TRACE_ID:
        return false;
    default:
        return true;
    }
}

/* First index of an ascending array (NULL: the identity) whose value is not below x. */
static uint32_t lower_bound(const uint32_t *at, uint32_t count, uint32_t x)
{
    if (!at)
        return x < count ? x : count;
    uint32_t lo = 0, hi = count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (at[mid] < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The elements of the field's level that belong to the span: [first, end). */
static void elements_of(const struct traceql_view *v, const struct visible *f, uint32_t span,
                        uint32_t *first, uint32_t *end)
{
    const uint32_t *map = view_span_map(v, f->holder_level);
    uint32_t holder = map ? map[span] : span;
    *first = holder;
    *end = holder + 1;
    if (f->field->level > TRACEQL_LEVEL_SPAN && !f->holder_map) {
        *first = *end = 0; /* the batch has none at all */
    } else if (f->holder_map) {
        *first = lower_bound(f->holder_map, v->batch->counts[f->field->level], holder);
        *end = lower_bound(f->holder_map, v->batch->counts[f->field->level], holder + 1);
    }
}

static int show_array(const struct traceql_view *v, const struct seen *s, const struct visible *f,
                      traceql_pair_fn *fn, void *ctx, struct err *err)
{
    uint32_t count = 0;
    struct traceql_value *list = arena_array(v->arena, struct traceql_value, s->end - s->first);
    if (!list)
        return arena_err(v->arena, err, "an array to show");
    for (uint32_t i = s->first; i < s->end; i++) {
        if (s->mask[i])
            list[count++] = element_value(f, s->array, i, NULL);
    }
    return fn(ctx, f->field->name, list, count);
}

/* The last entry with a value: of several events or repeats of a key the last one is shown, and a
 * column comes behind the generic list. */
static int show_field(const struct traceql_view *v, const struct visible *f, uint32_t span,
                      traceql_pair_fn *fn, void *ctx, struct err *err)
{
    uint32_t first, end;
    elements_of(v, f, span, &first, &end);
    if (f->absent && f->absent[first]) {
        struct traceql_value nil = {.type = TRACEQL_NIL};
        return fn(ctx, f->field->name, &nil, 1);
    }
    const struct traceql_values *c = &f->in->column;
    for (uint32_t i = f->column ? lower_bound(c->owner, c->count, end) : 0;
         i > 0 && (c->owner ? c->owner[i - 1] : i - 1) >= first; i--) {
        if (f->column[i - 1]) {
            char id[ID_TEXT_BYTES];
            struct traceql_value value = element_value(f, c, i - 1, id);
            return fn(ctx, f->field->name, &value, 1);
        }
    }
    const struct traceql_attrs *attrs = &f->in->attrs;
    for (uint32_t i = f->entries ? lower_bound(attrs->owner, attrs->count, end) : 0;
         i > 0 && attrs->owner[i - 1] >= first; i--) {
        if (f->entries[i - 1] != ENTRY_VALUE)
            continue;
        struct seen seen;
        seen_occurrence(f, i - 1, &seen);
        return seen.array ? show_array(v, &seen, f, fn, ctx, err)
                          : fn(ctx, f->field->name, &seen.scalar, 1);
    }
    return 0;
}

/* select() of an event's (a link's) own fields shows a span without any as if it had an empty one.
 */
static int show_absent(const struct visible *f, traceql_pair_fn *fn, void *ctx)
{
    struct traceql_value value = {.type = f->type};
    if (f->field->intrinsic == TRACEQL_ATTRIBUTE || f->field->level <= TRACEQL_LEVEL_SPAN)
        return 0;
    if (f->field->intrinsic == TRACEQL_LINK_SPAN_ID)
        value.str = SLICE("0000000000000000");
    else if (f->type == TRACEQL_STRING)
        value.str = SLICE("");
    return fn(ctx, f->field->name, &value, 1);
}

static bool reads_too(const struct traceql_view *v, const struct traceql_field *f)
{
    for (uint32_t i = 0; v && i < v->eval->plan->field_count; i++) {
        const struct traceql_field *g = v->fields[i].field;
        if (g->level == f->level && g->intrinsic == f->intrinsic && slice_eq(g->name, f->name))
            return true;
    }
    return false;
}

/* The values of a pass, but for fields that the other one shows. */
static int show_view(const struct traceql_view *v, const struct traceql_view *other, uint32_t span,
                     traceql_pair_fn *fn, void *ctx, struct err *err)
{
    for (uint32_t i = 0; v->fields && i < v->eval->plan->field_count; i++) {
        const struct visible *f = &v->fields[i];
        if (!is_shown(f->field->intrinsic) || f->structural || reads_too(other, f->field))
            continue;
        int rc = show_field(v, f, span, fn, ctx, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int show_absents(const struct traceql_view *v, uint32_t span, traceql_pair_fn *fn, void *ctx)
{
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++) {
        const struct visible *f = &v->fields[i];
        uint32_t first, end;
        elements_of(v, f, span, &first, &end);
        int rc = first == end ? show_absent(f, fn, ctx) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

int traceql_result_pairs(const struct traceql_result *r, uint32_t span, traceql_pair_fn *fn,
                         void *ctx, struct err *err)
{
    int rc = show_view(r->view, r->second, span, fn, ctx, err);
    if (rc < 0 || !r->second)
        return rc;
    rc = show_view(r->second, NULL, span, fn, ctx, err);
    return rc < 0 ? rc : show_absents(r->second, span, fn, ctx);
}

static bool visible_name(const struct traceql_view *v, uint32_t span, struct slice *out)
{
    for (uint32_t i = 0; v && v->fields && i < v->eval->plan->field_count; i++) {
        const struct visible *f = &v->fields[i];
        const struct traceql_values *c = &f->in->column;
        if (f->field->intrinsic != TRACEQL_SPAN_NAME || !f->column)
            continue;
        uint32_t at = lower_bound(c->owner, c->count, span);
        if (at == c->count || (c->owner && c->owner[at] != span) || !f->column[at])
            continue;
        *out = c->idx ? c->dict[c->idx[at]] : c->dict[at];
        return true;
    }
    return false;
}

bool traceql_result_name(const struct traceql_result *r, uint32_t span, struct slice *out)
{
    return visible_name(r->second, span, out) || visible_name(r->view, span, out);
}
