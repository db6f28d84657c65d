/* Pipelines and what joins spansets by `&&` and `||`. Every stage maps a list of spansets to a list
 * of spansets, for all traces of the batch at once; an operator is applied to each set of its input
 * by itself. */
#include "traceql/spanset.h"

#include <assert.h>

#include "traceql/truth.h"

static int arena_full(const struct traceql_view *v, struct err *err)
{
    return arena_err(v->arena, err, "the spansets of a batch");
}

int sets_new(struct traceql_view *v, uint32_t capacity, struct sets *out, struct err *err)
{
    out->count = 0;
    out->at = arena_array(v->arena, struct set, capacity);
    return out->at ? 0 : arena_full(v, err);
}

int spans_new(struct traceql_view *v, size_t count, uint32_t **out, struct err *err)
{
    *out = arena_array(v->arena, uint32_t, count);
    return *out ? 0 : arena_full(v, err);
}

uint32_t sets_spans(const struct sets *s)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < s->count; i++)
        total += s->at[i].count;
    return total;
}

int set_say(struct traceql_view *v, struct set *s, struct traceql_set_attr attr, struct err *err)
{
    struct set_attr *a = arena_alloc(v->arena, sizeof *a);
    if (!a)
        return arena_full(v, err);
    *a = (struct set_attr){
        .attr = attr, .before = s->attrs, .count = 1 + (s->attrs ? s->attrs->count : 0)};
    s->attrs = a;
    return 0;
}

int stage_text(struct traceql_view *v, const char *before, const struct expr *e, struct slice *out,
               struct err *err)
{
    struct buf text;
    buf_init(&text, (size_t)1 << 20);
    int rc = buf_printf(&text, "%s(", before);
    if (e)
        rc = rc < 0 ? rc : expr_print(e, false, &text);
    rc = rc < 0 ? rc : buf_u8(&text, ')');
    if (rc < 0)
        err_set(err, rc, "no room for the text of %s()", before);
    else if (!arena_slice(v->arena, buf_view(&text), out))
        rc = arena_full(v, err);
    buf_clear(&text);
    return rc;
}

/* ---- filters ---- */

/* The spans of the input, a byte a span. */
static int mark_active(struct traceql_view *v, const struct sets *in, const uint8_t **out,
                       struct err *err)
{
    uint8_t *active =
        scratch_zeroed(&v->scratch, SCRATCH_ACTIVE, v->batch->counts[TRACEQL_LEVEL_SPAN]);
    if (!active)
        return arena_full(v, err);
    for (uint32_t i = 0; i < in->count; i++) {
        for (uint32_t k = 0; k < in->at[i].count; k++)
            active[in->at[i].spans[k]] = 1;
    }
    *out = active;
    return 0;
}

/* How many spans each set keeps; *room: spans of sets that are changed. */
static void count_kept(const struct sets *in, const uint8_t *truth, struct sets *out, size_t *room)
{
    *room = 0;
    for (uint32_t i = 0; i < in->count; i++) {
        uint32_t kept = 0;
        for (uint32_t k = 0; k < in->at[i].count; k++)
            kept += truth[in->at[i].spans[k]] == TRUTH_TRUE;
        if (kept == 0)
            continue;
        out->at[out->count] = in->at[i];
        out->at[out->count].origin = i;
        out->at[out->count++].count = kept;
        *room += kept == in->at[i].count ? 0 : kept;
    }
}

static int eval_filter(struct traceql_view *v, const struct spanset *s, const struct sets *in,
                       struct sets *out, struct err *err)
{
    const struct program *p = plan_program(v->eval->plan, s);
    const uint8_t *active = NULL, *truth;
    uint32_t *spans;
    size_t room;
    assert(p);
    int rc = mark_active(v, in, &active, err);
    rc = rc < 0 ? rc : filter_run(v, p, active, &truth, err);
    rc = rc < 0 ? rc : sets_new(v, in->count, out, err);
    if (rc < 0)
        return rc;
    count_kept(in, truth, out, &room);
    if ((rc = spans_new(v, room, &spans, err)) < 0)
        return rc;
    for (uint32_t i = 0; i < out->count; i++) {
        const struct set *from = &in->at[out->at[i].origin];
        if (from->count == out->at[i].count)
            continue;
        out->at[i].spans = spans;
        for (uint32_t k = 0; k < from->count; k++) {
            if (truth[from->spans[k]] == TRUTH_TRUE)
                *spans++ = from->spans[k];
        }
    }
    return 0;
}

