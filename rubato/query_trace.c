/* A trace as a tree of spans.
 *
 * What others sent may be no tree: parents that are missing, spans that are their own ancestors,
 * ids that stand twice. Every span is shown once all the same; what hangs on nothing is a root. */
#include "rubato/query_show.h"

#include <stdlib.h>

#include "base/text.h"
#include "rubato/query_table.h"

#define TREE_DEPTH 64 /* deeper spans are not drawn further to the right */
#define NONE UINT32_MAX

struct node {
    const cJSON *span;
    struct slice id, parent_id, service;
    uint64_t start_ns, end_ns;
    uint32_t order;                     /* in the answer */
    uint32_t parent, child, last, next; /* indices, or NONE */
    bool shown;
};

struct tree {
    VEC(struct node) nodes;
    struct node **by_id;
    bool full;
};

/* ---- reading ---- */

static struct slice service_name(const cJSON *resource_spans)
{
    const cJSON *resource = cJSON_GetObjectItemCaseSensitive(resource_spans, "resource"), *a;
    cJSON_ArrayForEach(a, cJSON_GetObjectItemCaseSensitive(resource, "attributes"))
    {
        if (slice_eq(json_text(a, "key"), SLICE("service.name")))
            return json_text(cJSON_GetObjectItemCaseSensitive(a, "value"), "stringValue");
    }
    return SLICE("");
}

static void add_span(struct tree *t, const cJSON *span, struct slice service)
{
    struct node n = {.span = span,
                     .id = json_text(span, "spanId"),
                     .parent_id = json_text(span, "parentSpanId"),
                     .service = service,
                     .start_ns = json_count(span, "startTimeUnixNano"),
                     .end_ns = json_count(span, "endTimeUnixNano"),
                     .order = t->nodes.count,
                     .parent = NONE,
                     .child = NONE,
                     .last = NONE,
                     .next = NONE};
    t->full |= !vec_push(&t->nodes, n);
}

static void read_spans(struct tree *t, const cJSON *trace)
{
    const cJSON *r, *s, *span;
    cJSON_ArrayForEach(r, cJSON_GetObjectItemCaseSensitive(trace, "resourceSpans"))
    {
        struct slice service = service_name(r);
        cJSON_ArrayForEach(s, cJSON_GetObjectItemCaseSensitive(r, "scopeSpans"))
        {
            cJSON_ArrayForEach(span, cJSON_GetObjectItemCaseSensitive(s, "spans"))
            {
                add_span(t, span, service);
            }
        }
    }
}

