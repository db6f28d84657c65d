/* From attributes to values and groups, over the spans at hand.
 *
 * Behind the pipeline every value is visible, so there are no conditions to ask: of an attribute
 * with a column of its own the column is read, of any other the generic list, where a span's first
 * entry counts, be it nil. Strings are numbered once per dictionary entry, and attributes of
 * resources once per resource; spans only look the numbers up. */
#include "traceql/metrics_priv.h"

#include "traceql/eval_priv.h"

static int full(struct work *w, struct err *err)
{
    return arena_err(w->arena, err, "the metrics of a batch");
}

/* ---- whose value is which ---- */

static const uint32_t *span_map(const struct traceql_batch *b, enum traceql_level level)
{
    switch (level) {
    case TRACEQL_LEVEL_TRACE:
        return b->span_trace;
    case TRACEQL_LEVEL_RESOURCE:
        return b->span_resource;
    case TRACEQL_LEVEL_SCOPE:
        return b->span_scope;
    default:
        return NULL;
    }
}

static const uint32_t *below_map(const struct traceql_batch *b, enum traceql_level level)
{
    return level == TRACEQL_LEVEL_EVENT  ? b->event_span
           : level == TRACEQL_LEVEL_LINK ? b->link_span
                                         : NULL;
}

static uint32_t holders_of(const struct traceql_batch *b, enum traceql_level level)
{
    return b->counts[level > TRACEQL_LEVEL_SPAN ? TRACEQL_LEVEL_SPAN : level];
}

/* Per holder: 1 + its first value in the column. */
static uint32_t *column_table(struct work *w, enum traceql_level level,
                              const struct traceql_values *c)
{
    const uint32_t *below = below_map(w->batch, level);
    uint32_t *table = arena_zalloc(w->arena, holders_of(w->batch, level) * sizeof *table);
    for (uint32_t i = c->count; table && i > 0; i--) {
        uint32_t element = c->owner ? c->owner[i - 1] : i - 1;
        table[below ? below[element] : element] = i;
    }
    return table;
}

/* Per occurrence of the generic list: the list and the place of its value; arrays read as nil. */
static int occurrence_values(struct work *w, const struct traceql_attrs *attrs, uint8_t **list,
                             uint32_t **index, struct err *err)
{
    static const uint8_t lists[KINDS] = {LIST_STRINGS, LIST_INTS, LIST_FLOATS, LIST_BOOLS};
    *list = arena_alloc(w->arena, attrs->count);
    *index = arena_array(w->arena, uint32_t, attrs->count);
    if (!*list || !*index)
        return full(w, err);
    memset(*list, LIST_ABSENT, attrs->count);
    for (int kind = 0; kind < KINDS; kind++) {
        const struct traceql_values *v = attrs_list(attrs, kind);
        for (uint32_t i = 0; i < v->count; i++) {
            uint32_t at = v->owner ? v->owner[i] : i;
            (*list)[at] = (*list)[at] == LIST_ABSENT ? lists[kind] : LIST_NIL;
            (*index)[at] = i;
        }
    }
    for (uint32_t i = 0; i < attrs->count; i++) {
        if ((*list)[i] == LIST_ABSENT)
            (*list)[i] = LIST_NIL;
    }
    return 0;
}

static uint32_t *entry_table(struct work *w, enum traceql_level level,
                             const struct traceql_attrs *attrs)
{
    const uint32_t *below = below_map(w->batch, level);
    uint32_t *table = arena_zalloc(w->arena, holders_of(w->batch, level) * sizeof *table);
    for (uint32_t i = attrs->count; table && i > 0; i--) {
        uint32_t element = attrs->owner ? attrs->owner[i - 1] : i - 1;
        table[below ? below[element] : element] = i;
    }
    return table;
}

