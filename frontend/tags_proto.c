/* Tags as the messages of tempopb: SearchTagsResponse, SearchTagsV2Response,
 * SearchTagValuesResponse, SearchTagValuesV2Response. */
#include "frontend/tags_priv.h"

static void put_text(struct proto_writer *w, uint32_t number, const struct traceql_value *v)
{
    struct buf text;
    if (v->type == TRACEQL_STRING) {
        proto_put_bytes(w, number, v->str);
        return;
    }
    buf_init(&text, 128);
    if (w->rc == 0)
        w->rc = query_tag_text(v, &text);
    proto_put_bytes(w, number, buf_view(&text));
    buf_clear(&text);
}

void tags_proto_names(struct packets *p, const struct query_tag *tags, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        packets_item(p);
        put_text(&p->w, 1, &tags[i].value);
    }
}

/* The items of a scope are in one message as long as they fit; what comes after goes into a scope
 * of the same name in the next one. */
struct scope_writer {
    struct packets *p;
    const char *name;
    size_t begun; /* 0: not */
};

static void scope_end(struct scope_writer *s)
{
    if (s->begun)
        proto_end(&s->p->w, s->begun);
    s->begun = 0;
}

static void scope_item(struct scope_writer *s)
{
    const struct packets *p = s->p;
    if (s->begun && query_streams(p->q) && p->w.out->len - s->begun > p->bytes_max / 2)
        scope_end(s);
    if (s->begun)
        return;
    packets_item(s->p);
    s->begun = proto_begin(&s->p->w, 1);
    proto_put_bytes(&s->p->w, 1, slice_cstr(s->name));
}

static void put_scope(struct packets *p, const struct tags_scope *scope,
                      const struct query_tag *tags, uint32_t count)
{
    struct scope_writer s = {.p = p, .name = scope->name};
    for (uint32_t i = 0; i < count; i++) {
        if (tags[i].level != scope->level)
            continue;
        scope_item(&s);
        put_text(&p->w, 2, &tags[i].value);
    }
    scope_end(&s);
}

static void put_intrinsics(struct packets *p, const struct tags_scope *scope)
{
    struct scope_writer s = {.p = p, .name = scope->name};
    for (size_t i = 0; i < tags_intrinsic_count; i++) {
        scope_item(&s);
        proto_put_bytes(&p->w, 2, slice_cstr(tags_intrinsics[i]));
    }
    scope_end(&s);
}

void tags_proto_scopes(struct packets *p, const struct query_tag *tags, uint32_t count,
                       bool intrinsics)
{
    for (size_t i = 0; i < TAGS_SCOPES; i++) {
        if (tags_scopes[i].level != TRACEQL_LEVELS)
            put_scope(p, &tags_scopes[i], tags, count);
        else if (intrinsics)
            put_intrinsics(p, &tags_scopes[i]);
    }
}

void tags_proto_values(struct packets *p, const struct query_tag *tags, uint32_t count, bool typed)
{
    if (!typed) {
        tags_proto_names(p, tags, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        packets_item(p);
        size_t begun = proto_begin(&p->w, 1);
        proto_put_bytes(&p->w, 1, slice_cstr(query_tag_type(tags[i].value.type)));
        if (tags[i].value.type != TRACEQL_STRING || tags[i].value.str.len)
            put_text(&p->w, 2, &tags[i].value);
        proto_end(&p->w, begun);
    }
}
