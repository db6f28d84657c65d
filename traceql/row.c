/* Expressions on one span: what whole-column steps do not cover. */
#include "base/text.h"
#include "traceql/row.h"
#include "traceql/value.h"

/* ---- finding values ---- */

/* The values of an owner: v->owner is ascending. */
static void owned_range(const struct traceql_values *v, uint32_t owner, uint32_t *first,
                        uint32_t *end)
{
    if (!v->owner) {
        *first = owner < v->count ? owner : v->count;
        *end = owner < v->count ? owner + 1 : v->count;
        return;
    }
    uint32_t lo = 0, hi = v->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (v->owner[mid] < owner)
            lo = mid + 1;
        else
            hi = mid;
    }
    *first = lo;
    while (lo < v->count && v->owner[lo] == owner)
        lo++;
    *end = lo;
}

struct traceql_value element_value(const struct visible *f, const struct traceql_values *v,
                                   uint32_t i, char id[ID_TEXT_BYTES])
{
    struct traceql_value out = {.type = v == &f->in->column ? f->type : v->type};
    switch (v->type) {
    case TRACEQL_FLOAT:
        out.f64 = v->f64[i];
        break;
    case TRACEQL_BOOL:
        out.b = v->b[i];
        break;
    case TRACEQL_STRING:
        out.str = v->idx ? v->dict[v->idx[i]] : v->dict[i];
        if (intrinsic_is_id(f->field->intrinsic))
            out.str = id_text(f->field->intrinsic, out.str, id);
        break;
    default:
        out.i64 = v->i64[i];
    }
    return out;
}

void seen_occurrence(const struct visible *f, uint32_t occurrence, struct seen *out)
{
    *out = (struct seen){.scalar = {.type = TRACEQL_NIL}};
    for (int kind = 0; kind < KINDS; kind++) {
        const struct traceql_values *v = attrs_list(&f->in->attrs, kind);
        uint32_t first, end, count = 0, only = 0;
        if (!f->values[kind])
            continue;
        owned_range(v, occurrence, &first, &end);
        for (uint32_t i = first; i < end; i++) {
            if (f->values[kind][i]) {
                count++;
                only = i;
            }
        }
        if (count == 1)
            out->scalar = element_value(f, v, only, NULL);
        if (count > 1)
            *out = (struct seen){.array = v, .mask = f->values[kind], .first = first, .end = end};
        if (count)
            return;
    }
}

/* Tables from holder to its first entry; made for the whole batch when one span asks. */
static int index_field(struct traceql_view *v, struct visible *f, struct err *err)
{
    uint32_t holders = v->batch->counts[f->holder_level];
    const struct traceql_values *c = &f->in->column;
    if (f->column && !f->column_at) {
        f->column_at = arena_zalloc(v->arena, holders * sizeof *f->column_at);
        if (!f->column_at)
            return arena_err(v->arena, err, "the evaluation of a batch");
        for (uint32_t i = c->count; i > 0; i--) {
            if (f->column[i - 1])
                f->column_at[holder_of(f, c->owner ? c->owner[i - 1] : i - 1)] = i;
        }
    }
    if (f->first && !f->entry_at) {
        f->entry_at = arena_zalloc(v->arena, holders * sizeof *f->entry_at);
        if (!f->entry_at)
            return arena_err(v->arena, err, "the evaluation of a batch");
        for (uint32_t i = 0; i < f->in->attrs.count; i++) {
            if (f->first[i])
                f->entry_at[holder_of(f, f->in->attrs.owner[i])] = i + 1;
        }
    }
    return 0;
}

static bool is_nested_set(enum traceql_intrinsic i)
{
    return i == TRACEQL_NESTED_SET_LEFT || i == TRACEQL_NESTED_SET_RIGHT ||
           i == TRACEQL_NESTED_SET_PARENT;
}

static int look_up(struct traceql_view *v, const struct expr *e, uint32_t span, struct seen *out,
                   struct err *err)
{
    *out = (struct seen){.scalar = {.type = TRACEQL_NIL}};
    if (is_nested_set(e->attr.intrinsic))
        out->scalar = value_int(0); /* what is not visible reads as 0 */
    for (uint32_t i = 0; i < e->lookup->count; i++) {
        struct visible *f = &v->fields[e->lookup->fields[i]];
        int rc = index_field(v, f, err);
        if (rc < 0)
            return rc;
        const uint32_t *map = view_span_map(v, f->holder_level);
        uint32_t holder = map ? map[span] : span;
        if (f->entry_at && f->entry_at[holder]) {
            seen_occurrence(f, f->entry_at[holder] - 1, out);
            return 0;
        }
        if (f->column_at && f->column_at[holder]) {
            char id[ID_TEXT_BYTES];
            out->scalar = element_value(f, &f->in->column, f->column_at[holder] - 1, id);
            if (intrinsic_is_id(f->field->intrinsic) &&
                !arena_slice(v->arena, out->scalar.str, &out->scalar.str))
                return arena_err(v->arena, err, "the evaluation of a batch");
            return 0;
        }
    }
    return 0;
}

/* ---- operators ---- */

static enum traceql_type seen_type(const struct seen *s)
{
    return s->array ? s->array->type : s->scalar.type;
}

static int scalar_op(struct traceql_view *v, const struct expr *e, const struct traceql_value *l,
                     const struct traceql_value *r, struct traceql_value *out, struct err *err)
{
    if (e->op != TRACEQL_OP_RE && e->op != TRACEQL_OP_NRE)
        return value_binary(e->op, l, r, out, err);
    *out = value_bool(false);
    if (l->type != TRACEQL_STRING || r->type != TRACEQL_STRING)
        return 0;
    bool match;
    int rc = regex_match(v->eval->regexes[e->pattern], l->str, &match, err);
    out->b = rc == 0 && match == (e->op == TRACEQL_OP_RE);
    return rc;
}