/* The column of the field, where a position has nothing yet. */
static int locate_column(struct work *w, enum traceql_level level, const struct traceql_values *c,
                         uint8_t mark, struct located *out, struct err *err)
{
    const uint32_t *map = span_map(w->batch, level);
    bool direct = !c->owner && level <= TRACEQL_LEVEL_SPAN;
    const uint32_t *table = direct ? NULL : column_table(w, level, c);
    if (!direct && !table)
        return full(w, err);
    for (uint32_t i = 0; i < w->at.count; i++) {
        uint32_t holder = map ? map[w->at.span[i]] : w->at.span[i];
        uint32_t at = direct ? (holder < c->count ? holder + 1 : 0) : table[holder];
        if (out->list[i] == LIST_ABSENT && at) {
            out->list[i] = mark;
            out->index[i] = at - 1;
        }
    }
    return 0;
}

static int locate_entries(struct work *w, enum traceql_level level,
                          const struct traceql_attrs *attrs, uint8_t offset, struct located *out,
                          struct err *err)
{
    const uint32_t *map = span_map(w->batch, level);
    uint8_t *list;
    uint32_t *index;
    int rc = occurrence_values(w, attrs, &list, &index, err);
    const uint32_t *table = rc < 0 ? NULL : entry_table(w, level, attrs);
    if (rc < 0 || !table)
        return rc < 0 ? rc : full(w, err);
    for (uint32_t i = 0; i < w->at.count; i++) {
        uint32_t at = table[map ? map[w->at.span[i]] : w->at.span[i]];
        if (out->list[i] == LIST_ABSENT && at) {
            out->list[i] = list[at - 1] + offset;
            out->index[i] = index[at - 1];
        }
    }
    return 0;
}

int metrics_locate(struct work *w, const struct metrics_attr *a, struct located *out,
                   struct err *err)
{
    *out = (struct located){.list = arena_zalloc(w->arena, w->at.count),
                            .index = arena_array(w->arena, uint32_t, w->at.count)};
    if (!out->list || !out->index)
        return full(w, err);
    int rc = 0;
    for (uint32_t k = 0; k < a->field_count && rc == 0; k++) {
        const struct traceql_field *f = &w->plan->fields[a->fields[k]];
        const struct traceql_input *in = &w->batch->inputs[a->fields[k]];
        uint8_t offset = (uint8_t)(k * LISTS);
        out->field[k] = f;
        out->values[k][LIST_COLUMN] = &in->column;
        out->values[k][LIST_STRINGS] = &in->attrs.strings;
        out->values[k][LIST_INTS] = &in->attrs.ints;
        out->values[k][LIST_FLOATS] = &in->attrs.floats;
        out->values[k][LIST_BOOLS] = &in->attrs.bools;
        if (in->has_column)
            rc = locate_column(w, f->level, &in->column, (uint8_t)(LIST_COLUMN + offset), out, err);
        else if (f->intrinsic == TRACEQL_ATTRIBUTE && in->attrs.count)
            rc = locate_entries(w, f->level, &in->attrs, offset, out, err);
    }
    return rc;
}

/* ---- numbers for values ---- */

/* What a span without events (links) shows of them: Tempo reads an empty one. */
static bool empty_value(const struct metrics_attr *a, struct traceql_value *out)
{
    switch (a->field_count ? a->expr->attr.intrinsic : TRACEQL_ATTRIBUTE) {
    case TRACEQL_EVENT_NAME:
    case TRACEQL_LINK_TRACE_ID:
        *out = (struct traceql_value){.type = TRACEQL_STRING, .str = SLICE("")};
        return true;
    case TRACEQL_LINK_SPAN_ID:
        *out = (struct traceql_value){.type = TRACEQL_STRING, .str = SLICE("0000000000000000")};
        return true;
    case TRACEQL_EVENT_TIME:
        *out = (struct traceql_value){.type = TRACEQL_DURATION};
        return true;
    default:
        return false;
    }
}

