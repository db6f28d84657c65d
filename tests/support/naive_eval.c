/* The slow evaluator: everything is worked out for one span at a time, with lists of entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/naive_priv.h"

/* ---- conditions ---- */

static bool wants_absence(const struct condition *c)
{
    return c->op == TRACEQL_OP_EQ && c->literal.type == TRACEQL_NIL;
}

void naive_want(struct naive *n, const struct expr_attr *attr, enum traceql_op op,
                struct traceql_value literal)
{
    assert_true(n->condition_count < CONDITIONS);
    bool opless = op < TRACEQL_OP_EQ || op > TRACEQL_OP_NRE ||
                  (op == TRACEQL_OP_NE && literal.type == TRACEQL_NIL);
    struct condition c = {.attr = *attr};
    if (!opless) {
        c.op = op;
        c.literal = literal;
    }
    n->conditions[n->condition_count++] = c;
}

void naive_wants_of(struct naive *n, const struct expr *e)
{
    struct traceql_value none = {0};
    if (e->kind == EXPR_ATTR)
        naive_want(n, &e->attr, TRACEQL_OP_NONE, none);
    if (e->kind == EXPR_UNARY)
        naive_wants_of(n, e->rhs);
    if (e->kind != EXPR_BINARY)
        return;
    bool la = e->lhs->kind == EXPR_ATTR, ll = e->lhs->kind == EXPR_LITERAL;
    bool ra = e->rhs->kind == EXPR_ATTR, rl = e->rhs->kind == EXPR_LITERAL;
    if (la && rl) {
        naive_want(n, &e->lhs->attr, e->op, e->rhs->literal);
    } else if (ll && ra) {
        naive_want(n, &e->rhs->attr, e->op, e->lhs->literal);
    } else {
        naive_wants_of(n, e->lhs);
        naive_wants_of(n, e->rhs);
        if (!la && !ll && e->op == TRACEQL_OP_OR)
            n->all = false;
    }
}

static bool same_attr(const struct expr_attr *a, const struct expr_attr *b)
{
    return a->scope == b->scope && a->intrinsic == b->intrinsic && slice_eq(a->name, b->name);
}

static bool unscoped(const struct condition *c)
{
    return !c->attr.intrinsic && c->attr.scope == EXPR_SCOPE_NONE;
}

/* One round over all pairs; true when something changed. */
static bool reduce_once(struct naive *n)
{
    for (uint32_t i = 0; i < n->condition_count; i++) {
        for (uint32_t k = 0; k < n->condition_count; k++) {
            struct condition *a = &n->conditions[i], *b = &n->conditions[k];
            if (i == k || !same_attr(&a->attr, &b->attr))
                continue;
            bool same = a->op == b->op && (!a->op || value_same(&a->literal, &b->literal));
            bool opposite = a->op == TRACEQL_OP_EQ && b->op == TRACEQL_OP_NE &&
                            value_same(&a->literal, &b->literal);
            if (!same && ((!opposite && a->op) || wants_absence(a) || wants_absence(b)))
                continue;
            if (!same)
                a->op = TRACEQL_OP_NONE;
            a->structural = a->structural && b->structural;
            *b = n->conditions[--n->condition_count];
            return true;
        }
    }
    return false;
}

void naive_settle(struct naive *n)
{
    while (!n->all && reduce_once(n)) {
    }
    for (uint32_t i = 0; i < n->condition_count; i++) {
        if (unscoped(&n->conditions[i]))
            n->all = false;
    }
}

/* ---- storage ---- */