/* One array against one value, or every pair of two arrays: true when any holds. */
static int any_element(struct traceql_view *v, const struct expr *e, const struct seen *l,
                       const struct seen *r, struct traceql_value *out, struct err *err)
{
    uint32_t l_first = l->array ? l->first : 0, l_end = l->array ? l->end : 1;
    uint32_t r_first = r->array ? r->first : 0, r_end = r->array ? r->end : 1;
    *out = value_bool(false);
    for (uint32_t i = l_first; i < l_end; i++) {
        if (l->array && !l->mask[i])
            continue;
        for (uint32_t k = r_first; k < r_end; k++) {
            if (r->array && !r->mask[k])
                continue;
            struct traceql_value a = l->array ? seen_element(l, i) : l->scalar;
            struct traceql_value b = r->array ? seen_element(r, k) : r->scalar;
            /* nil fits on the right only, and an array on the right is turned to the left. */
            bool turn = r->array && !l->array && a.type == TRACEQL_NIL;
            struct traceql_value one;
            int rc = scalar_op(v, e, turn ? &b : &a, turn ? &a : &b, &one, err);
            if (rc < 0)
                return rc;
            out->b = out->b || one.b;
        }
    }
    return 0;
}

static bool arrays_match(const struct seen *l, const struct seen *r)
{
    enum traceql_type lt = seen_type(l), rt = seen_type(r);
    return traceql_types_match(lt, rt) || (r->array && traceql_types_match(rt, lt));
}

static int binary(struct traceql_view *v, const struct expr *e, const struct seen *l,
                  const struct seen *r, struct traceql_value *out, struct err *err)
{
    if (!l->array && !r->array)
        return scalar_op(v, e, &l->scalar, &r->scalar, out, err);
    *out = value_bool(false);
    if (!arrays_match(l, r) || !traceql_op_defined(e->op, seen_type(l)) ||
        !traceql_op_defined(e->op, seen_type(r)))
        return 0;
    if (traceql_op_computes(e->op))
        return err_set(err, ERR_INVALID, "unsupported operation");
    return any_element(v, e, l, r, out, err);
}

static const char *type_name(const struct seen *s)
{
    switch (seen_type(s)) {
    case TRACEQL_INT:
        return s->array ? "TypeIntArray" : "TypeInt";
    case TRACEQL_FLOAT:
        return s->array ? "TypeFloatArray" : "TypeFloat";
    case TRACEQL_STRING:
        return s->array ? "TypeStringArray" : "TypeString";
    case TRACEQL_BOOL:
        return s->array ? "TypeBooleanArray" : "TypeBoolean";
    case TRACEQL_DURATION:
        return "TypeDuration";
    case TRACEQL_STATUS:
        return "TypeStatus";
    case TRACEQL_KIND:
        return "TypeKind";
    default:
        return "TypeNil";
    }
}

int row_type_error(const struct expr *e, const struct seen *operand, struct err *err)
{
    struct buf text;
    buf_init(&text, 256);
    int rc = expr_print(e, false, &text);
    err_set(err, ERR_INVALID, "expression (%.*s%s) expected a %s, but got %s",
            (int)utf8_prefix(buf_view(&text), text.len), text.ptr ? (const char *)text.ptr : "",
            rc < 0 ? "…" : "", e->op == TRACEQL_OP_NOT ? "boolean" : "numeric", type_name(operand));
    buf_clear(&text);
    return ERR_INVALID;
}

/* attr = nil, attr != nil. An attribute whose value is of no use is neither. */
static int nil_test(struct traceql_view *v, const struct expr *e, const struct expr *attr,
                    uint32_t span, struct seen *out, struct err *err)
{
    if (e->op == TRACEQL_OP_NE) {
        struct seen value;
        int rc = look_up(v, attr, span, &value, err);
        *out = (struct seen){.scalar = value_bool(value.array || value.scalar.type != TRACEQL_NIL)};
        return rc;
    }
    const struct visible *f = &v->fields[attr->lookup->fields[0]];
    const uint32_t *map = view_span_map(v, f->holder_level);
    *out = (struct seen){.scalar = value_bool(f->absent[map ? map[span] : span])};
    return 0;
}

int row_eval(struct traceql_view *v, const struct expr *e, uint32_t span, struct seen *out,
             struct err *err)
{
    const struct expr *attr = expr_nil_test(e);
    if (attr)
        return nil_test(v, e, attr, span, out, err);
    struct seen l, r;
    int rc;
    switch (e->kind) {
    case EXPR_LITERAL:
        *out = (struct seen){.scalar = e->literal};
        return 0;
    case EXPR_ATTR:
        return look_up(v, e, span, out, err);
    case EXPR_UNARY:
        rc = row_eval(v, e->rhs, span, &r, err);
        *out = (struct seen){0};
        if (rc == 0 && (r.array || !value_unary(e->op, &r.scalar, &out->scalar)))
            rc = row_type_error(e, &r, err);
        return rc;
    case EXPR_BINARY:
        rc = row_eval(v, e->lhs, span, &l, err);
        rc = rc < 0 ? rc : row_eval(v, e->rhs, span, &r, err);
        *out = (struct seen){0};
        return rc < 0 ? rc : binary(v, e, &l, &r, &out->scalar, err);
    }
    return 0;
}