static enum traceql_type type_of(const struct traceql_field *f, const struct traceql_values *v)
{
    if (f->intrinsic == TRACEQL_ATTRIBUTE)
        return v->type;
    enum traceql_type t = traceql_intrinsic_type(f->intrinsic);
    return t == EXPR_TYPE_RUNTIME ? TRACEQL_STRING : t;
}

/* Distinct values by content. */
struct value_map {
    uint32_t *slots; /* code, 0: free */
    uint32_t size;   /* a power of two */
};

static uint32_t *map_find(const struct value_map *m, const struct codes *c,
                          const struct traceql_value *v)
{
    uint32_t i = (uint32_t)(metrics_hash_value(0, v) >> 32) & (m->size - 1);
    while (m->slots[i]) {
        const struct traceql_value *w = &c->values[m->slots[i]];
        if (w->type == v->type &&
            (v->type == TRACEQL_STRING ? slice_eq(w->str, v->str)
             : v->type == TRACEQL_BOOL ? w->b == v->b
                                       : w->i64 == v->i64)) /* floats by their bits */
            break;
        i = (i + 1) & (m->size - 1);
    }
    return &m->slots[i];
}

static int map_grow(struct work *w, struct value_map *m, const struct codes *c, struct err *err)
{
    uint32_t size = m->size ? m->size * 4 : 64;
    struct value_map bigger = {arena_zalloc(w->arena, size * sizeof(uint32_t)), size};
    if (!bigger.slots)
        return full(w, err);
    for (uint32_t i = 1; i < c->count; i++)
        *map_find(&bigger, c, &c->values[i]) = i;
    *m = bigger;
    return 0;
}

static int codes_add(struct work *w, struct codes *c, struct traceql_value v, struct err *err)
{
    if (c->count == c->cap) {
        uint32_t cap = c->cap ? c->cap * 4 : 64;
        struct traceql_value *more = arena_array(w->arena, struct traceql_value, cap);
        if (!more)
            return full(w, err);
        if (c->count)
            memcpy(more, c->values, c->count * sizeof *more);
        c->values = more;
        c->cap = cap;
    }
    c->values[c->count++] = v;
    return 0;
}

static int map_code(struct work *w, struct value_map *m, struct codes *c,
                    const struct traceql_value *v, uint32_t *out, struct err *err)
{
    if ((uint64_t)c->count * 2 >= m->size) {
        int rc = map_grow(w, m, c, err);
        if (rc < 0)
            return rc;
    }
    uint32_t *slot = map_find(m, c, v);
    if (!*slot) {
        struct traceql_value kept = *v;
        if (v->type == TRACEQL_STRING && !arena_slice(w->arena, v->str, &kept.str))
            return full(w, err);
        int rc = codes_add(w, c, kept, err);
        if (rc < 0)
            return rc;
        *slot = c->count - 1;
    }
    *out = *slot;
    return 0;
}

static struct traceql_value value_at(const struct traceql_field *f, const struct traceql_values *v,
                                     bool column, uint32_t i, char id[ID_TEXT_BYTES])
{
    struct traceql_value out = {.type = column ? type_of(f, v) : v->type};
    if (v->type == TRACEQL_FLOAT) {
        out.f64 = v->f64[i];
    } else if (v->type == TRACEQL_BOOL) {
        out.b = v->b[i];
    } else if (v->type == TRACEQL_STRING) {
        out.str = v->idx ? v->dict[v->idx[i]] : v->dict[i];
        if (intrinsic_is_id(f->intrinsic))
            out.str = id_text(f->intrinsic, out.str, id);
    } else {
        out.i64 = v->i64[i];
    }
    return out;
}

/* Per list of an attribute: a memory of the codes of dictionary entries, or of small integers. */
#define SMALL_INTS 1024

struct encoder {
    struct work *w;
    struct codes *codes;
    struct value_map map;
    uint32_t *memory[2 * LISTS]; /* 0: not asked yet */
};

