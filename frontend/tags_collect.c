/* The limits, in Tempo's order: bytes, number, staleness; each before the tag is looked up. */
#include "frontend/tags_collect.h"

/* A number's text is at most this long. */
#define NUMBER_BYTES_MAX 64

void tag_collector_init(struct tag_collector *c, const struct tag_limits *limits, bool typed,
                        struct arena *a)
{
    *c = (struct tag_collector){.limits = *limits, .typed = typed};
    tag_set_init(&c->set, a);
}

void tag_collector_clear(struct tag_collector *c)
{
    tag_set_clear(&c->set);
}

static uint64_t text_bytes(const struct tag_collector *c, const struct traceql_value *v)
{
    uint64_t n = c->typed ? strlen(query_tag_type(v->type)) : 0;
    if (v->type == TRACEQL_STRING)
        return n + v->str.len;
    struct buf text;
    buf_init(&text, NUMBER_BYTES_MAX);
    if (query_tag_text(v, &text) == 0)
        n += text.len;
    buf_clear(&text);
    return n;
}

int tag_collect(struct tag_collector *c, const struct query_tag *t, struct err *err)
{
    uint64_t bytes = text_bytes(c, &t->value);
    bool added;
    if (c->levels[t->level].full)
        return 0;
    if (c->limits.bytes_max && c->bytes + bytes >= c->limits.bytes_max) {
        for (size_t i = 0; i < TRACEQL_LEVELS; i++)
            c->levels[i].full = true;
        c->full = "bytes";
        return 0;
    }
    if (c->limits.count_max && c->levels[t->level].count >= c->limits.count_max) {
        c->levels[t->level].full = true;
        c->full = "limit";
        return 0;
    }
    if (c->limits.stale_max && c->levels[t->level].stale >= c->limits.stale_max) {
        c->levels[t->level].full = true;
        c->full = "stale";
        return 0;
    }
    int rc = tag_set_add(&c->set, t, &added, err);
    if (rc < 0)
        return rc;
    if (!added) {
        c->levels[t->level].stale++;
        return 0;
    }
    c->levels[t->level].stale = 0;
    c->levels[t->level].count++;
    c->bytes += bytes;
    return 0;
}