enum traceql_level naive_level(const struct expr_attr *a)
{
    static const enum traceql_level of_scope[] = {[EXPR_SCOPE_SPAN] = TRACEQL_LEVEL_SPAN,
                                                  [EXPR_SCOPE_RESOURCE] = TRACEQL_LEVEL_RESOURCE,
                                                  [EXPR_SCOPE_EVENT] = TRACEQL_LEVEL_EVENT,
                                                  [EXPR_SCOPE_LINK] = TRACEQL_LEVEL_LINK,
                                                  [EXPR_SCOPE_INSTRUMENTATION] =
                                                      TRACEQL_LEVEL_SCOPE,
                                                  [EXPR_SCOPE_NONE] = TRACEQL_LEVEL_SPAN};
    return a->intrinsic ? traceql_intrinsic_level(a->intrinsic) : of_scope[a->scope];
}

static bool on_level(const struct condition *c, enum traceql_level level)
{
    return naive_level(&c->attr) == level || (unscoped(c) && level == TRACEQL_LEVEL_RESOURCE);
}

static struct slice name_of(const struct expr_attr *a)
{
    return a->intrinsic ? slice_cstr(traceql_intrinsic_text(a->intrinsic)) : a->name;
}

static bool in_own_column(const struct condition *c, enum traceql_level level)
{
    enum traceql_type column = model_column(level, c->attr.name);
    return c->attr.intrinsic || (column && (!c->op || c->literal.type == column));
}

static bool matches(struct naive *n, struct slice pattern, struct slice value)
{
    uint32_t i = 0;
    while (i < n->pattern_count && !slice_eq(n->patterns[i], pattern))
        i++;
    if (i == n->pattern_count) {
        assert_true(i < 32);
        n->patterns[n->pattern_count++] = pattern;
        assert_int_equal(regex_new(pattern, n->arena, &n->regexes[i], NULL), 0);
    }
    bool match;
    assert_int_equal(regex_match(n->regexes[i], value, &match, NULL), 0);
    return match;
}

/* Does storage let the value through? */
static bool accepts(struct naive *n, const struct condition *c, const struct traceql_value *v)
{
    struct id_literal id;
    if (!c->op)
        return true;
    if (intrinsic_is_id(c->attr.intrinsic)) {
        char text[ID_TEXT_BYTES], zeros[1] = {'0'};
        if (!id_parse(c->attr.intrinsic, c->literal.str, &id))
            return true;
        /* The same id, spelled as a trace id: without leading zeros. */
        char mine[ID_TEXT_BYTES];
        struct slice stored = id_text(TRACEQL_TRACE_ID, v->str, mine);
        struct slice literal = id_text(TRACEQL_TRACE_ID, slice_of(id.bytes, id.len), text);
        (void)zeros;
        return slice_eq(stored, literal) == (c->op == TRACEQL_OP_EQ);
    }
    if (c->op == TRACEQL_OP_RE)
        return matches(n, c->literal.str, v->str);
    if (c->op == TRACEQL_OP_NRE)
        return !matches(n, c->literal.str, v->str);
    return value_compare(c->op, v, &c->literal);
}

static void add(struct entries *l, struct entry_of e)
{
    assert_true(l->count < ENTRIES);
    l->at[l->count++] = e;
}

static struct model_attrs stored_attrs(const struct model *m, enum traceql_level level, uint32_t i)
{
    switch (level) {
    case TRACEQL_LEVEL_RESOURCE:
        return m->resources[i];
    case TRACEQL_LEVEL_SCOPE:
        return m->scopes[i].attrs;
    case TRACEQL_LEVEL_SPAN:
        return m->spans[i].attrs;
    case TRACEQL_LEVEL_EVENT:
        return m->events[i].attrs;
    case TRACEQL_LEVEL_LINK:
        return m->links[i].attrs;
    default:
        return (struct model_attrs){0};
    }
}

/* Is this the attribute that sits in a column of its own? */
static bool sits_in_column(struct model_attrs attrs, uint32_t i, enum traceql_level level)
{
    for (uint32_t k = 0; k <= i; k++) {
        const struct model_attr *a = &attrs.at[k];
        enum traceql_type column = model_column(level, slice_cstr(a->key));
        if (strcmp(a->key, attrs.at[i].key) == 0 && column && a->count == 1 &&
            a->values[0].type == column)
            return k == i;
    }
    return false;
}