static int encode_one(struct encoder *e, const struct located *l, uint8_t list, uint32_t index,
                      uint32_t *out, struct err *err)
{
    unsigned k = list / LISTS, kind = list % LISTS;
    const struct traceql_values *v = l->values[k][kind];
    uint32_t at = UINT32_MAX;
    if (v->type == TRACEQL_STRING && v->idx)
        at = v->idx[index];
    else if (v->type == TRACEQL_INT && (uint64_t)v->i64[index] < SMALL_INTS)
        at = (uint32_t)v->i64[index];
    if (at != UINT32_MAX && e->memory[list][at]) {
        *out = e->memory[list][at];
        return 0;
    }
    char id[ID_TEXT_BYTES];
    struct traceql_value value = value_at(l->field[k], v, kind == LIST_COLUMN, index, id);
    int rc = map_code(e->w, &e->map, e->codes, &value, out, err);
    if (rc == 0 && at != UINT32_MAX)
        e->memory[list][at] = *out;
    return rc;
}

static int encode_memory(struct encoder *e, const struct metrics_attr *a, const struct located *l,
                         struct err *err)
{
    for (uint32_t k = 0; k < a->field_count; k++) {
        for (int kind = LIST_COLUMN; kind < LISTS; kind++) {
            const struct traceql_values *v = l->values[k][kind];
            uint32_t n = v->type == TRACEQL_STRING && v->idx ? v->dict_count
                         : v->type == TRACEQL_INT            ? SMALL_INTS
                                                             : 0;
            if (v->count && n &&
                !(e->memory[k * LISTS + (uint32_t)kind] =
                      arena_zalloc(e->w->arena, n * sizeof(uint32_t))))
                return full(e->w, err);
        }
    }
    return 0;
}

const struct traceql_values *metrics_plain_column(const struct work *w,
                                                  const struct metrics_attr *a)
{
    if (a->field_count != 1)
        return NULL;
    const struct traceql_field *f = &w->plan->fields[a->fields[0]];
    const struct traceql_input *in = &w->batch->inputs[a->fields[0]];
    bool plain = in->has_column && !in->column.owner && f->level <= TRACEQL_LEVEL_SPAN &&
                 in->column.count >= w->batch->counts[f->level];
    return plain ? &in->column : NULL;
}

/* A string column that has a value for everybody: the common case, one load or two a span. */
static int encode_dictionary(struct work *w, const struct metrics_attr *a,
                             const struct traceql_values *c, struct codes *out, struct err *err)
{
    const struct traceql_field *f = &w->plan->fields[a->fields[0]];
    const uint32_t *map = span_map(w->batch, f->level);
    struct value_map by_text = {0};
    uint32_t *code_of = arena_zalloc(w->arena, c->dict_count * sizeof *code_of);
    if (!code_of)
        return full(w, err);
    for (uint32_t i = 0; i < w->at.count; i++) {
        uint32_t span = w->at.span[i], entry = c->idx[map ? map[span] : span];
        if (!code_of[entry]) {
            struct traceql_value v = {.type = type_of(f, c), .str = c->dict[entry]};
            int rc = map_code(w, &by_text, out, &v, &code_of[entry], err);
            if (rc < 0)
                return rc;
        }
        out->code[i] = code_of[entry];
    }
    return 0;
}

int metrics_encode(struct work *w, const struct metrics_attr *a, struct codes *out, struct err *err)
{
    struct located l;
    struct encoder e = {.w = w, .codes = out};
    struct traceql_value empty;
    uint32_t absent = 0;
    const struct traceql_values *plain = metrics_plain_column(w, a);
    *out = (struct codes){.code = arena_array(w->arena, uint32_t, w->at.count)};
    int rc = out->code ? codes_add(w, out, (struct traceql_value){.type = TRACEQL_NIL}, err)
                       : full(w, err);
    if (rc == 0 && plain && plain->type == TRACEQL_STRING && plain->idx &&
        !intrinsic_is_id(w->plan->fields[a->fields[0]].intrinsic))
        return encode_dictionary(w, a, plain, out, err);
    rc = rc < 0 ? rc : metrics_locate(w, a, &l, err);
    rc = rc < 0 ? rc : encode_memory(&e, a, &l, err);
    if (rc == 0 && empty_value(a, &empty))
        rc = map_code(w, &e.map, out, &empty, &absent, err);
    for (uint32_t i = 0; i < w->at.count && rc == 0; i++) {
        uint8_t list = l.list[i];
        if (list == LIST_ABSENT)
            out->code[i] = absent;
        else if (list % LISTS == LIST_NIL)
            out->code[i] = 0;
        else
            rc = encode_one(&e, &l, list, l.index[i], &out->code[i], err);
    }
    return rc;
}

