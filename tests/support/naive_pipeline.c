/* The slow evaluator: spansets, one trace at a time, by the words of the language's description.
 * Relations between spans are followed along parents, not told from nested-set numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/naive_priv.h"

/* Spansets of one trace. A filter that keeps everything hands on the same array of spans. */
struct list {
    struct naive_set *at;
    uint32_t count;
};

static void *get(struct naive *n, size_t bytes)
{
    void *p = arena_zalloc(n->arena, bytes);
    assert_non_null(p);
    return p;
}

static void push(struct naive *n, struct list *l, struct naive_set s)
{
    struct naive_set *more = get(n, (l->count + 1) * sizeof *more);
    if (l->count)
        memcpy(more, l->at, l->count * sizeof *more);
    more[l->count++] = s;
    l->at = more;
}

static bool has(const uint32_t *spans, uint32_t count, uint32_t span)
{
    for (uint32_t i = 0; i < count; i++) {
        if (spans[i] == span)
            return true;
    }
    return false;
}

static void push_span(struct naive_set *s, uint32_t span)
{
    if (!has(s->spans, s->count, span))
        s->spans[s->count++] = span;
}

/* ---- conditions ---- */

static void wants_of_pipeline(struct naive *n, const struct pipeline *p);

static void want_number(struct naive *n, enum traceql_intrinsic in)
{
    struct expr_attr attr = {.intrinsic = in};
    naive_want(n, &attr, TRACEQL_OP_NONE, (struct traceql_value){0});
    n->conditions[n->condition_count - 1].structural = true;
}

static void wants_of_spanset(struct naive *n, const struct spanset *s)
{
    switch (s->kind) {
    case SPANSET_PIPELINE:
        wants_of_pipeline(n, s->pipeline);
        return;
    case SPANSET_OP:
        if (strchr("><", spanset_op_text(s->op)[strlen(spanset_op_text(s->op)) - 1])) {
            want_number(n, TRACEQL_NESTED_SET_LEFT);
            bool deep =
                strstr(spanset_op_text(s->op), ">>") || strstr(spanset_op_text(s->op), "<<");
            want_number(n, deep ? TRACEQL_NESTED_SET_RIGHT : TRACEQL_NESTED_SET_PARENT);
        }
        if (strchr(spanset_op_text(s->op), '~'))
            want_number(n, TRACEQL_NESTED_SET_PARENT);
        wants_of_spanset(n, s->lhs);
        wants_of_spanset(n, s->rhs);
        n->all = false;
        return;
    case SPANSET_FILTER:
        break;
    }
    if (s->filter->kind != EXPR_LITERAL) {
        naive_wants_of(n, s->filter);
    } else if (s->filter->literal.b) {
        struct expr_attr start = {.intrinsic = TRACEQL_SPAN_START};
        for (uint32_t i = 0; i < n->condition_count; i++) {
            if (n->conditions[i].op == TRACEQL_OP_NONE && n->conditions[i].attr.intrinsic)
                return;
        }
        naive_want(n, &start, TRACEQL_OP_NONE, (struct traceql_value){0});
    }
}

static void wants_of_pipeline(struct naive *n, const struct pipeline *p)
{
    for (const struct stage *s = p->first; s; s = s->next) {
        if (s->kind == STAGE_SPANSET)
            wants_of_spanset(n, s->spanset);
        if (s->kind == STAGE_BY || s->kind == STAGE_SCALAR_FILTER)
            n->all = false;
        if (s->kind == STAGE_BY)
            naive_wants_of(n, s->by);
        if (s->kind == STAGE_SCALAR_FILTER && s->lhs->arg)
            naive_wants_of(n, s->lhs->arg);
    }
}

static void selects_of_pipeline(struct naive *n, const struct pipeline *p);

static void selects_of_spanset(struct naive *n, const struct spanset *s)
{
    if (s->kind == SPANSET_PIPELINE)
        selects_of_pipeline(n, s->pipeline);
    if (s->kind == SPANSET_OP) {
        selects_of_spanset(n, s->lhs);
        selects_of_spanset(n, s->rhs);
    }
}

static void selects_of_pipeline(struct naive *n, const struct pipeline *p)
{
    for (const struct stage *s = p->first; s; s = s->next) {
        if (s->kind == STAGE_SPANSET)
            selects_of_spanset(n, s->spanset);
        for (uint32_t i = 0; s->kind == STAGE_SELECT && i < s->attr_count; i++)
            naive_want(n, &s->attrs[i]->attr, TRACEQL_OP_NONE, (struct traceql_value){0});
    }
}