/* The generic list's entries. False: all conditions are required and there is no entry. */
static bool generic_entries(struct naive *n, enum traceql_level level, uint32_t element,
                            struct entries *out)
{
    struct model_attrs attrs = stored_attrs(n->m, level, element);
    bool types[TRACEQL_KIND + 1] = {0}, any_condition = false, any_entry = false;
    for (uint32_t i = 0; i < n->condition_count; i++) {
        const struct condition *c = &n->conditions[i];
        if (!on_level(c, level) || in_own_column(c, level))
            continue;
        any_condition = true;
        for (int t = TRACEQL_INT; t <= TRACEQL_BOOL; t++)
            types[t] = types[t] || !c->op || (int)c->literal.type == t;
    }
    int type_count = 0;
    for (int t = TRACEQL_INT; t <= TRACEQL_BOOL; t++)
        type_count += types[t];
    if (!any_condition || type_count == 0)
        return true;
    for (uint32_t k = 0; k < attrs.count; k++) {
        const struct model_attr *a = &attrs.at[k];
        struct entry_of e = {.name = slice_cstr(a->key)};
        bool asked = false;
        for (uint32_t i = 0; i < n->condition_count; i++) {
            const struct condition *c = &n->conditions[i];
            asked = asked || (on_level(c, level) && !in_own_column(c, level) &&
                              slice_eq(c->attr.name, e.name));
        }
        if (!asked || sits_in_column(attrs, k, level))
            continue;
        for (uint32_t x = 0; x < a->count; x++) {
            bool keep = false;
            for (uint32_t i = 0; i < n->condition_count; i++) {
                const struct condition *c = &n->conditions[i];
                keep = keep || (on_level(c, level) && !in_own_column(c, level) &&
                                (!c->op || c->literal.type == a->values[x].type) &&
                                accepts(n, c, &a->values[x]));
            }
            if (keep)
                e.value.v[e.value.count++] = a->values[x];
        }
        if (e.value.count == 0 && n->all && type_count == 1)
            continue;
        add(out, e);
        any_entry = true;
    }
    return any_entry;
}

