/* What of a batch a query gets to see: for each field the values that its conditions let through,
 * and from these the candidates, the spans that are looked at at all. README.md has the rules; they
 * are Tempo's storage contract, and operators are applied to nothing else.
 *
 * Conditions of a field's own column are alternatives. Conditions of the generic list are pooled by
 * level and type: a value is visible when any of them, of whatever attribute, accepts it. When all
 * conditions are required (plan.all), elements that lack one are dropped level by level. */
#include "traceql/eval_priv.h"
#include "traceql/value.h"

/* Element maps and scratch live in the batch's arena. */
static int arena_full(const struct traceql_view *v, struct err *err)
{
    return arena_err(v->arena, err, "the evaluation of a batch");
}

static uint8_t *bytes_of(struct traceql_view *v, uint32_t count, uint8_t value)
{
    uint8_t *p = arena_alloc(v->arena, count);
    if (p)
        memset(p, value, count);
    return p;
}

const uint32_t *view_span_map(const struct traceql_view *v, enum traceql_level level)
{
    switch (level) {
    case TRACEQL_LEVEL_TRACE:
        return v->batch->span_trace;
    case TRACEQL_LEVEL_RESOURCE:
        return v->batch->span_resource;
    case TRACEQL_LEVEL_SCOPE:
        return v->batch->span_scope;
    default:
        return NULL;
    }
}

static inline uint32_t owner_at(const uint32_t *owner, uint32_t i)
{
    return owner ? owner[i] : i;
}

/* ---- columns ---- */

/* What the condition says of a dictionary, from memory if it was asked before. */
static int verdicts_of(struct traceql_view *v, struct filter *f,
                       const struct traceql_values *values, const struct verdicts **out,
                       struct err *err)
{
    enum { MOST = sizeof f->verdicts / sizeof f->verdicts[0] };
    for (int i = 0; i < MOST; i++) {
        *out = &f->verdicts[i];
        if ((*out)->dict == values->dict && (*out)->count == values->dict_count)
            return 0;
    }
    uint8_t *holds = arena_alloc(v->batch->kept, values->dict_count);
    bool any;
    if (!holds)
        return arena_err(v->batch->kept, err, "a dictionary's answers");
    int rc =
        predicate_dictionary(&f->predicate, values->dict, values->dict_count, holds, &any, err);
    if (rc < 0)
        return rc;
    struct verdicts *kept = &f->verdicts[f->next_verdicts++ % MOST];
    *kept = (struct verdicts){values->dict, values->dict_count, any ? holds : NULL};
    *out = kept;
    return 0;
}

static int apply_filter(struct traceql_view *v, struct filter *f,
                        const struct traceql_values *values, uint8_t *out, struct err *err)
{
    if (f->is_id) {
        id_apply(&f->id, f->predicate.op == TRACEQL_OP_EQ, values, out);
        return 0;
    }
    bool asks_dictionary = values->type == TRACEQL_STRING && values->idx && values->count &&
                           v->batch->dictionaries && f->predicate.op != TRACEQL_OP_NONE;
    if (!asks_dictionary || !predicate_fits(&f->predicate, TRACEQL_STRING))
        return predicate_apply(&f->predicate, values, &v->scratch, out, err);
    const struct verdicts *verdicts;
    int rc = verdicts_of(v, f, values, &verdicts, err);
    for (uint32_t i = 0; rc == 0 && verdicts->holds && i < values->count; i++)
        out[i] |= verdicts->holds[values->idx[i]];
    return rc;
}

