/* Which blocks become one: sorted into groups, then runs of neighbours. */
#include "compact/compact_select.h"

#include <stdlib.h>

/* Blocks of a window may come that long after its end: a builder's window, and a bit. */
#define CLOSE_GRACE_NS (300 * NS_PER_S)

static uint64_t window_of(const struct compact_rules *r, const struct block_meta *m)
{
    uint64_t s = m->end_unix_ns / NS_PER_S + (m->end_unix_ns % NS_PER_S != 0); /* as in meta.json */
    uint64_t window_s = r->window_ns / NS_PER_S;
    return s / (window_s ? window_s : 1);
}

bool compact_window_closed(const struct compact_rules *r, uint64_t window)
{
    uint64_t window_s = r->window_ns / NS_PER_S ? r->window_ns / NS_PER_S : 1;
    uint64_t grace_ns = r->window_ns / 4 < CLOSE_GRACE_NS ? r->window_ns / 4 : CLOSE_GRACE_NS;
    uint64_t now_s = r->now_unix_ns > grace_ns ? (r->now_unix_ns - grace_ns) / NS_PER_S : 0;
    return window < now_s / window_s;
}

static int order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_dedicated(const struct block_meta *a, const struct block_meta *b)
{
    int d = order(a->dedicated_count, b->dedicated_count);
    for (size_t i = 0; i < a->dedicated_count && d == 0; i++) {
        const struct block_dedicated *x = &a->dedicated[i], *y = &b->dedicated[i];
        d = order(x->scope, y->scope);
        d = d ? d : order(x->type, y->type);
        d = d ? d : order(x->is_array, y->is_array);
        d = d ? d : order(x->is_blob, y->is_blob);
        d = d ? d : slice_cmp(x->name, y->name);
    }
    return d;
}

/* 0: may be merged into one. */
static int compare_kind(const struct block_meta *a, const struct block_meta *b)
{
    int d = order(a->version, b->version);
    d = d ? d : order(a->replication_factor, b->replication_factor);
    return d ? d : compare_dedicated(a, b);
}

static int compare_group(const struct compact_item *a, const struct compact_item *b)
{
    int d = order(a->closed, b->closed);
    d = d ? d : order(a->level, b->level);
    d = d ? d : order(b->window, a->window); /* newest first */
    return d ? d : compare_kind(&a->block->meta, &b->block->meta);
}

static int compare_items(const void *x, const void *y)
{
    const struct compact_item *a = x, *b = y;
    int d = compare_group(a, b);
    d = d ? d : order(a->block->meta.size, b->block->meta.size);
    return d ? d : memcmp(a->block->meta.id, b->block->meta.id, 16);
}

int compact_select_init(struct compact_select *s, const struct compact_rules *rules,
                        struct catalog_block *const *blocks, size_t count, struct arena *a,
                        struct err *err)
{
    *s = (struct compact_select){.rules = *rules};
    s->items = arena_array(a, struct compact_item, count);
    if (!s->items)
        return arena_err(a, err, "the blocks to choose from");
    for (size_t i = 0; i < count; i++) {
        struct compact_item *item = &s->items[i];
        *item =
            (struct compact_item){.block = blocks[i], .window = window_of(rules, &blocks[i]->meta)};
        item->closed = compact_window_closed(rules, item->window);
        item->level = item->closed ? 0 : blocks[i]->meta.compaction_level;
    }
    s->count = count;
    if (count)
        qsort(s->items, count, sizeof *s->items, compare_items);
    return 0;
}

static uint64_t objects_of(const struct compact_item *item)
{
    int64_t n = item->block->meta.total_objects;
    return n > 0 ? (uint64_t)n : 0;
}

/* How many items from `first` on make one merge. */
static size_t run_length(const struct compact_select *s, size_t first)
{
    const struct compact_rules *r = &s->rules;
    uint64_t objects = 0, bytes = 0;
    size_t n = 0;
    while (first + n < s->count) {
        const struct compact_item *item = &s->items[first + n];
        uint64_t more_objects = objects_of(item), more_bytes = item->block->meta.size;
        if (n && compare_group(&s->items[first], item) != 0)
            break;
        if (more_objects > r->objects_max - objects || more_bytes > r->bytes_max - bytes)
            break;
        bool small = bytes + more_bytes <= COMPACT_SMALL_BYTES;
        if (n >= (small ? COMPACT_SMALL_INPUTS_MAX : r->inputs_max))
            break;
        if (n && !small && more_bytes / 4 > bytes)
            break;
        objects += more_objects;
        bytes += more_bytes;
        n++;
    }
    return n;
}

bool compact_select_next(struct compact_select *s, size_t *first, size_t *n)
{
    while (s->at < s->count) {
        size_t run = run_length(s, s->at);
        uint32_t least = s->items[s->at].closed ? s->rules.inputs_min : s->rules.inputs_max;
        if (run >= least && run > 1) {
            *first = s->at;
            *n = run;
            s->at += run;
            return true;
        }
        s->at++;
    }
    return false;
}