/* The value that an own column holds for the element; nil when none. */
static struct many column_value(const struct naive *n, const struct condition *c,
                                enum traceql_level level, uint32_t i)
{
    const struct model *m = n->m;
    struct many out = {.count = 1};
    struct traceql_value *v = &out.v[0];
    struct model_attrs attrs = stored_attrs(m, level, i);
    switch ((int)c->attr.intrinsic) {
    case TRACEQL_ATTRIBUTE:
        for (uint32_t k = 0; k < attrs.count; k++) {
            if (slice_eq(slice_cstr(attrs.at[k].key), c->attr.name) &&
                sits_in_column(attrs, k, level)) {
                *v = attrs.at[k].values[0];
                return out;
            }
        }
        *v = (struct traceql_value){.type = TRACEQL_STRING, .str = SLICE("")};
        out.count =
            level == TRACEQL_LEVEL_RESOURCE && slice_eq(c->attr.name, SLICE("service.name"));
        return out;
#define TEXT(in, field)                                                                            \
    case in:                                                                                       \
        *v = (struct traceql_value){.type = TRACEQL_STRING, .str = slice_cstr(field)};             \
        return out
#define BYTES(in, field)                                                                           \
    case in:                                                                                       \
        *v = (struct traceql_value){.type = TRACEQL_STRING, .str = (field)};                       \
        return out
#define NUMBER(in, t, field)                                                                       \
    case in:                                                                                       \
        *v = (struct traceql_value){.type = (t), .i64 = (field)};                                  \
        return out
        NUMBER(TRACEQL_SPAN_START, TRACEQL_DURATION, 0);
        NUMBER(TRACEQL_SPAN_DURATION, TRACEQL_DURATION, m->spans[i].duration_ns);
        TEXT(TRACEQL_SPAN_NAME, m->spans[i].name);
        NUMBER(TRACEQL_SPAN_STATUS, TRACEQL_STATUS, m->spans[i].status);
        TEXT(TRACEQL_SPAN_STATUS_MESSAGE, m->spans[i].status_message);
        NUMBER(TRACEQL_SPAN_KIND, TRACEQL_KIND, m->spans[i].kind);
        BYTES(TRACEQL_SPAN_ID, m->spans[i].id);
        NUMBER(TRACEQL_NESTED_SET_LEFT, TRACEQL_INT, m->spans[i].left);
        NUMBER(TRACEQL_NESTED_SET_RIGHT, TRACEQL_INT, m->spans[i].right);
        NUMBER(TRACEQL_NESTED_SET_PARENT, TRACEQL_INT, m->spans[i].parent);
        NUMBER(TRACEQL_TRACE_DURATION, TRACEQL_DURATION, m->traces[i].duration_ns);
        TEXT(TRACEQL_TRACE_ROOT_NAME, m->traces[i].root_name);
        TEXT(TRACEQL_TRACE_ROOT_SERVICE, m->traces[i].root_service);
        BYTES(TRACEQL_TRACE_ID, m->traces[i].id);
        TEXT(TRACEQL_EVENT_NAME, m->events[i].name);
        NUMBER(TRACEQL_EVENT_TIME, TRACEQL_DURATION, m->events[i].since_start_ns);
        BYTES(TRACEQL_LINK_TRACE_ID, m->links[i].trace_id);
        BYTES(TRACEQL_LINK_SPAN_ID, m->links[i].span_id);
        TEXT(TRACEQL_SCOPE_NAME, m->scopes[i].name);
        TEXT(TRACEQL_SCOPE_VERSION, m->scopes[i].version);
#undef TEXT
#undef BYTES
#undef NUMBER
    default:
        fail_msg("intrinsic");
        return out;
    }
}

/* Entries of own columns. False: a condition (on spans and resources: a column) is not met. */
static bool column_entries(struct naive *n, enum traceql_level level, uint32_t element,
                           struct entries *out)
{
    bool pooled = level == TRACEQL_LEVEL_SPAN || level == TRACEQL_LEVEL_RESOURCE, met = true;
    for (uint32_t i = 0; i < n->condition_count; i++) {
        const struct condition *c = &n->conditions[i];
        if (!on_level(c, level) || !in_own_column(c, level) || c->structural)
            continue;
        bool first = true, accepted = false;
        struct many value = column_value(n, c, level, element);
        for (uint32_t k = 0; k < n->condition_count; k++) {
            const struct condition *d = &n->conditions[k];
            bool same = on_level(d, level) && in_own_column(d, level) &&
                        d->attr.intrinsic == c->attr.intrinsic &&
                        slice_eq(name_of(&d->attr), name_of(&c->attr));
            if (!same || (!pooled && k != i))
                continue;
            first = first && k >= i;
            accepted = accepted || (value.count && accepts(n, d, &value.v[0]));
        }
        met = met && accepted;
        if (accepted && first) {
            struct entry_of e = {
                .intrinsic = c->attr.intrinsic, .name = name_of(&c->attr), .value = value};
            if (intrinsic_is_id(c->attr.intrinsic)) {
                char text[ID_TEXT_BYTES];
                struct slice s = id_text(c->attr.intrinsic, value.v[0].str, text);
                assert_true(arena_slice(n->arena, s, &e.value.v[0].str));
            }
            add(out, e);
        }
    }
    return met;
}

/* Does the span at hand lack the attribute? One without any attribute of the generic list lacks
 * none; an attribute with a column of its own is looked for only there. */