/* ---- structure ---- */

static bool below(const struct naive *n, uint32_t span, uint32_t above)
{
    for (int32_t up = n->m->spans[span].up; up >= 0; up = n->m->spans[up].up) {
        if ((uint32_t)up == above)
            return true;
    }
    return false;
}

/* The operator without `!` and `&`. */
static const char *relation_of(enum spanset_op op)
{
    const char *text = spanset_op_text(op);
    return text[0] == '!' || text[0] == '&' ? text + 1 : text;
}

/* Does `{l} relation {r}` hold for these two? */
static bool related(const struct naive *n, const char *relation, uint32_t l, uint32_t r)
{
    const struct model_span *ls = &n->m->spans[l], *rs = &n->m->spans[r];
    if (strcmp(relation, ">") == 0)
        return rs->up == (int32_t)l;
    if (strcmp(relation, "<") == 0)
        return ls->up == (int32_t)r;
    if (strcmp(relation, ">>") == 0)
        return below(n, r, l);
    if (strcmp(relation, "<<") == 0)
        return below(n, l, r);
    return l != r && ls->up == rs->up && ls->up != MODEL_APART;
}

static void sort(const struct naive *n, struct naive_set *s, bool by_parent, bool down)
{
    for (uint32_t i = 1; i < s->count; i++) {
        for (uint32_t k = i; k > 0; k--) {
            const struct model_span *a = &n->m->spans[s->spans[k - 1]];
            const struct model_span *b = &n->m->spans[s->spans[k]];
            int64_t x = by_parent ? a->parent : a->left, y = by_parent ? b->parent : b->left;
            if (down ? x >= y : x <= y)
                break;
            uint32_t other = s->spans[k];
            s->spans[k] = s->spans[k - 1];
            s->spans[k - 1] = other;
        }
    }
}

/* The walk of `&>>`, step by step as it is described. */
static void walk_descendants(const struct naive *n, const struct naive_set *p,
                             const struct naive_set *d, struct naive_set *out)
{
    uint32_t i = 0, j = 0;
    while (i < p->count && j < d->count) {
        uint32_t last;
        for (bool more = true; more;) {
            last = d->spans[j++];
            if (below(n, last, p->spans[i]))
                push_span(out, last);
            more = j < d->count && n->m->spans[d->spans[j]].left <= n->m->spans[last].right;
        }
        while (i < p->count && n->m->spans[p->spans[i]].left <= n->m->spans[last].right) {
            if (below(n, last, p->spans[i])) {
                push_span(out, p->spans[i]);
                if (j < d->count && below(n, d->spans[j], p->spans[i]))
                    break;
            }
            i++;
        }
    }
}

static void unite_related(struct naive *n, const char *relation, struct naive_set *l,
                          struct naive_set *r, struct naive_set *out)
{
    bool up_left = relation[0] == '>';
    struct naive_set *p = up_left ? l : r, *d = up_left ? r : l;
    bool siblings = relation[0] == '~', deep = relation[1] != 0;
    sort(n, p, siblings, false);
    /* Both may be one list: what the first sorting made of it is kept apart. */
    struct naive_set first = *p;
    first.spans = get(n, (p->count + 1) * sizeof *first.spans);
    memcpy(first.spans, p->spans, p->count * sizeof *first.spans);
    sort(n, d, !deep, false);
    if (deep) {
        walk_descendants(n, &first, d, out);
        return;
    }
    for (uint32_t i = 0; i < first.count; i++) {
        bool any = false;
        for (uint32_t k = 0; k < d->count; k++) {
            bool yes = siblings ? related(n, "~", d->spans[k], first.spans[i])
                                : related(n, ">", first.spans[i], d->spans[k]);
            if (yes)
                push_span(out, d->spans[k]);
            any = any || yes;
        }
        if (any)
            push_span(out, first.spans[i]);
    }
}

