/* Scalar filters: an aggregate over a spanset's spans, held against a number.
 *
 * A span without the value counts for count() only. Of several types the first one met decides for
 * sums and averages; minimum and maximum order everything. */
#include "traceql/spanset.h"

#include "traceql/row.h"
#include "traceql/value.h"

static bool is_nil(const struct seen *s)
{
    return !s->array && s->scalar.type == TRACEQL_NIL;
}

/* Numbers of the very same type are added, two's complement; anything else leaves the sum alone. */
static void add(struct seen *sum, const struct seen *value)
{
    if (sum->array || value->array || sum->scalar.type != value->scalar.type)
        return;
    if (sum->scalar.type == TRACEQL_FLOAT)
        sum->scalar.f64 += value->scalar.f64;
    else if (traceql_type_numeric(sum->scalar.type))
        sum->scalar.i64 = (int64_t)((uint64_t)sum->scalar.i64 + (uint64_t)value->scalar.i64);
}

/* Durations stay durations, other numbers become floats. What is no number has no average. A
 * negative sum of integers is read as unsigned: all of Tempo's versions answer so, and answers are
 * compared. */
static void divide(struct seen *sum, uint32_t count)
{
    struct traceql_value *v = &sum->scalar;
    if (sum->array || !traceql_type_numeric(v->type))
        *sum = (struct seen){.scalar = {.type = TRACEQL_NIL}};
    else if (v->type == TRACEQL_DURATION)
        v->i64 /= count;
    else if (v->type == TRACEQL_INT)
        *v = (struct traceql_value){.type = TRACEQL_FLOAT, .f64 = (double)(uint64_t)v->i64 / count};
    else
        v->f64 /= count;
}

/* *out is nil when no span has a value. */
static int aggregate(struct traceql_view *v, const struct scalar *a, const struct set *s,
                     struct seen *out, struct err *err)
{
    uint32_t count = 0;
    *out = (struct seen){.scalar = {.type = TRACEQL_NIL}};
    if (a->aggregate == AGGREGATE_COUNT) {
        out->scalar = value_int(s->count);
        return 0;
    }
    for (uint32_t i = 0; i < s->count; i++) {
        struct seen value;
        int rc = row_eval(v, a->arg, s->spans[i], &value, err);
        if (rc < 0)
            return rc;
        if (is_nil(&value))
            continue;
        if (count++ == 0)
            *out = value;
        else if (a->aggregate == AGGREGATE_MIN || a->aggregate == AGGREGATE_MAX) {
            int order = seen_order(&value, out);
            if (a->aggregate == AGGREGATE_MIN ? order < 0 : order > 0)
                *out = value;
        } else {
            add(out, &value);
        }
    }
    if (a->aggregate == AGGREGATE_AVG && count)
        divide(out, count);
    return 0;
}

int scalar_filter(struct traceql_view *v, const struct stage *s, const struct sets *in,
                  struct sets *out, struct err *err)
{
    static const char *const names[] = {
        [AGGREGATE_COUNT] = "count", [AGGREGATE_MIN] = "min", [AGGREGATE_MAX] = "max",
        [AGGREGATE_AVG] = "avg",     [AGGREGATE_SUM] = "sum",
    };
    struct traceql_set_attr attr;
    int rc = stage_text(v, names[s->lhs->aggregate], s->lhs->arg, &attr.key, err);
    rc = rc < 0 ? rc : sets_new(v, in->count, out, err);
    for (uint32_t i = 0; i < in->count && rc == 0; i++) {
        struct seen value;
        bool holds;
        rc = aggregate(v, s->lhs, &in->at[i], &value, err);
        rc = rc < 0 ? rc : seen_compare(&value, s->op, &s->rhs->literal, &holds, err);
        if (rc < 0 || !holds)
            continue;
        struct set *made = &out->at[out->count++];
        *made = in->at[i];
        made->origin = i;
        rc = seen_values(v, &value, &attr.values, &attr.count, err);
        rc = rc < 0 ? rc : set_say(v, made, attr, err);
    }
    return rc;
}