/* The column's values that any of its conditions accepts. */
static int show_column(struct traceql_view *v, uint32_t field, struct err *err)
{
    struct visible *f = &v->fields[field];
    if (f->field->intrinsic == TRACEQL_SPAN_START) {
        f->column_everybody = true;
        return 0;
    }
    if (!f->in->has_column)
        return 0;
    for (uint32_t i = 0; i < v->eval->plan->condition_count; i++) {
        struct filter *filter = &v->eval->filters[i];
        if (filter->condition->field != field ||
            !reads_column(v->eval->plan, v->own, filter->condition))
            continue;
        f->column_filter = f->column ? NULL : filter;
        if (!f->column && !(f->column = bytes_of(v, f->in->column.count, 0)))
            return arena_full(v, err);
        int rc = apply_filter(v, filter, &f->in->column, f->column, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- generic lists ---- */

/* The values of one type that any condition on the level's generic list accepts. */
static int show_values(struct traceql_view *v, struct visible *f, int kind, struct err *err)
{
    const struct traceql_values *values = attrs_list(&f->in->attrs, kind);
    bool several = false;
    if (!(f->values[kind] = bytes_of(v, values->count, 0)))
        return arena_full(v, err);
    for (uint32_t i = 0; i < v->eval->plan->condition_count; i++) {
        struct filter *filter = &v->eval->filters[i];
        const struct traceql_condition *c = filter->condition;
        if (v->fields[c->field].field->level != f->field->level ||
            reads_column(v->eval->plan, v->own, c) ||
            (c->op != TRACEQL_OP_NONE && condition_kind(c) != kind))
            continue;
        f->value_filter[kind] = several ? NULL : filter;
        several = true;
        int rc = apply_filter(v, filter, values, f->values[kind], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* An occurrence without a visible value still is an entry, nil, and hides what comes behind it;
 * but not when every condition is required and all are of one type. */
static int show_generic(struct traceql_view *v, uint32_t field, unsigned kinds, struct err *err)
{
    struct visible *f = &v->fields[field];
    const struct traceql_attrs *attrs = &f->in->attrs;
    bool one_kind = (kinds & (kinds - 1)) == 0;
    f->entries = bytes_of(v, attrs->count, v->eval->plan->all && one_kind ? ENTRY_NONE : ENTRY_NIL);
    if (!f->entries)
        return arena_full(v, err);
    for (int kind = 0; kind < KINDS; kind++) {
        const struct traceql_values *values = attrs_list(attrs, kind);
        if (!(kinds & 1u << kind) || values->count == 0)
            continue;
        int rc = show_values(v, f, kind, err);
        if (rc < 0)
            return rc;
        for (uint32_t i = 0; i < values->count; i++) {
            if (f->values[kind][i])
                f->entries[owner_at(values->owner, i)] = ENTRY_VALUE;
        }
    }
    return 0;
}

/* Which elements lack the attribute. As in Tempo one without any attribute of the generic list
 * lacks none of them; where the attribute has a column of its own, that alone is looked at. */
static int find_absent(struct traceql_view *v, struct visible *f, struct err *err)
{
    const struct traceql_values *c = &f->in->column;
    uint32_t count = v->batch->counts[f->field->level];
    if (!f->field->absence)
        return 0;
    if (!(f->absent = bytes_of(v, count, 1)))
        return arena_full(v, err);
    if (f->in->has_column) {
        for (uint32_t i = 0; i < c->count; i++)
            f->absent[owner_at(c->owner, i)] = 0;
        return 0;
    }
    for (uint32_t i = 0; f->in->attrs.holders && i < count; i++)
        f->absent[i] = f->in->attrs.holders[i];
    for (uint32_t i = 0; i < f->in->attrs.count; i++)
        f->absent[f->in->attrs.owner[i]] = 0;
    return 0;
}

static int show_fields(struct traceql_view *v, struct err *err)
{
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++) {
        int rc = show_column(v, i, err);
        unsigned kinds = generic_kinds(v->eval->plan, v->own, v->fields[i].field->level);
        if (rc == 0 && kinds && reads_generic(v->eval->plan, v->own, i))
            rc = show_generic(v, i, kinds, err);
        rc = rc < 0 ? rc : find_absent(v, &v->fields[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- elements that fulfil all conditions of their level ---- */

/* to[map[i]] |= from[i] for the elements of a column. */
static void scatter_column(const struct visible *f, uint8_t *to)
{
    const struct traceql_values *c = &f->in->column;
    for (uint32_t i = 0; f->column && i < c->count; i++) {
        if (f->column[i])
            to[owner_at(c->owner, i)] = 1;
    }
}

static void and_bytes(uint8_t *restrict to, const uint8_t *restrict from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] &= from[i];
}

/* Scopes, events, links and traces: each condition on a column stands for itself. */
static int require_each(struct traceql_view *v, enum traceql_level level, uint8_t *ok,
                        uint32_t *names, struct err *err)
{
    uint32_t count = v->batch->counts[level];
    for (uint32_t i = 0; i < v->eval->plan->condition_count; i++) {
        struct filter *filter = &v->eval->filters[i];
        const struct visible *f = &v->fields[filter->condition->field];
        if (f->field->level != level || !reads_column(v->eval->plan, v->own, filter->condition))
            continue;
        const struct traceql_values *c = &f->in->column;
        uint8_t *accepted = bytes_of(v, f->in->has_column ? c->count : 0, 0);
        uint8_t *mine = bytes_of(v, count, 0);
        if (!accepted || !mine)
            return arena_full(v, err);
        int rc = f->in->has_column ? apply_filter(v, filter, c, accepted, err) : 0;
        if (rc < 0)
            return rc;
        for (uint32_t k = 0; f->in->has_column && k < c->count; k++)
            mine[owner_at(c->owner, k)] |= accepted[k];
        and_bytes(ok, mine, count);
        for (uint32_t k = 0; names && k < count; k++)
            names[k] += mine[k];
    }
    return 0;
}

static uint32_t column_conditions(const struct traceql_view *v, uint32_t field)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < v->eval->plan->condition_count; i++) {
        const struct traceql_condition *c = &v->eval->plan->conditions[i];
        count += c->field == field && reads_column(v->eval->plan, v->own, c);
    }
    return count;
}

/* Resources and spans: the conditions on one column are alternatives. */
static int require_columns(struct traceql_view *v, enum traceql_level level, uint8_t *ok,
                           uint32_t *names, struct err *err)
{
    uint32_t count = v->batch->counts[level];
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++) {
        const struct visible *f = &v->fields[i];
        if (f->field->level != level || column_conditions(v, i) == 0)
            continue;
        const uint8_t *mine = f->column;
        if (f->column_everybody || !mine || f->in->column.owner) {
            uint8_t *marks = bytes_of(v, count, f->column_everybody);
            if (!marks)
                return arena_full(v, err);
            scatter_column(f, marks);
            mine = marks;
        }
        and_bytes(ok, mine, count);
        for (uint32_t k = 0; names && k < count; k++)
            names[k] += mine[k];
    }
    return 0;
}

/* At least one entry of the generic list. Spans count entries with a value, the others all. */
static int require_generic(struct traceql_view *v, enum traceql_level level, uint8_t *ok,
                           uint32_t *names, struct err *err)
{
    uint32_t count = v->batch->counts[level];
    if (!generic_kinds(v->eval->plan, v->own, level))
        return 0;
    uint8_t *any = NULL;
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++) {
        const struct visible *f = &v->fields[i];
        if (f->field->level != level || !f->entries)
            continue;
        if (!any && !(any = bytes_of(v, count, 0)))
            return arena_full(v, err);
        for (uint32_t k = 0; k < f->in->attrs.count; k++) {
            if (f->entries[k] == ENTRY_NONE)
                continue;
            any[f->in->attrs.owner[k]] = 1;
            if (names && (f->entries[k] == ENTRY_VALUE || level != TRACEQL_LEVEL_SPAN))
                names[f->in->attrs.owner[k]]++;
        }
    }
    if (any)
        and_bytes(ok, any, count);
    return 0;
}

/* What else counts as a span's entries: those of its events and links. */
static void count_below_span(const struct traceql_view *v, uint32_t *names)
{
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++) {
        const struct visible *f = &v->fields[i];
        if (f->field->level <= TRACEQL_LEVEL_SPAN)
            continue;
        /* Here each condition on a column gives an entry of its own. */
        uint32_t times = column_conditions(v, i);
        for (uint32_t k = 0; f->column && k < f->in->column.count; k++)
            names[holder_of(f, owner_at(f->in->column.owner, k))] += f->column[k] ? times : 0;
        for (uint32_t k = 0; f->entries && k < f->in->attrs.count; k++)
            names[holder_of(f, f->in->attrs.owner[k])] += f->entries[k] == ENTRY_VALUE;
    }
}

/* And one more for a span with any nested-set number other than 0, if those are asked for. */
static int count_nested_set(struct traceql_view *v, uint32_t *names, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    uint8_t *numbered = NULL;
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++) {
        const struct visible *f = &v->fields[i];
        bool nested = f->field->intrinsic == TRACEQL_NESTED_SET_LEFT ||
                      f->field->intrinsic == TRACEQL_NESTED_SET_RIGHT ||
                      f->field->intrinsic == TRACEQL_NESTED_SET_PARENT;
        if (!nested || !f->column)
            continue;
        if (!numbered && !(numbered = bytes_of(v, spans, 0)))
            return arena_full(v, err);
        for (uint32_t k = 0; k < f->in->column.count; k++)
            numbered[owner_at(f->in->column.owner, k)] |= f->column[k] && f->in->column.i64[k] != 0;
    }
    for (uint32_t i = 0; numbered && i < spans; i++)
        names[i] += numbered[i];
    return 0;
}

/* Must the names be counted, or do the other requirements see to it that there are enough? Each
 * column asked for gives an entry, and so does the generic list: enough for one name of it. */
static bool names_matter(const struct traceql_view *v, enum traceql_level level)
{
    unsigned kinds = generic_kinds(v->eval->plan, v->own, level), generic = 0;
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++)
        generic += v->fields[i].field->level == level && reads_generic(v->eval->plan, v->own, i);
    if (level == TRACEQL_LEVEL_TRACE || generic == 0)
        return false;
    bool one_kind = kinds && (kinds & (kinds - 1)) == 0;
    return !(generic == 1 && one_kind);
}

/* Which elements of the level fulfil all of its conditions; NULL when it has none. */
static int fulfilled(struct traceql_view *v, enum traceql_level level, uint8_t **out,
                     struct err *err)
{
    uint32_t count = v->batch->counts[level], need = v->eval->plan->names[level];
    *out = NULL;
    if (need == 0)
        return 0;
    bool counted = names_matter(v, level);
    uint8_t *ok = bytes_of(v, count, 1);
    uint32_t *names = counted ? arena_zalloc(v->arena, count * sizeof *names) : NULL;
    if (!ok || (counted && !names))
        return arena_full(v, err);
    bool alternatives = level == TRACEQL_LEVEL_RESOURCE || level == TRACEQL_LEVEL_SPAN;
    int rc = alternatives ? require_columns(v, level, ok, names, err)
                          : require_each(v, level, ok, names, err);
    rc = rc < 0 ? rc : require_generic(v, level, ok, names, err);
    if (counted && level == TRACEQL_LEVEL_SPAN) {
        count_below_span(v, names);
        rc = rc < 0 ? rc : count_nested_set(v, names, err);
    }
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; counted && i < count; i++)
        ok[i] &= names[i] >= need;
    *out = ok;
    return 0;
}