static void structure(struct naive *n, enum spanset_op op, struct naive_set *l, struct naive_set *r,
                      struct naive_set *out)
{
    const char *text = spanset_op_text(op), *relation = relation_of(op);
    if (text[0] == '&') {
        unite_related(n, relation, l, r, out);
        return;
    }
    sort(n, l, strcmp(relation, "<") == 0 || strcmp(relation, "~") == 0,
         strcmp(relation, ">>") == 0);
    for (uint32_t i = 0; i < r->count; i++) {
        bool any = false;
        for (uint32_t k = 0; k < l->count; k++)
            any = any || related(n, relation, l->spans[k], r->spans[i]);
        if (any != (text[0] == '!'))
            push_span(out, r->spans[i]);
    }
}

/* ---- stages ---- */

static struct list eval_pipeline(struct naive *n, const struct pipeline *p, struct list in);

static uint32_t total(const struct list *l)
{
    uint32_t spans = 0;
    for (uint32_t i = 0; i < l->count; i++)
        spans += l->at[i].count;
    return spans;
}

static void pool(const struct list *l, struct naive_set *out)
{
    for (uint32_t i = 0; i < l->count; i++) {
        for (uint32_t k = 0; k < l->at[i].count; k++)
            push_span(out, l->at[i].spans[k]);
    }
}

static struct list eval_spanset(struct naive *n, const struct spanset *s, struct naive_set in);

static struct list eval_operator(struct naive *n, const struct spanset *s, struct naive_set in)
{
    struct list out = {0}, l = eval_spanset(n, s->lhs, in), r = eval_spanset(n, s->rhs, in);
    struct naive_set made = in;
    made.spans = get(n, (total(&l) + total(&r) + 1) * sizeof *made.spans);
    made.count = 0;
    if (s->op == SPANSET_AND || s->op == SPANSET_OR) {
        bool left_first = total(&l) < total(&r);
        if (s->op == SPANSET_OR || (l.count && r.count)) {
            pool(left_first ? &l : &r, &made);
            pool(left_first ? &r : &l, &made);
        }
    } else if (r.count == 0 || (l.count == 0 && spanset_op_text(s->op)[0] != '!')) {
        return out;
    } else if (r.count > 1 || l.count > 1) {
        n->failed = true;
    } else if (l.count == 0) {
        pool(&r, &made);
    } else {
        structure(n, s->op, &l.at[0], &r.at[0], &made);
    }
    if (made.count)
        push(n, &out, made);
    return out;
}

static struct list eval_spanset(struct naive *n, const struct spanset *s, struct naive_set in)
{
    struct list one = {0}, out = {0};
    if (s->kind == SPANSET_OP)
        return eval_operator(n, s, in);
    if (s->kind == SPANSET_PIPELINE) {
        push(n, &one, in);
        return eval_pipeline(n, s->pipeline, one);
    }
    struct naive_set made = in;
    made.spans = get(n, in.count * sizeof *made.spans);
    made.count = 0;
    for (uint32_t i = 0; i < in.count; i++) {
        naive_look_at(n, in.spans[i]);
        struct many v = naive_expr(n, s->filter);
        if (v.count == 1 && v.v[0].type == TRACEQL_BOOL && v.v[0].b)
            made.spans[made.count++] = in.spans[i];
    }
    if (made.count == in.count)
        made.spans = in.spans;
    if (made.count)
        push(n, &out, made);
    return out;
}

static bool many_same(const struct many *a, const struct many *b)
{
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++)
        same = value_same(&a->v[i], &b->v[i]);
    return same;
}

/* One more line of attributes. */
static void say(struct naive *n, struct naive_set *s, const char *what, const struct expr *e,
                const struct many *v)
{
    struct buf b;
    struct slice text;
    buf_init(&b, 1 << 16);
    assert_int_equal(buf_printf(&b, "%s%s(", s->attrs ? s->attrs : "", what), 0);
    if (e)
        assert_int_equal(expr_print(e, false, &b), 0);
    assert_int_equal(buf_str(&b, v->count > 1 ? ")=[" : v->count ? ")=" : ")=nil"), 0);
    for (uint32_t i = 0; i < v->count; i++) {
        assert_int_equal(buf_str(&b, i ? " " : ""), 0);
        assert_int_equal(traceql_value_print(&v->v[i], &b), 0);
    }
    assert_int_equal(buf_str(&b, v->count > 1 ? "]\n" : "\n"), 0);
    assert_int_equal(buf_u8(&b, 0), 0);
    assert_true(arena_slice(n->arena, buf_view(&b), &text));
    s->attrs = (char *)text.ptr;
    buf_clear(&b);
}