static bool absent(const struct naive *n, const struct expr_attr *a)
{
    const struct model_span *s = &n->m->spans[n->span];
    enum traceql_level level = naive_level(a);
    uint32_t element = level == TRACEQL_LEVEL_SPAN       ? n->span
                       : level == TRACEQL_LEVEL_RESOURCE ? s->resource
                                                         : s->scope;
    struct model_attrs attrs = stored_attrs(n->m, level, element);
    bool column = model_column(level, a->name), generic = false, there = false;
    for (uint32_t i = 0; i < attrs.count; i++) {
        bool in_column = sits_in_column(attrs, i, level);
        generic = generic || !in_column;
        there = there || (in_column == column && slice_eq(slice_cstr(attrs.at[i].key), a->name));
    }
    return !there && (column || generic);
}

static bool all_absent(const struct naive *n)
{
    for (uint32_t i = 0; i < n->condition_count; i++) {
        if (wants_absence(&n->conditions[i]) && !absent(n, &n->conditions[i].attr))
            return false;
    }
    return true;
}

static bool any_absent(const struct naive *n)
{
    for (uint32_t i = 0; i < n->condition_count; i++) {
        if (wants_absence(&n->conditions[i]) && absent(n, &n->conditions[i].attr))
            return true;
    }
    return false;
}

static uint32_t distinct_names(const struct naive *n, enum traceql_level level)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n->condition_count; i++) {
        bool again = !on_level(&n->conditions[i], level) || wants_absence(&n->conditions[i]);
        for (uint32_t k = 0; k < i; k++)
            again = again ||
                    (on_level(&n->conditions[k], level) && !wants_absence(&n->conditions[k]) &&
                     slice_eq(name_of(&n->conditions[k].attr), name_of(&n->conditions[i].attr)));
        count += !again;
    }
    return count;
}

static uint32_t with_value(const struct entries *l)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < l->count; i++)
        count += l->at[i].value.count > 0;
    return count;
}

/* Adds an element's entries; false: its level's conditions are not all met. */
static bool element_entries(struct naive *n, enum traceql_level level, uint32_t element,
                            struct entries *out)
{
    uint32_t before = out->count;
    bool generic = generic_entries(n, level, element, out);
    bool columns = column_entries(n, level, element, out);
    bool enough = level == TRACEQL_LEVEL_SPAN || level == TRACEQL_LEVEL_TRACE ||
                  out->count - before >= distinct_names(n, level);
    return generic && columns && enough;
}

/* Events or links of the span; false: none of them meets all conditions. */
static bool below_entries(struct naive *n, enum traceql_level level, uint32_t span,
                          struct entries *out)
{
    bool event = level == TRACEQL_LEVEL_EVENT, any = distinct_names(n, level) == 0;
    uint32_t count = event ? n->m->event_count : n->m->link_count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t before = out->count;
        if ((event ? n->m->events[i].span : n->m->links[i].span) != span)
            continue;
        bool met = element_entries(n, level, i, out);
        if (n->all && !met)
            out->count = before;
        any = any || met;
    }
    return any;
}

static uint32_t numbered(const struct naive *n, const struct entries *l)
{
    (void)n;
    for (uint32_t i = 0; i < l->count; i++) {
        enum traceql_intrinsic in = l->at[i].intrinsic;
        if ((in == TRACEQL_NESTED_SET_LEFT || in == TRACEQL_NESTED_SET_RIGHT ||
             in == TRACEQL_NESTED_SET_PARENT) &&
            l->at[i].value.v[0].i64 != 0)
            return 1;
    }
    return 0;
}

/* Were nested-set numbers fetched for an operator, and has the span any? */
static bool in_the_tree(const struct naive *n, uint32_t span)
{
    for (uint32_t i = 0; i < n->condition_count; i++) {
        if (n->conditions[i].structural)
            return n->m->spans[span].left != 0;
    }
    return false;
}