/* Events and links that do not fulfil all conditions show nothing. */
static void hide_unfulfilled(struct traceql_view *v, enum traceql_level level, const uint8_t *ok)
{
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++) {
        struct visible *f = &v->fields[i];
        if (f->field->level != level)
            continue;
        for (uint32_t k = 0; f->column && k < f->in->column.count; k++)
            f->column[k] &= ok[owner_at(f->in->column.owner, k)];
        for (uint32_t k = 0; f->entries && k < f->in->attrs.count; k++) {
            if (!ok[f->in->attrs.owner[k]])
                f->entries[k] = ENTRY_NONE;
        }
    }
}

/* ---- candidates ---- */

static void and_level(struct traceql_view *v, enum traceql_level level, const uint8_t *ok)
{
    const uint32_t *map = view_span_map(v, level);
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    for (uint32_t i = 0; i < spans; i++)
        v->candidates[i] &= ok[owner_at(map, i)];
}

/* A span needs an event (link) that fulfils all conditions on events (links). */
static int and_below(struct traceql_view *v, enum traceql_level level, const uint8_t *ok,
                     struct err *err)
{
    const uint32_t *map = level == TRACEQL_LEVEL_EVENT ? v->batch->event_span : v->batch->link_span;
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    uint8_t *any = bytes_of(v, spans, 0);
    if (!any)
        return arena_full(v, err);
    for (uint32_t i = 0; i < v->batch->counts[level]; i++)
        any[map[i]] |= ok[i];
    and_bytes(v->candidates, any, spans);
    return 0;
}