static void group(struct naive *n, const struct expr *e, struct naive_set in, struct list *out)
{
    struct many *keys = get(n, in.count * sizeof *keys);
    bool *done = get(n, in.count);
    for (uint32_t i = 0; i < in.count; i++) {
        naive_look_at(n, in.spans[i]);
        keys[i] = naive_expr(n, e);
    }
    for (uint32_t i = 0; i < in.count; i++) {
        struct naive_set made = in;
        if (done[i])
            continue;
        made.spans = get(n, in.count * sizeof *made.spans);
        made.count = 0;
        for (uint32_t k = i; k < in.count; k++) {
            if (many_same(&keys[i], &keys[k])) {
                made.spans[made.count++] = in.spans[k];
                done[k] = true;
            }
        }
        say(n, &made, "by", e, &keys[i]);
        push(n, out, made);
    }
}

/* nil < int < float < string < bool < arrays of these < duration < status < kind, numbers among
 * themselves by value. */
static int rank(const struct many *v)
{
    static const int order[] = {
        [TRACEQL_INT] = 1,       [TRACEQL_FLOAT] = 2,   [TRACEQL_STRING] = 3, [TRACEQL_BOOL] = 4,
        [TRACEQL_DURATION] = 20, [TRACEQL_STATUS] = 21, [TRACEQL_KIND] = 22};
    return v->count ? order[v->v[0].type] + (v->count > 1 ? 10 : 0) : 0;
}

static bool smaller(const struct many *a, const struct many *b)
{
    bool numbers = a->count == 1 && b->count == 1 && traceql_type_numeric(a->v[0].type) &&
                   traceql_type_numeric(b->v[0].type);
    if (!numbers && rank(a) != rank(b))
        return rank(a) < rank(b);
    if (a->count != 1)
        return false;
    if (a->v[0].type == TRACEQL_BOOL)
        return a->v[0].b < b->v[0].b;
    if (a->v[0].type == TRACEQL_STATUS)
        return a->v[0].i64 > b->v[0].i64; /* error, ok, unset */
    if (a->v[0].type == TRACEQL_KIND)
        return a->v[0].i64 < b->v[0].i64;
    return value_compare(TRACEQL_OP_LT, &a->v[0], &b->v[0]);
}

static struct many average(struct many sum, uint32_t count)
{
    struct traceql_value *v = &sum.v[0];
    if (sum.count != 1 || !traceql_type_numeric(v->type))
        return (struct many){0};
    if (v->type == TRACEQL_DURATION) {
        v->i64 /= count;
        return sum;
    }
    double d = v->type == TRACEQL_FLOAT ? v->f64 : (double)(uint64_t)v->i64;
    *v = (struct traceql_value){.type = TRACEQL_FLOAT, .f64 = d / count};
    return sum;
}

static struct many aggregate(struct naive *n, const struct scalar *a, const struct naive_set *s)
{
    struct many out = {0};
    uint32_t count = 0;
    if (a->aggregate == AGGREGATE_COUNT)
        return (struct many){.count = 1, .v = {value_int(s->count)}};
    for (uint32_t i = 0; i < s->count; i++) {
        naive_look_at(n, s->spans[i]);
        struct many v = naive_expr(n, a->arg);
        if (v.count == 0)
            continue;
        bool sum = a->aggregate == AGGREGATE_SUM || a->aggregate == AGGREGATE_AVG;
        bool same = out.count == 1 && v.count == 1 && v.v[0].type == out.v[0].type;
        if (count++ == 0 || (a->aggregate == AGGREGATE_MIN && smaller(&v, &out)) ||
            (a->aggregate == AGGREGATE_MAX && smaller(&out, &v)))
            out = v;
        else if (sum && same && v.v[0].type == TRACEQL_FLOAT)
            out.v[0].f64 += v.v[0].f64;
        else if (sum && same && traceql_type_numeric(v.v[0].type))
            out.v[0].i64 += v.v[0].i64;
    }
    return a->aggregate == AGGREGATE_AVG && count ? average(out, count) : out;
}

