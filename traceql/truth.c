/* Steps over whole columns: a comparison of an attribute with a literal, and an attribute that is
 * itself the condition. What is computed per trace, resource or scope is spread over the spans at
 * the end. */
#include "traceql/truth.h"

#include "traceql/value.h"

/* Marks of one field, per holder. */
struct marks {
    uint8_t *truth;
    uint8_t *found; /* holder has an entry; NULL: nobody asks */
};

static int arena_full(const struct traceql_view *v, struct err *err)
{
    return arena_err(v->arena, err, "the evaluation of a batch");
}

static inline uint32_t owner_at(const uint32_t *owner, uint32_t i)
{
    return owner ? owner[i] : i;
}

static bool is_nested_set(enum traceql_intrinsic i)
{
    return i == TRACEQL_NESTED_SET_LEFT || i == TRACEQL_NESTED_SET_RIGHT ||
           i == TRACEQL_NESTED_SET_PARENT;
}

/* ---- comparing values ---- */

static bool not_nil(const struct step *s)
{
    return s->literal.type == TRACEQL_NIL;
}

/* Is the step the very condition that made values visible? Then what is visible fulfils it. */
static bool same_question(const struct step *s, const struct filter *f)
{
    int64_t x = s->literal.i64;
    bool exact = (s->literal.type != TRACEQL_INT && s->literal.type != TRACEQL_DURATION) ||
                 (x < INT64_C(1) << 53 && x > -(INT64_C(1) << 53));
    return f && !f->is_id && exact && f->predicate.op == s->op && f->condition->op == s->op &&
           value_same(&f->condition->literal, &s->literal);
}

/* Per value: does it fulfil the step? type is what the engine takes the values for; shown are the
 * visible ones and by which condition. NULL result with rc 0: none does, because the types do not
 * go together. Uses SCRATCH_HOLDS. */
static int values_hold(struct traceql_view *v, const struct step *s,
                       const struct traceql_values *values, enum traceql_type type,
                       enum traceql_intrinsic id, uint8_t *shown, const struct filter *by,
                       uint8_t **out, struct err *err)
{
    *out = NULL;
    enum traceql_type literal = s->literal.type;
    if (!not_nil(s) && (!traceql_types_match(type, literal) || !traceql_op_defined(s->op, type) ||
                        !traceql_op_defined(s->op, literal)))
        return 0;
    *out = same_question(s, by) ? shown : scratch_zeroed(&v->scratch, SCRATCH_HOLDS, values->count);
    if (!*out)
        return arena_full(v, err);
    if (*out == shown)
        return 0;
    struct predicate p = {.op = not_nil(s) ? TRACEQL_OP_NONE : s->op,
                          .literal = s->literal,
                          .as_double = type == TRACEQL_DURATION || literal == TRACEQL_DURATION,
                          .id = intrinsic_is_id(id) ? id : TRACEQL_ATTRIBUTE};
    if (s->op == TRACEQL_OP_RE || s->op == TRACEQL_OP_NRE)
        p.re = v->eval->regexes[s->pattern];
    return predicate_apply(&p, values, &v->scratch, *out, err);
}

/* Values of the generic list, by way of their occurrences: the first one of each holder counts. */
static int mark_generic(struct traceql_view *v, const struct visible *f, const struct step *s,
                        struct marks *m, struct err *err)
{
    const struct traceql_attrs *attrs = &f->in->attrs;
    if (!f->entries)
        return 0;
    for (int kind = 0; kind < KINDS; kind++) {
        const struct traceql_values *values = attrs_list(attrs, kind);
        uint8_t *shown = f->values[kind];
        uint8_t *holds;
        if (!shown)
            continue;
        int rc = values_hold(v, s, values, values->type, TRACEQL_ATTRIBUTE, shown,
                             f->value_filter[kind], &holds, err);
        if (rc < 0)
            return rc;
        for (uint32_t i = 0; holds && i < values->count; i++) {
            if (!(holds[i] & shown[i]))
                continue;
            uint32_t k = owner_at(values->owner, i);
            if (f->first[k])
                m->truth[holder_of(f, attrs->owner[k])] = TRUTH_TRUE;
        }
    }
    for (uint32_t k = 0; m->found && k < attrs->count; k++) {
        if (f->first[k])
            m->found[holder_of(f, attrs->owner[k])] = 1;
    }
    return 0;
}

/* Values of the field's own column. Of several values of one holder (events, links) the first
 * visible one counts; an entry of the generic list comes before. */
static int mark_column(struct traceql_view *v, const struct visible *f, const struct step *s,
                       struct marks *m, struct err *err)
{
    const struct traceql_values *c = &f->in->column;
    uint8_t *holds;
    if (f->column_everybody && m->found)
        memset(m->found, 1, v->batch->counts[f->holder_level]);
    if (!f->column)
        return 0;
    int rc = values_hold(v, s, c, f->type, f->field->intrinsic, f->column, f->column_filter, &holds,
                         err);
    if (rc < 0)
        return rc;
    if (!c->owner && !f->holder_map && !m->found) {
        for (uint32_t i = 0; holds && i < c->count; i++)
            m->truth[i] |= holds[i] & f->column[i];
        return 0;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        if (!f->column[i])
            continue;
        uint32_t holder = holder_of(f, owner_at(c->owner, i));
        if (m->found && m->found[holder])
            continue;
        if (m->found)
            m->found[holder] = 1;
        m->truth[holder] = holds && holds[i];
    }
    return 0;
}