/* Where `= nil` is a condition, what has the attribute is left out. */
static void require_absence(struct traceql_view *v)
{
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++) {
        if (v->fields[i].absent)
            and_level(v, v->fields[i].field->level, v->fields[i].absent);
    }
}

static int require_all(struct traceql_view *v, struct err *err)
{
    /* Events and links first: what they hide does not count for their spans. */
    static const enum traceql_level order[] = {TRACEQL_LEVEL_EVENT,    TRACEQL_LEVEL_LINK,
                                               TRACEQL_LEVEL_SPAN,     TRACEQL_LEVEL_SCOPE,
                                               TRACEQL_LEVEL_RESOURCE, TRACEQL_LEVEL_TRACE};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        uint8_t *ok;
        int rc = fulfilled(v, order[i], &ok, err);
        if (rc < 0)
            return rc;
        if (!ok)
            continue;
        if (order[i] > TRACEQL_LEVEL_SPAN) {
            hide_unfulfilled(v, order[i], ok);
            rc = and_below(v, order[i], ok, err);
        } else {
            and_level(v, order[i], ok);
        }
        if (rc < 0)
            return rc;
    }
    require_absence(v);
    return 0;
}

/* Marks spans of which the field shows a value. */
static int mark_shown(struct traceql_view *v, const struct visible *f, struct err *err)
{
    enum traceql_level level = f->holder_level;
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    bool direct = level == TRACEQL_LEVEL_SPAN;
    uint8_t *to = direct ? v->candidates : bytes_of(v, v->batch->counts[level], 0);
    if (!to)
        return arena_full(v, err);
    /* A number read for an operator between spansets is no value of its own, but one other than 0
     * tells that the span is part of its trace's tree. */
    for (uint32_t k = 0; f->column && f->structural && k < f->in->column.count; k++)
        to[owner_at(f->in->column.owner, k)] |= f->in->column.i64[k] != 0;
    for (uint32_t k = 0; f->column && !f->structural && k < f->in->column.count; k++)
        to[holder_of(f, owner_at(f->in->column.owner, k))] |= f->column[k];
    for (uint32_t k = 0; f->entries && k < f->in->attrs.count; k++)
        to[holder_of(f, f->in->attrs.owner[k])] |= f->entries[k] == ENTRY_VALUE;
    for (uint32_t k = 0; f->absent && k < v->batch->counts[level]; k++)
        to[k] |= f->absent[k];
    const uint32_t *map = view_span_map(v, level);
    for (uint32_t i = 0; !direct && i < spans; i++)
        v->candidates[i] |= to[map[i]];
    return 0;
}