static void filter_scalar(struct naive *n, const struct stage *s, struct naive_set in,
                          struct list *out)
{
    static const char *const names[] = {[AGGREGATE_COUNT] = "count",
                                        [AGGREGATE_MIN] = "min",
                                        [AGGREGATE_MAX] = "max",
                                        [AGGREGATE_AVG] = "avg",
                                        [AGGREGATE_SUM] = "sum"};
    struct many v = aggregate(n, s->lhs, &in);
    bool keep = false;
    for (uint32_t i = 0; i < v.count; i++) {
        struct traceql_value holds;
        assert_int_equal(value_binary(s->op, &v.v[i], &s->rhs->literal, &holds, NULL), 0);
        keep = keep || holds.b;
    }
    if (!keep)
        return;
    say(n, &in, names[s->lhs->aggregate], s->lhs->arg, &v);
    push(n, out, in);
}

static struct list eval_stage(struct naive *n, const struct stage *s, struct list in)
{
    struct list out = {0};
    if (s->kind == STAGE_SELECT || in.count == 0)
        return in;
    if (s->kind == STAGE_COALESCE) {
        struct naive_set made = {.trace = in.at[0].trace};
        made.spans = get(n, total(&in) * sizeof *made.spans);
        pool(&in, &made);
        push(n, &out, made);
        return out;
    }
    for (uint32_t i = 0; i < in.count; i++) {
        if (s->kind == STAGE_SPANSET) {
            struct list made = eval_spanset(n, s->spanset, in.at[i]);
            for (uint32_t k = 0; k < made.count; k++)
                push(n, &out, made.at[k]);
        } else if (s->kind == STAGE_BY) {
            group(n, s->by, in.at[i], &out);
        } else {
            filter_scalar(n, s, in.at[i], &out);
        }
    }
    return out;
}

static struct list eval_pipeline(struct naive *n, const struct pipeline *p, struct list in)
{
    for (const struct stage *s = p->first; s; s = s->next)
        in = eval_stage(n, s, in);
    return in;
}

/* ---- the whole ---- */

static void take_results(const struct list *l, struct naive_result *out)
{
    for (uint32_t i = 0; i < l->count; i++) {
        struct naive_set s = l->at[i];
        uint32_t *spans = malloc((s.count + 1) * sizeof *spans);
        memcpy(spans, s.spans, s.count * sizeof *spans);
        s.spans = spans;
        s.attrs = strdup(s.attrs ? s.attrs : "");
        out->sets = realloc(out->sets, (out->set_count + 1) * sizeof *out->sets);
        out->sets[out->set_count++] = s;
    }
}

static struct naive *naive_new(const struct model *m, bool all)
{
    struct naive *n = calloc(1, sizeof *n);
    n->m = m;
    n->all = all;
    n->arena = arena_new((size_t)64 << 20);
    return n;
}

static void naive_end(struct naive *n)
{
    arena_free(n->arena);
    free(n);
}

void naive_eval(const struct model *m, const struct traceql_query *q, struct naive_result *out)
{
    struct naive *n = naive_new(m, true), *second = naive_new(m, false);
    *out = (struct naive_result){.pairs = calloc(m->span_count + 1, sizeof(char *))};
    wants_of_pipeline(n, q->pipeline);
    naive_settle(n);
    selects_of_pipeline(second, q->pipeline);
    naive_settle(second);
    for (uint32_t t = 0; t < m->trace_count; t++) {
        struct naive_set all = {.trace = t,
                                .spans = get(n, (m->span_count + 1) * sizeof(uint32_t))};
        struct list list = {0};
        for (uint32_t i = 0; i < m->span_count; i++) {
            if (m->spans[i].trace == t && naive_look_at(n, i))
                all.spans[all.count++] = i;
        }
        if (all.count)
            push(n, &list, all);
        list = eval_pipeline(n, q->pipeline, list);
        take_results(&list, out);
    }
    for (uint32_t i = 0; i < out->set_count; i++) {
        for (uint32_t k = 0; k < out->sets[i].count; k++) {
            uint32_t span = out->sets[i].spans[k];
            naive_look_at(n, span);
            naive_look_at(second, span);
            free(out->pairs[span]);
            out->pairs[span] = naive_shown(n, second->condition_count ? second : NULL, span);
        }
    }
    out->failed = n->failed;
    naive_end(n);
    naive_end(second);
}

void naive_free(const struct model *m, struct naive_result *r)
{
    for (uint32_t i = 0; i < m->span_count; i++)
        free(r->pairs[i]);
    for (uint32_t i = 0; i < r->set_count; i++) {
        free(r->sets[i].spans);
        free(r->sets[i].attrs);
    }
    free(r->sets);
    free(r->pairs);
}