bool naive_look_at(struct naive *n, uint32_t span)
{
    const struct model_span *s = &n->m->spans[span];
    struct entries *seen = n->seen;
    n->span = span;
    for (int level = 0; level < TRACEQL_LEVELS; level++)
        seen[level].count = 0;
    bool met = element_entries(n, TRACEQL_LEVEL_TRACE, s->trace, &seen[TRACEQL_LEVEL_TRACE]);
    met &= element_entries(n, TRACEQL_LEVEL_RESOURCE, s->resource, &seen[TRACEQL_LEVEL_RESOURCE]);
    met &= element_entries(n, TRACEQL_LEVEL_SCOPE, s->scope, &seen[TRACEQL_LEVEL_SCOPE]);
    met &= element_entries(n, TRACEQL_LEVEL_SPAN, span, &seen[TRACEQL_LEVEL_SPAN]);
    met &= below_entries(n, TRACEQL_LEVEL_EVENT, span, &seen[TRACEQL_LEVEL_EVENT]);
    met &= below_entries(n, TRACEQL_LEVEL_LINK, span, &seen[TRACEQL_LEVEL_LINK]);
    uint32_t own = with_value(&seen[TRACEQL_LEVEL_SPAN]) + with_value(&seen[TRACEQL_LEVEL_EVENT]) +
                   with_value(&seen[TRACEQL_LEVEL_LINK]);
    if (n->all)
        return met && all_absent(n) &&
               own + numbered(n, &seen[TRACEQL_LEVEL_SPAN]) >=
                   distinct_names(n, TRACEQL_LEVEL_SPAN);
    return n->condition_count == 0 || distinct_names(n, TRACEQL_LEVEL_TRACE) > 0 ||
           own + with_value(&seen[TRACEQL_LEVEL_RESOURCE]) +
                   with_value(&seen[TRACEQL_LEVEL_SCOPE]) + (uint32_t)in_the_tree(n, span) +
                   (uint32_t)any_absent(n) >
               0;
}

/* ---- expressions ---- */

static bool find(const struct entries *l, enum traceql_intrinsic in, struct slice name,
                 bool by_name_only, struct many *out)
{
    for (uint32_t i = 0; i < l->count; i++) {
        if ((by_name_only || l->at[i].intrinsic == in) && slice_eq(l->at[i].name, name)) {
            *out = l->at[i].value;
            return true;
        }
    }
    return false;
}

static struct many value_of_attr(const struct naive *n, const struct expr_attr *a)
{
    static const enum traceql_level by_name[] = {TRACEQL_LEVEL_SPAN, TRACEQL_LEVEL_RESOURCE,
                                                 TRACEQL_LEVEL_EVENT, TRACEQL_LEVEL_LINK,
                                                 TRACEQL_LEVEL_SCOPE};
    struct many out = {0};
    struct slice name = name_of(a);
    bool nested = a->intrinsic == TRACEQL_NESTED_SET_LEFT ||
                  a->intrinsic == TRACEQL_NESTED_SET_RIGHT ||
                  a->intrinsic == TRACEQL_NESTED_SET_PARENT;
    if (a->intrinsic || a->scope != EXPR_SCOPE_NONE) {
        bool found = find(&n->seen[naive_level(a)], a->intrinsic, name, false, &out);
        if (!found && nested)
            out = (struct many){.count = 1, .v = {value_int(0)}};
        if (found || nested || !a->intrinsic)
            return out;
    }
    for (int i = 0; i < 5; i++) {
        if (find(&n->seen[by_name[i]], TRACEQL_ATTRIBUTE, name, true, &out))
            return out;
    }
    return out;
}

static enum traceql_type type_of(const struct many *v)
{
    return v->count ? v->v[0].type : TRACEQL_NIL;
}

static struct many one(struct traceql_value v)
{
    return (struct many){.count = v.type != TRACEQL_NIL, .v = {v}};
}