/* Does it matter which of several entries of a holder comes first? */
static bool order_matters(const struct visible *f)
{
    return f->column && (f->holder_map || f->entries);
}

/* One field's truth, spread over the spans that no earlier field of the lookup had an entry for. */
static int compare_field(struct traceql_view *v, const struct step *s, const struct visible *f,
                         bool alone, uint8_t *out, uint8_t *done, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    uint32_t holders = v->batch->counts[f->holder_level];
    const uint32_t *map = view_span_map(v, f->holder_level);
    struct marks m = {.truth = out};
    if (map || !alone)
        m.truth = scratch_zeroed(&v->scratch, SCRATCH_TRUTH, holders);
    if (!alone || order_matters(f))
        m.found = scratch_zeroed(&v->scratch, SCRATCH_FOUND, holders);
    if (!m.truth || ((!alone || order_matters(f)) && !m.found))
        return arena_full(v, err);
    int rc = mark_generic(v, f, s, &m, err);
    rc = rc < 0 ? rc : mark_column(v, f, s, &m, err);
    if (rc < 0 || m.truth == out)
        return rc;
    for (uint32_t i = 0; i < spans; i++) {
        uint32_t h = owner_at(map, i);
        if (alone) {
            out[i] = m.truth[h];
        } else if (!done[i]) {
            out[i] = m.truth[h];
            done[i] = m.found[h];
        }
    }
    return 0;
}

int truth_compare(struct traceql_view *v, const struct step *s, uint8_t *out, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN], count = s->lookup->count;
    const struct visible *f = count ? &v->fields[s->lookup->fields[0]] : NULL;
    /* A nested-set number that is not visible reads as 0. */
    struct traceql_value zero = value_int(0), at_zero = value_bool(false);
    bool nested = f && is_nested_set(f->field->intrinsic);
    bool alone = count == 1 && !nested;
    if (nested && !not_nil(s) && value_binary(s->op, &zero, &s->literal, &at_zero, err) < 0)
        return err ? (int)err->code : ERR_INVALID;
    at_zero.b = at_zero.b || (nested && not_nil(s));
    uint8_t *done = alone ? NULL : scratch_zeroed(&v->scratch, SCRATCH_DONE, spans);
    if (!alone && !done)
        return arena_full(v, err);
    for (uint32_t i = 0; i < count; i++) {
        f = &v->fields[s->lookup->fields[i]];
        int rc = compare_field(v, s, f, alone, out, done, err);
        if (rc < 0)
            return rc;
    }
    for (uint32_t i = 0; nested && i < spans; i++) {
        if (!done[i])
            out[i] = at_zero.b;
    }
    return 0;
}

/* ---- the attribute itself ---- */

static uint8_t truth_of(const struct seen *s)
{
    if (!s->array)
        return s->scalar.type != TRACEQL_BOOL ? TRUTH_OTHER : (uint8_t)s->scalar.b;
    if (s->array->type != TRACEQL_BOOL)
        return TRUTH_OTHER;
    uint8_t truth = TRUTH_NONE;
    for (uint32_t i = s->first; i < s->end; i++) {
        if (s->mask[i] && s->array->b[i])
            truth = TRUTH_SOME;
    }
    return truth;
}

int truth_attr(struct traceql_view *v, const struct step *s, uint8_t *out, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    uint8_t *done = scratch_zeroed(&v->scratch, SCRATCH_DONE, spans);
    if (!done)
        return arena_full(v, err);
    memset(out, TRUTH_OTHER, spans);
    for (uint32_t n = 0; n < s->lookup->count; n++) {
        const struct visible *f = &v->fields[s->lookup->fields[n]];
        const uint32_t *map = view_span_map(v, f->holder_level);
        uint32_t holders = v->batch->counts[f->holder_level];
        uint8_t *truth = scratch_zeroed(&v->scratch, SCRATCH_TRUTH, holders);
        struct marks m = {.truth = truth,
                          .found = scratch_zeroed(&v->scratch, SCRATCH_FOUND, holders)};
        if (!truth || !m.found)
            return arena_full(v, err);
        memset(truth, TRUTH_OTHER, holders);
        for (uint32_t k = 0; f->entries && k < f->in->attrs.count; k++) {
            if (!f->first[k])
                continue;
            struct seen seen;
            uint32_t holder = holder_of(f, f->in->attrs.owner[k]);
            seen_occurrence(f, k, &seen);
            truth[holder] = truth_of(&seen);
            m.found[holder] = 1;
        }
        /* No intrinsic and no column of its own holds bools, but they come first all the same. */
        for (uint32_t k = 0; f->column && k < f->in->column.count; k++) {
            if (f->column[k])
                m.found[holder_of(f, owner_at(f->in->column.owner, k))] = 1;
        }
        for (uint32_t i = 0; i < spans; i++) {
            uint32_t h = owner_at(map, i);
            if (!done[i] && (m.found[h] || f->column_everybody)) {
                out[i] = truth[h];
                done[i] = 1;
            }
        }
    }
    return 0;
}

/* ---- absence ---- */

void truth_absent(const struct traceql_view *v, const struct step *s, uint8_t *out)
{
    const struct visible *f = &v->fields[s->lookup->fields[0]];
    const uint32_t *map = view_span_map(v, f->holder_level);
    for (uint32_t i = 0; i < v->batch->counts[TRACEQL_LEVEL_SPAN]; i++)
        out[i] = f->absent[owner_at(map, i)];
}