/* ---- groups ---- */

/* Pairs of (group so far, code) become groups: by a table when there can be few, else by hashing.
 */
#define PAIR_TABLE_MAX ((uint64_t)1 << 20)

struct pair {
    uint32_t group, code;
};

struct pairing {
    uint32_t *slots; /* 1 + pair */
    uint64_t size;
    bool table;
    struct pair *pairs;
    uint32_t count, cap;
};

static uint32_t *pair_slot(const struct pairing *p, uint32_t group, uint32_t code, uint32_t codes)
{
    if (p->table)
        return &p->slots[(uint64_t)group * codes + code];
    uint64_t h = ((uint64_t)group << 32 | code) * UINT64_C(0x9e3779b97f4a7c15);
    uint64_t i = h >> 32 & (p->size - 1);
    while (p->slots[i] &&
           (p->pairs[p->slots[i] - 1].group != group || p->pairs[p->slots[i] - 1].code != code))
        i = (i + 1) & (p->size - 1);
    return &p->slots[i];
}

static int pairing_init(struct work *w, struct pairing *p, uint32_t groups, uint32_t codes,
                        struct err *err)
{
    uint64_t all = (uint64_t)groups * codes;
    *p = (struct pairing){.table = all <= PAIR_TABLE_MAX, .size = all};
    p->cap = w->at.count < all ? w->at.count : (uint32_t)all;
    for (p->size = p->table ? all : 64; !p->table && p->size < 2 * (uint64_t)p->cap;)
        p->size *= 2;
    p->slots = arena_zalloc(w->arena, p->size * sizeof *p->slots);
    p->pairs = arena_array(w->arena, struct pair, p->cap);
    return p->slots && p->pairs ? 0 : full(w, err);
}

static int add_attribute(struct work *w, const struct codes *c, uint32_t column, struct groups *g,
                         struct err *err)
{
    struct pairing p;
    int rc = pairing_init(w, &p, g->count, c->count, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < w->at.count; i++) {
        uint32_t group = g->of ? g->of[i] : 0;
        uint32_t *slot = pair_slot(&p, group, c->code[i], c->count);
        if (!*slot) {
            p.pairs[p.count] = (struct pair){group, c->code[i]};
            *slot = ++p.count;
        }
        c->code[i] = *slot - 1; /* becomes the group */
    }
    struct traceql_value(*labels)[METRICS_LABELS] =
        arena_alloc_array(w->arena, p.count, sizeof *labels);
    if (!labels)
        return full(w, err);
    for (uint32_t i = 0; i < p.count; i++) {
        memcpy(labels[i], g->labels[p.pairs[i].group], sizeof *labels);
        labels[i][column] = c->values[p.pairs[i].code];
    }
    *g = (struct groups){.of = c->code, .count = p.count, .labels = labels};
    return 0;
}

int metrics_group(struct work *w, const struct metrics_attr *by, uint32_t count, struct groups *out,
                  struct err *err)
{
    *out = (struct groups){.count = 1, .labels = arena_zalloc(w->arena, sizeof *out->labels)};
    if (!out->labels)
        return full(w, err);
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        struct codes c;
        rc = metrics_encode(w, &by[i], &c, err);
        rc = rc < 0 ? rc : add_attribute(w, &c, i, out, err);
    }
    return rc;
}