struct many naive_binary(struct naive *n, const struct expr *e, const struct many *l,
                         const struct many *r)
{
    bool arrays = l->count > 1 || r->count > 1;
    enum traceql_type lt = type_of(l), rt = type_of(r);
    bool match = traceql_types_match(lt, rt) || (r->count > 1 && traceql_types_match(rt, lt));
    struct many out = one(value_bool(false));
    if (!match || !traceql_op_defined(e->op, lt) || !traceql_op_defined(e->op, rt))
        return out;
    if (arrays && e->op <= TRACEQL_OP_POW) {
        n->failed = true;
        return out;
    }
    struct traceql_value nil = {0}, result;
    for (uint32_t i = 0; i < (l->count ? l->count : 1); i++) {
        for (uint32_t k = 0; k < (r->count ? r->count : 1); k++) {
            const struct traceql_value *a = l->count ? &l->v[i] : &nil;
            const struct traceql_value *b = r->count ? &r->v[k] : &nil;
            if (e->op == TRACEQL_OP_RE || e->op == TRACEQL_OP_NRE)
                result = value_bool(matches(n, b->str, a->str) == (e->op == TRACEQL_OP_RE));
            else if (a->type == TRACEQL_NIL && r->count > 1)
                result = value_bool(e->op == TRACEQL_OP_NE);
            else if (value_binary(e->op, a, b, &result, NULL) < 0)
                n->failed = true;
            if (!arrays)
                return one(result);
            out.v[0].b = out.v[0].b || result.b;
        }
    }
    return out;
}

struct many naive_expr(struct naive *n, const struct expr *e)
{
    const struct expr *nil_of = expr_nil_test(e);
    if (nil_of && e->op == TRACEQL_OP_EQ)
        return one(value_bool(absent(n, &nil_of->attr)));
    if (nil_of) {
        struct many v = value_of_attr(n, &nil_of->attr);
        return one(value_bool(v.count > 0));
    }
    struct many l, r, out;
    switch (e->kind) {
    case EXPR_LITERAL:
        return one(e->literal);
    case EXPR_ATTR:
        return value_of_attr(n, &e->attr);
    case EXPR_UNARY:
        r = naive_expr(n, e->rhs);
        out = one(value_bool(false));
        if (r.count != 1 || !value_unary(e->op, &r.v[0], &out.v[0]))
            n->failed = true;
        return out;
    case EXPR_BINARY:
        l = naive_expr(n, e->lhs);
        r = naive_expr(n, e->rhs);
        return naive_binary(n, e, &l, &r);
    }
    return (struct many){0};
}

/* ---- what results show ---- */