/* ---- operators ---- */

/* The sets that come from one set of the input. */
static struct sets sets_of(const struct sets *s, uint32_t origin, uint32_t *at)
{
    uint32_t from = *at;
    while (*at < s->count && s->at[*at].origin == origin)
        (*at)++;
    return (struct sets){s->at + from, *at - from};
}

/* Appends what of the sets is not marked, and marks it. */
static void append_new(const struct sets *s, uint8_t *mark, uint32_t *out, uint32_t *count)
{
    for (uint32_t i = 0; i < s->count; i++) {
        for (uint32_t k = 0; k < s->at[i].count; k++) {
            uint32_t span = s->at[i].spans[k];
            if (!mark[span])
                out[(*count)++] = span;
            mark[span] = 1;
        }
    }
}

/* Both sides' spans, each once. The smaller side comes first when it is the left one, else the
 * right side does. */
static void unite(const struct sets *l, const struct sets *r, uint8_t *mark, uint32_t *out,
                  uint32_t *count)
{
    bool left_first = sets_spans(l) < sets_spans(r);
    *count = 0;
    append_new(left_first ? l : r, mark, out, count);
    append_new(left_first ? r : l, mark, out, count);
    for (uint32_t i = 0; i < *count; i++)
        mark[out[i]] = 0;
}

struct operation {
    struct traceql_view *view;
    enum spanset_op op;
    struct numbers numbers;
    uint8_t *mark;
    uint32_t *spans; /* room for the results */
    struct sets *out;
};

/* One set of the input: what the two sides made of it. */
static int operate(struct operation *o, const struct set *in, uint32_t origin, struct sets *l,
                   struct sets *r, struct err *err)
{
    struct set made = {.trace = in->trace, .origin = origin, .spans = o->spans, .attrs = in->attrs};
    bool both = o->op == SPANSET_AND, either = o->op == SPANSET_OR;
    if (both || either) {
        if ((l->count && r->count) || (either && (l->count || r->count)))
            unite(l, r, o->mark, o->spans, &made.count);
    } else if (r->count == 0 || (l->count == 0 && spanset_op_form(o->op) != FORM_NOT)) {
        return 0;
    } else if (l->count > 1 || r->count > 1) {
        return err_set(err, ERR_INVALID,
                       "spanset operators are not supported for multiple spansets per trace. "
                       "consider using coalesce()");
    } else if (l->count == 0) {
        made.count = r->at[0].count; /* nothing to be related to */
        memcpy(made.spans, r->at[0].spans, made.count * sizeof *made.spans);
    } else {
        int rc = relate(o->view, o->op, &o->numbers, &l->at[0], &r->at[0], o->mark, o->spans,
                        &made.count, err);
        if (rc < 0)
            return rc;
    }
    o->spans += made.count;
    if (made.count)
        o->out->at[o->out->count++] = made;
    return 0;
}

/* The operator between the results of its two sides. */
static int eval_operator(struct traceql_view *v, enum spanset_op op, const struct sets *in,
                         const struct sets *l, const struct sets *r, struct sets *out,
                         struct err *err)
{
    bool plain = op == SPANSET_AND || op == SPANSET_OR;
    bool united = plain || spanset_op_form(op) == FORM_UNION;
    struct operation o = {.view = v, .op = op, .out = out};
    o.mark = scratch_zeroed(&v->scratch, SCRATCH_MARK, v->batch->counts[TRACEQL_LEVEL_SPAN]);
    if (!o.mark)
        return arena_full(v, err);
    size_t room = (size_t)sets_spans(r) + (united ? sets_spans(l) : 0);
    int rc = spans_new(v, room, &o.spans, err);
    rc = rc < 0 ? rc : sets_new(v, in->count, out, err);
    if (rc == 0 && !plain)
        rc = numbers_of(v, &o.numbers, err);
    for (uint32_t i = 0, a = 0, b = 0; i < in->count && rc == 0; i++) {
        struct sets lefts = sets_of(l, i, &a), rights = sets_of(r, i, &b);
        rc = operate(&o, &in->at[i], i, &lefts, &rights, err);
    }
    return rc;
}

