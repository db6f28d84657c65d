/* Which condition looks where: at a field's own column, or at the generic list and its values of
 * which types. */
#include "traceql/eval_priv.h"

int condition_kind(const struct traceql_condition *c)
{
    switch (c->literal.type) {
    case TRACEQL_STRING:
        return KIND_STRING;
    case TRACEQL_INT:
        return KIND_INT;
    case TRACEQL_FLOAT:
        return KIND_FLOAT;
    case TRACEQL_BOOL:
        return KIND_BOOL;
    default:
        return KINDS; /* durations, statuses, kinds, nil: no attribute is stored as one */
    }
}

bool reads_column(const struct plan *p, const enum traceql_type *own,
                  const struct traceql_condition *c)
{
    enum traceql_type type = own[c->field];
    if (p->fields[c->field].intrinsic != TRACEQL_ATTRIBUTE)
        return true;
    return type != TRACEQL_NIL && (c->op == TRACEQL_OP_NONE || c->literal.type == type);
}

bool reads_generic(const struct plan *p, const enum traceql_type *own, uint32_t field)
{
    for (uint32_t i = 0; i < p->condition_count; i++) {
        const struct traceql_condition *c = &p->conditions[i];
        if (c->field == field && !reads_column(p, own, c))
            return true;
    }
    return false;
}

unsigned generic_kinds(const struct plan *p, const enum traceql_type *own, enum traceql_level level)
{
    unsigned kinds = 0;
    for (uint32_t i = 0; i < p->condition_count; i++) {
        const struct traceql_condition *c = &p->conditions[i];
        if (p->fields[c->field].level != level || reads_column(p, own, c))
            continue;
        kinds |= c->op == TRACEQL_OP_NONE ? (1u << KINDS) - 1 : 1u << condition_kind(c);
    }
    return kinds & ((1u << KINDS) - 1);
}

static unsigned kinds_read(unsigned kinds)
{
    unsigned reads = TRACEQL_READ_KEYS;
    reads |= kinds & 1u << KIND_STRING ? TRACEQL_READ_STRINGS : 0;
    reads |= kinds & 1u << KIND_INT ? TRACEQL_READ_INTS : 0;
    reads |= kinds & 1u << KIND_FLOAT ? TRACEQL_READ_FLOATS : 0;
    reads |= kinds & 1u << KIND_BOOL ? TRACEQL_READ_BOOLS : 0;
    return reads;
}

static bool some_condition_reads_column(const struct plan *p, const enum traceql_type *own,
                                        uint32_t field)
{
    for (uint32_t i = 0; i < p->condition_count; i++) {
        if (p->conditions[i].field == field && reads_column(p, own, &p->conditions[i]))
            return true;
    }
    return false;
}

/* Fields of metrics have no conditions: the column if there is one, else the list. */
static unsigned unconditional(const struct plan *p, const enum traceql_type *own, uint32_t field)
{
    bool numbers = p->numbers && p->numbers[field];
    if (own[field] != TRACEQL_NIL || p->fields[field].intrinsic != TRACEQL_ATTRIBUTE)
        return TRACEQL_READ_COLUMN;
    return kinds_read(numbers ? 1u << KIND_INT | 1u << KIND_FLOAT : (1u << KINDS) - 1);
}

void traceql_reads(const struct traceql_query *q, const enum traceql_type *own, unsigned *out)
{
    const struct plan *p = q->plan;
    for (uint32_t i = 0; i < p->field_count; i++) {
        const struct traceql_field *f = &p->fields[i];
        bool has_column = own[i] != TRACEQL_NIL;
        out[i] = p->conditions ? 0 : unconditional(p, own, i);
        if (some_condition_reads_column(p, own, i) || (f->absence && has_column))
            out[i] |= TRACEQL_READ_COLUMN;
        if (reads_generic(p, own, i))
            out[i] |= kinds_read(generic_kinds(p, own, f->level));
        if (f->absence && !has_column)
            out[i] |= TRACEQL_READ_KEYS;
    }
}