static bool has_own_place(enum traceql_intrinsic i)
{
    return i == TRACEQL_SPAN_START || i == TRACEQL_SPAN_NAME || i == TRACEQL_SPAN_DURATION ||
           i == TRACEQL_SPAN_ID || i == TRACEQL_TRACE_DURATION || i == TRACEQL_TRACE_ROOT_NAME ||
           i == TRACEQL_TRACE_ROOT_SERVICE || i == TRACEQL_TRACE_ID;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *line_of(const struct entry_of *e)
{
    struct buf b;
    buf_init(&b, 4096);
    bool array = e->value.count > 1;
    assert_int_equal(buf_printf(&b, "%.*s=%s", SLICE_ARGS(e->name), array ? "[" : ""), 0);
    for (uint32_t i = 0; i < e->value.count; i++) {
        assert_int_equal(buf_str(&b, i ? " " : ""), 0);
        assert_int_equal(traceql_value_print(&e->value.v[i], &b), 0);
    }
    assert_int_equal(buf_str(&b, array ? "]\n" : "\n"), 0);
    assert_int_equal(buf_u8(&b, 0), 0);
    uint8_t *text;
    size_t len;
    buf_take(&b, &text, &len);
    return (char *)text;
}

struct lines {
    char *at[2 * TRACEQL_LEVELS * ENTRIES];
    uint32_t count;
};

static bool reads(const struct naive *n, int level, const struct entry_of *e)
{
    for (uint32_t i = 0; n && i < n->condition_count; i++) {
        const struct condition *c = &n->conditions[i];
        if (on_level(c, (enum traceql_level)level) && c->attr.intrinsic == e->intrinsic &&
            slice_eq(name_of(&c->attr), e->name))
            return true;
    }
    return false;
}

/* Per level and name the last entry with a value. */
static void add_lines(const struct naive *n, const struct naive *other, struct lines *out)
{
    for (int level = 0; level < TRACEQL_LEVELS; level++) {
        const struct entries *l = &n->seen[level];
        for (uint32_t i = 0; i < l->count; i++) {
            bool name = l->at[i].intrinsic == TRACEQL_SPAN_NAME;
            bool last = l->at[i].value.count > 0 && !reads(other, level, &l->at[i]) &&
                        (name || !has_own_place(l->at[i].intrinsic));
            for (uint32_t k = i + 1; k < l->count; k++)
                last = last && !(l->at[k].value.count && l->at[k].intrinsic == l->at[i].intrinsic &&
                                 slice_eq(l->at[k].name, l->at[i].name));
            struct entry_of e = l->at[i];
            if (name)
                e.name = SLICE("the span's name");
            if (last)
                out->at[out->count++] = line_of(&e);
        }
    }
}

/* What was asked to be missing is shown as nil, and once. */
static void add_missing(const struct naive *n, const struct naive *other, struct lines *out)
{
    for (uint32_t i = 0; i < n->condition_count; i++) {
        const struct condition *c = &n->conditions[i];
        struct entry_of e = {.name = c->attr.name, .value.count = 1};
        bool again = !wants_absence(c) || !absent(n, &c->attr) ||
                     reads(other, (int)naive_level(&c->attr), &e);
        for (uint32_t k = 0; k < i; k++)
            again = again || (wants_absence(&n->conditions[k]) &&
                              same_attr(&n->conditions[k].attr, &c->attr));
        if (!again)
            out->at[out->count++] = line_of(&e);
    }
}

/* A selected intrinsic of events or links, of a span that has none. */
static void add_absent(const struct naive *n, uint32_t span, struct lines *out)
{
    bool events = false, links = false;
    for (uint32_t i = 0; i < n->m->event_count; i++)
        events = events || n->m->events[i].span == span;
    for (uint32_t i = 0; i < n->m->link_count; i++)
        links = links || n->m->links[i].span == span;
    for (uint32_t i = 0; i < n->condition_count; i++) {
        const struct expr_attr *a = &n->conditions[i].attr;
        bool event = naive_level(a) == TRACEQL_LEVEL_EVENT;
        bool link = naive_level(a) == TRACEQL_LEVEL_LINK;
        struct entry_of e = {.name = name_of(a), .value.count = 1};
        if (!a->intrinsic || !((event && !events) || (link && !links)))
            continue;
        e.value.v[0] = (struct traceql_value){.type = TRACEQL_STRING, .str = SLICE("")};
        if (a->intrinsic == TRACEQL_EVENT_TIME)
            e.value.v[0] = (struct traceql_value){.type = TRACEQL_DURATION};
        if (a->intrinsic == TRACEQL_LINK_SPAN_ID)
            e.value.v[0].str = SLICE("0000000000000000");
        out->at[out->count++] = line_of(&e);
    }
}

char *naive_shown(const struct naive *first, const struct naive *second, uint32_t span)
{
    struct lines lines = {.count = 0};
    char *text = calloc(1, 1);
    add_lines(first, second, &lines);
    add_missing(first, second, &lines);
    if (second) {
        add_lines(second, NULL, &lines);
        add_absent(second, span, &lines);
    }
    qsort(lines.at, lines.count, sizeof lines.at[0], by_text);
    for (uint32_t i = 0; i < lines.count; i++) {
        size_t len = strlen(text), more = strlen(lines.at[i]);
        text = realloc(text, len + more + 1);
        memcpy(text + len, lines.at[i], more + 1);
        free(lines.at[i]);
    }
    return text;
}
