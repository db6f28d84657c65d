/* Nested set numbers, as Tempo 2.7 and 3.0 assign them.
 *
 * Three passes over the spans: a hash table of ids, then a parent for each span and so a list of
 * children for each, then one walk from the roots. The walk is a loop, because a trace may be as
 * deep as it is long. */
#include "block/nested_set.h"

#include <inttypes.h>

#define NONE UINT32_MAX
/* Two numbers a span, and they are int32_t. Hit: ERR_LIMIT for the trace. */
#define LIMIT_TRACE_SPANS (UINT32_C(1) << 30)

enum { KIND_SERVER = 2, KIND_CLIENT = 3 };

struct nested_node {
    uint64_t key;
    int32_t kind;
    uint32_t twin; /* the second span of this id, or NONE */
    uint32_t parent;
    uint32_t child_first, child_last;
    uint32_t sibling; /* the next one */
    bool root;
};

void nested_set_clear(struct nested_set *ns)
{
    vec_free(&ns->table);
    vec_free(&ns->nodes);
}

/* The first 8 bytes of an id, padded with zeros behind. */
static uint64_t id_key(struct slice id)
{
    uint64_t key = 0;
    if (id.len >= sizeof key)
        memcpy(&key, id.ptr, sizeof key);
    else if (id.len > 0)
        memcpy(&key, id.ptr, id.len);
    return key;
}

static int reserve(struct nested_set *ns, uint32_t spans, struct err *err)
{
    if (spans > LIMIT_TRACE_SPANS)
        return err_set(err, ERR_LIMIT,
                       "a trace of %" PRIu32 " spans, at most %" PRIu32 " are taken", spans,
                       LIMIT_TRACE_SPANS);
    uint32_t slots = 16;
    while (slots < spans * 2)
        slots *= 2;
    vec_reset(&ns->table);
    vec_reset(&ns->nodes);
    if (!vec_reserve(&ns->table, slots) || !vec_reserve(&ns->nodes, spans))
        return err_set(err, ERR_NOMEM, "no memory for the nested set of %" PRIu32 " spans", spans);
    memset(ns->table.at, 0, slots * sizeof *ns->table.at);
    ns->table.count = slots;
    ns->nodes.count = spans;
    return 0;
}

/* The slot that holds key, or the empty one where it belongs. */
static uint32_t *slot_of(const struct nested_set *ns, uint64_t key)
{
    uint32_t mask = ns->table.count - 1;
    /* Multiplied into 128 bits and folded, the seed on either side. */
    __extension__ unsigned __int128 product =
        (unsigned __int128)(key ^ ns->seed) * (ns->seed << 1 | UINT64_C(0x9e3779b97f4a7c15));
    uint32_t i = (uint32_t)((uint64_t)product ^ (uint64_t)(product >> 64)) & mask;
    while (ns->table.at[i] && ns->nodes.at[ns->table.at[i] - 1].key != key)
        i = (i + 1) & mask;
    return &ns->table.at[i];
}

/* Fills nodes and table. False: the trace has no numbers. */
static bool read_spans(struct nested_set *ns, const struct trace *t)
{
    bool any_root = false;
    for (uint32_t i = 0; i < t->span_count; i++) {
        const struct span *s = &t->batch->spans.at[t->spans[i]];
        struct nested_node *n = &ns->nodes.at[i];
        *n = (struct nested_node){
            .key = id_key(s->span_id),
            .kind = s->kind,
            .twin = NONE,
            .parent = NONE,
            .child_first = NONE,
            .child_last = NONE,
            .sibling = NONE,
            .root = s->parent_span_id.len == 0,
        };
        any_root |= n->root;
        uint32_t *slot = slot_of(ns, n->key);
        if (*slot == 0) {
            *slot = i + 1;
            continue;
        }
        struct nested_node *first = &ns->nodes.at[*slot - 1];
        if (first->twin != NONE)
            return false; /* a third span of this id */
        first->twin = i;
    }
    return any_root;
}

/* Where two spans share an id (a Zipkin client and its server), a server span hangs below the
 * client's and every other span below the server's. */
static uint32_t find_parent(const struct nested_set *ns, uint64_t parent_key, int32_t kind)
{
    uint32_t slot = *slot_of(ns, parent_key);
    if (slot == 0)
        return NONE;
    uint32_t first = slot - 1, twin = ns->nodes.at[first].twin;
    if (twin == NONE)
        return first;
    int32_t wanted = kind == KIND_SERVER ? KIND_CLIENT : KIND_SERVER;
    if (ns->nodes.at[first].kind == wanted)
        return first;
    return ns->nodes.at[twin].kind == wanted ? twin : NONE;
}

static void link_children(struct nested_set *ns, const struct trace *t)
{
    for (uint32_t i = 0; i < t->span_count; i++) {
        struct nested_node *n = &ns->nodes.at[i];
        if (n->root)
            continue;
        struct slice parent_id = t->batch->spans.at[t->spans[i]].parent_span_id;
        n->parent = find_parent(ns, id_key(parent_id), n->kind);
        if (n->parent == NONE)
            continue;
        struct nested_node *p = &ns->nodes.at[n->parent];
        if (p->child_first == NONE)
            p->child_first = i;
        else
            ns->nodes.at[p->child_last].sibling = i;
        p->child_last = i;
    }
}

/* Numbers the tree below a root. Every span has at most one parent and a root has none, so what a
 * root reaches is a tree: the walk ends, and comes nowhere twice. */
static int32_t walk(const struct nested_set *ns, uint32_t root, int32_t next, int32_t *left,
                    int32_t *right, int32_t *parent)
{
    const struct nested_node *nodes = ns->nodes.at;
    uint32_t at = root;
    for (;;) {
        left[at] = next++;
        parent[at] = at == root ? -1 : left[nodes[at].parent];
        if (nodes[at].child_first != NONE) {
            at = nodes[at].child_first;
            continue;
        }
        right[at] = next++;
        while (at != root && nodes[at].sibling == NONE) {
            at = nodes[at].parent;
            right[at] = next++;
        }
        if (at == root)
            return next;
        at = nodes[at].sibling;
    }
}

int nested_set_number(struct nested_set *ns, const struct trace *t, int32_t *left, int32_t *right,
                      int32_t *parent, struct err *err)
{
    uint32_t n = t->span_count;
    if (n == 0)
        return 0;
    int rc = reserve(ns, n, err);
    if (rc < 0)
        return rc;
    memset(left, 0, n * sizeof *left);
    memset(right, 0, n * sizeof *right);
    memset(parent, 0, n * sizeof *parent);
    if (!read_spans(ns, t))
        return 0;
    link_children(ns, t);
    int32_t next = 1;
    for (uint32_t i = 0; i < n; i++) {
        if (ns->nodes.at[i].root)
            next = walk(ns, i, next, left, right, parent);
    }
    return 0;
}