static int by_start(const void *a, const void *b)
{
    const struct node *x = a, *y = b;
    if (x->start_ns != y->start_ns)
        return x->start_ns < y->start_ns ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static int by_id(const void *a, const void *b)
{
    const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;
    int c = slice_cmp(x->id, y->id);
    return c ? c : (x > y) - (x < y);
}

/* The first span of that id, or NONE. */
static uint32_t find_id(const struct tree *t, struct slice id)
{
    uint32_t low = 0, high = t->nodes.count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (slice_cmp(t->by_id[mid]->id, id) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    bool found = id.len && low < t->nodes.count && slice_eq(t->by_id[low]->id, id);
    return found ? (uint32_t)(t->by_id[low] - t->nodes.at) : NONE;
}

/* Spans in the order of their start, so children are appended in it. */
static int link_spans(struct tree *t, struct arena *a)
{
    uint32_t n = t->nodes.count;
    qsort(t->nodes.at, n, sizeof *t->nodes.at, by_start);
    t->by_id = arena_alloc_array(a, n, sizeof *t->by_id);
    if (!t->by_id)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < n; i++)
        t->by_id[i] = &t->nodes.at[i];
    qsort(t->by_id, n, sizeof *t->by_id, by_id);
    for (uint32_t i = 0; i < n; i++) {
        struct node *node = &t->nodes.at[i];
        uint32_t p = find_id(t, node->parent_id);
        if (p == NONE || p == i)
            continue;
        struct node *parent = &t->nodes.at[p];
        node->parent = p;
        if (parent->child == NONE)
            parent->child = i;
        else
            t->nodes.at[parent->last].next = i;
        parent->last = i;
    }
    return 0;
}

/* ---- showing ---- */

/* The lines that lead from the ancestors to the span, and its name. */
static int put_branch(const struct tree *t, uint32_t i, uint32_t root, struct buf *out)
{
    const char *lines[TREE_DEPTH];
    unsigned n = 0;
    for (uint32_t at = i; at != root && n < TREE_DEPTH; at = t->nodes.at[at].parent) {
        bool last = t->nodes.at[at].next == NONE;
        lines[n++] = at == i ? last ? "└─ " : "├─ " : last ? "   " : "│  ";
    }
    int rc = 0;
    while (n-- && rc == 0)
        rc = buf_str(out, lines[n]);
    return rc < 0 ? rc : buf_slice(out, json_text(t->nodes.at[i].span, "name"));
}

static struct slice kind_of(const cJSON *span, char out[32])
{
    static const struct slice lead = {(const uint8_t *)"SPAN_KIND_", 10};
    struct slice kind = json_text(span, "kind");
    if (!slice_starts(kind, lead))
        return kind;
    kind = slice_from(kind, lead.len);
    for (size_t i = 0; i < kind.len && i < 31; i++)
        out[i] = (char)(kind.ptr[i] >= 'A' && kind.ptr[i] <= 'Z' ? kind.ptr[i] + 32 : kind.ptr[i]);
    return slice_of(out, kind.len < 31 ? kind.len : 31);
}

static bool status_cell(struct table *table, const cJSON *span)
{
    const cJSON *status = cJSON_GetObjectItemCaseSensitive(span, "status");
    struct slice code = json_text(status, "code"), message = json_text(status, "message");
    bool error = slice_eq(code, SLICE("STATUS_CODE_ERROR"));
    if (error && message.len)
        table_printf(table, "error: %.*s", SLICE_ARGS(message));
    else
        table_cell(table, error                                     ? SLICE("error")
                          : slice_eq(code, SLICE("STATUS_CODE_OK")) ? SLICE("ok")
                                                                    : SLICE(""));
    return error;
}

static int add_row(struct tree *t, uint32_t i, uint32_t root, uint64_t zero_ns, struct table *table)
{
    struct node *n = &t->nodes.at[i];
    char text[40], kind[32];
    struct buf name;
    buf_init(&name, (size_t)1 << 16);
    int rc = put_branch(t, i, root, &name);
    n->shown = true;
    table_cell(table, buf_view(&name));
    buf_clear(&name);
    table_cell(table, n->service);
    table_cell(table, kind_of(n->span, kind));
    short_duration(n->start_ns - zero_ns, text);
    table_printf(table, "+%s", text);
    short_duration(n->end_ns > n->start_ns ? n->end_ns - n->start_ns : 0, text);
    table_cell(table, slice_cstr(text));
    if (status_cell(table, n->span))
        table_tone(table, TONE_BAD);
    return rc;
}

/* From a root through all that hangs on it and has not been shown, first children first. A child is
 * taken off its parent's list when it is visited. */
static int add_tree(struct tree *t, uint32_t root, uint64_t zero_ns, struct table *table)
{
    uint32_t at = root;
    int rc = add_row(t, root, root, zero_ns, table);
    while (rc == 0) {
        struct node *n = &t->nodes.at[at];
        uint32_t child = n->child;
        if (child == NONE) {
            if (at == root)
                return 0;
            at = n->parent;
            continue;
        }
        n->child = t->nodes.at[child].next;
        if (t->nodes.at[child].shown)
            continue;
        at = child;
        rc = add_row(t, at, root, zero_ns, table);
    }
    return rc;
}

static int add_all(struct tree *t, struct table *table)
{
    uint64_t zero_ns = t->nodes.at[0].start_ns;
    int rc = 0;
    for (uint32_t i = 0; i < t->nodes.count && rc == 0; i++) {
        if (t->nodes.at[i].parent == NONE)
            rc = add_tree(t, i, zero_ns, table);
    }
    for (uint32_t i = 0; i < t->nodes.count && rc == 0; i++) {
        if (!t->nodes.at[i].shown) /* its ancestors go round in a circle */
            rc = add_tree(t, i, zero_ns, table);
    }
    return rc;
}

static int by_service(const void *a, const void *b)
{
    return slice_cmp(((const struct node *)a)->service, ((const struct node *)b)->service);
}

/* "trace 0af7… 2026-01-02 03:04:05.678Z, 250ms, 12 spans of 3 services, 1 error" */
static int put_head(const struct tree *t, struct arena *a, struct buf *out)
{
    uint32_t n = t->nodes.count, errors = 0, services = 0;
    uint64_t end_ns = 0;
    char start[40], took[40];
    struct buf id;
    struct node *sorted = arena_array(a, struct node, n);
    if (!sorted)
        return ERR_LIMIT;
    memcpy(sorted, t->nodes.at, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_service);
    for (uint32_t i = 0; i < n; i++) {
        const cJSON *status = cJSON_GetObjectItemCaseSensitive(sorted[i].span, "status");
        services += i == 0 || !slice_eq(sorted[i].service, sorted[i - 1].service);
        errors += slice_eq(json_text(status, "code"), SLICE("STATUS_CODE_ERROR"));
        end_ns = sorted[i].end_ns > end_ns ? sorted[i].end_ns : end_ns;
    }
    uint64_t start_ns = t->nodes.at[0].start_ns;
    short_time(start_ns, start);
    short_duration(end_ns > start_ns ? end_ns - start_ns : 0, took);
    buf_init(&id, 256);
    int rc = buf_str(out, "trace ");
    if (rc == 0 && buf_base64_decode(&id, json_text(t->nodes.at[0].span, "traceId")))
        rc = buf_hex(out, buf_view(&id));
    buf_clear(&id);
    rc = rc < 0 ? rc
                : buf_printf(out, "  %s, %s, %u span%s of %u service%s", start, took, n,
                             n == 1 ? "" : "s", services, services == 1 ? "" : "s");
    if (rc == 0 && errors)
        rc = buf_printf(out, ", %u error%s", errors, errors == 1 ? "" : "s");
    return rc < 0 ? rc : buf_str(out, "\n\n");
}

int query_show_trace(const cJSON *answer, const struct query_screen *screen, struct arena *a,
                     struct buf *out, struct err *err)
{
    static const char *const heads[] = {"SPAN", "SERVICE", "KIND", "START", "DURATION", "STATUS"};
    struct tree t = {0};
    struct table table;
    read_spans(&t, cJSON_GetObjectItemCaseSensitive(answer, "trace"));
    if (t.nodes.count == 0)
        return t.full ? err_set(err, ERR_NOMEM, "no memory for a trace")
                      : err_set(err, ERR_NOTFOUND, "there is no such trace");
    table_init(&table, a, heads, 6, 1 << 3 | 1 << 4);
    int rc = t.full ? ERR_NOMEM : link_spans(&t, a);
    rc = rc < 0 ? rc : put_head(&t, a, out);
    rc = rc < 0 ? rc : add_all(&t, &table);
    rc = rc < 0 ? rc : table_print(&table, screen->colour, out);
    table_clear(&table);
    vec_free(&t.nodes);
    return rc < 0 ? err_set(err, rc, "the answer is too large to be shown; try --json") : 0;
}