static int eval_pipeline(struct traceql_view *v, const struct pipeline *p, const struct sets *in,
                         struct sets *out, struct err *err);

static int eval_spanset(struct traceql_view *v, const struct spanset *s, const struct sets *in,
                        struct sets *out, struct err *err)
{
    struct sets l, r;
    int rc;
    switch (s->kind) {
    case SPANSET_FILTER:
        return eval_filter(v, s, in, out, err);
    case SPANSET_OP:
        rc = eval_spanset(v, s->lhs, in, &l, err);
        rc = rc < 0 ? rc : eval_spanset(v, s->rhs, in, &r, err);
        return rc < 0 ? rc : eval_operator(v, s->op, in, &l, &r, out, err);
    case SPANSET_PIPELINE:
        return eval_pipeline(v, s->pipeline, in, out, err);
    }
    return 0;
}

/* ---- pipelines ---- */

/* select() changes what is shown, not what is found. */
static int pass_on(struct traceql_view *v, const struct sets *in, struct sets *out, struct err *err)
{
    int rc = sets_new(v, in->count, out, err);
    for (uint32_t i = 0; i < in->count && rc == 0; i++) {
        out->at[out->count] = in->at[i];
        out->at[out->count++].origin = i;
    }
    return rc;
}

static int eval_stage(struct traceql_view *v, const struct stage *s, const struct sets *in,
                      struct sets *out, struct err *err)
{
    switch (s->kind) {
    case STAGE_SPANSET:
        return eval_spanset(v, s->spanset, in, out, err);
    case STAGE_SCALAR_FILTER:
        return scalar_filter(v, s, in, out, err);
    case STAGE_BY:
        return group_by(v, s->by, in, out, err);
    case STAGE_COALESCE:
        return coalesce(v, in, out, err);
    case STAGE_SELECT:
        return pass_on(v, in, out, err);
    }
    return 0;
}

static int eval_pipeline(struct traceql_view *v, const struct pipeline *p, const struct sets *in,
                         struct sets *out, struct err *err)
{
    struct sets current = *in;
    for (const struct stage *s = p->first; s; s = s->next) {
        struct sets next;
        int rc = eval_stage(v, s, &current, &next, err);
        if (rc < 0)
            return rc;
        /* Origins are told of the pipeline's input, not of the stage's. */
        for (uint32_t i = 0; s != p->first && i < next.count; i++)
            next.at[i].origin = current.at[next.at[i].origin].origin;
        current = next;
    }
    *out = current;
    return 0;
}

/* Every candidate, one set a trace. */
static int initial_sets(struct traceql_view *v, struct sets *out, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    const uint32_t *trace = v->batch->span_trace;
    uint32_t *list, n = 0, last = UINT32_MAX;
    int rc = spans_new(v, spans, &list, err);
    rc = rc < 0 ? rc : sets_new(v, v->batch->counts[TRACEQL_LEVEL_TRACE], out, err);
    for (uint32_t i = 0; i < spans && rc == 0; i++) {
        if (!v->candidates[i])
            continue;
        if (trace[i] != last) {
            last = trace[i];
            out->at[out->count++] = (struct set){.trace = last, .spans = list + n};
        }
        out->at[out->count - 1].count++;
        list[n++] = i;
    }
    return rc;
}

int pipeline_run(struct traceql_view *v, const struct pipeline *p, struct sets *out,
                 struct err *err)
{
    struct sets in;
    int rc = initial_sets(v, &in, err);
    return rc < 0 ? rc : eval_pipeline(v, p, &in, out, err);
}