/* Nothing is required by itself, but a span that shows nothing at all is left out; not so when a
 * condition is on the trace, or there is no condition. */
static int require_any(struct traceql_view *v, struct err *err)
{
    uint32_t spans = v->batch->counts[TRACEQL_LEVEL_SPAN];
    bool everybody = v->eval->plan->field_count == 0;
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++)
        everybody = everybody || v->fields[i].column_everybody ||
                    v->fields[i].field->level == TRACEQL_LEVEL_TRACE;
    if (everybody)
        return 0;
    memset(v->candidates, 0, spans);
    for (uint32_t i = 0; i < v->eval->plan->field_count; i++) {
        int rc = mark_shown(v, &v->fields[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- what operators see ---- */

/* Of several entries (a key twice, several events) operators see the first, be it nil. */
static int find_first_entries(struct traceql_view *v, struct visible *f, struct err *err)
{
    const struct traceql_attrs *attrs = &f->in->attrs;
    if (!f->entries)
        return 0;
    if (!(f->first = arena_alloc(v->arena, attrs->count)))
        return arena_full(v, err);
    uint32_t last = UINT32_MAX;
    for (uint32_t k = 0; k < attrs->count; k++) {
        uint32_t holder = holder_of(f, attrs->owner[k]);
        f->first[k] = f->entries[k] != ENTRY_NONE && holder != last;
        if (f->first[k])
            last = holder;
    }
    return 0;
}

static enum traceql_type column_type(const struct traceql_field *f, const struct traceql_input *in)
{
    if (f->intrinsic == TRACEQL_ATTRIBUTE)
        return in->column.type;
    enum traceql_type t = traceql_intrinsic_type(f->intrinsic);
    return t == EXPR_TYPE_RUNTIME ? TRACEQL_STRING : t;
}

static int view_init(struct traceql_view *v, struct err *err)
{
    const struct plan *plan = v->eval->plan;
    v->fields = arena_zalloc(v->arena, plan->field_count * sizeof *v->fields);
    v->own = arena_array(v->arena, enum traceql_type, plan->field_count);
    v->candidates = bytes_of(v, v->batch->counts[TRACEQL_LEVEL_SPAN], 1);
    v->stack = arena_zalloc(v->arena, plan->stack_max * sizeof *v->stack);
    if (!v->fields || !v->own || !v->candidates || !v->stack)
        return arena_full(v, err);
    for (uint32_t i = 0; i < plan->field_count; i++) {
        struct visible *f = &v->fields[i];
        f->field = &plan->fields[i];
        f->in = &v->batch->inputs[i];
        v->own[i] = f->in->has_column ? f->in->column.type : TRACEQL_NIL;
        f->structural = plan->structural[i];
        f->type = column_type(f->field, f->in);
        f->holder_level =
            f->field->level > TRACEQL_LEVEL_SPAN ? TRACEQL_LEVEL_SPAN : f->field->level;
        if (f->field->level == TRACEQL_LEVEL_EVENT)
            f->holder_map = v->batch->event_span;
        if (f->field->level == TRACEQL_LEVEL_LINK)
            f->holder_map = v->batch->link_span;
    }
    return 0;
}

/* Dictionaries at the same addresses may be others now. */
static void forget_verdicts(struct traceql_view *v)
{
    struct traceql_eval *e = v->eval;
    if (v->batch->dictionaries && v->batch->dictionaries == e->dictionaries)
        return;
    for (uint32_t i = 0; i < e->plan->condition_count; i++)
        memset(e->filters[i].verdicts, 0, sizeof e->filters[i].verdicts);
    e->dictionaries = v->batch->dictionaries;
}

int view_build(struct traceql_view *v, struct err *err)
{
    forget_verdicts(v);
    int rc = view_init(v, err);
    rc = rc < 0 ? rc : show_fields(v, err);
    if (rc == 0)
        rc = v->eval->plan->all ? require_all(v, err) : require_any(v, err);
    for (uint32_t i = 0; i < v->eval->plan->field_count && rc == 0; i++)
        rc = find_first_entries(v, &v->fields[i], err);
    return rc;
}
