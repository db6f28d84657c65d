/* What the protobuf answers of all questions share: messages that are split, and values. */
#include "frontend/answer_proto.h"

#include <stdio.h>

#include "base/text.h"
#include "frontend/frontend_limits.h"

/* ---- messages ---- */

bool query_answers_proto(const struct query *q)
{
    return query_streams(q) || query_accepts_protobuf(q->req);
}

bool query_stream_due(const struct query *q)
{
    uint64_t now = clock_mono_ns(q->frontend->opts.app->clock);
    return query_streams(q) && now - q->streamed_mono_ns >= LIMIT_STREAM_PAUSE_MS * NS_PER_MS &&
           net_stream_ready(q->client);
}

void packets_begin(struct packets *p, struct query *q, struct buf *out, struct slice tail)
{
    *p = (struct packets){
        .w = {.out = out},
        .q = q,
        .tail = tail,
        .bytes_max = q->frontend->opts.app->cfg.query_frontend.max_grpc_streaming_packet_size,
    };
}

/* When the last item made the message too large it begins the next one. */
static void item_end(struct packets *p)
{
    struct buf *out = p->w.out;
    struct buf next;
    if (p->w.rc < 0 || !query_streams(p->q) || p->item == 0 ||
        out->len + p->tail.len <= p->bytes_max)
        return;
    buf_init(&next, out->max);
    p->w.rc = buf_append(&next, out->ptr + p->item, out->len - p->item);
    out->len = p->item;
    if (p->w.rc == 0)
        p->w.rc = buf_slice(out, p->tail);
    if (p->w.rc == 0)
        p->w.rc = net_stream_send(p->q->client, out);
    buf_clear(out);
    *out = next;
}

void packets_item(struct packets *p)
{
    item_end(p);
    p->item = p->w.out->len;
}

int packets_end(struct packets *p)
{
    item_end(p);
    if (p->w.rc == 0)
        p->w.rc = buf_slice(p->w.out, p->tail);
    return p->w.rc;
}

int packets_send(struct packets *p)
{
    int rc = packets_end(p);
    p->q->streamed_mono_ns = clock_mono_ns(p->q->frontend->opts.app->clock);
    return rc < 0 ? rc : net_stream_send(p->q->client, p->w.out);
}

int packets_err(int rc, struct err *err)
{
    if (rc == 0)
        return 0;
    return err_set(err, rc, rc == ERR_CANCELLED ? "context canceled" : "the answer does not fit");
}

/* ---- values ---- */

void search_metrics_proto(struct proto_writer *w, uint32_t number, const struct search_metrics *m)
{
    size_t begun = proto_begin(w, number);
    proto_put_u64(w, 1, m->inspected_traces);
    proto_put_u64(w, 2, m->inspected_bytes);
    proto_put_u64(w, 3, m->total_blocks);
    proto_put_u64(w, 4, m->completed_jobs);
    proto_put_u64(w, 5, m->total_jobs);
    proto_put_u64(w, 6, m->total_block_bytes);
    proto_end(w, begun);
}

/* A member of a oneof is written though it is zero. */
static void put_member(struct proto_writer *w, uint32_t number, enum proto_wire wire, uint64_t v)
{
    proto_put_packed(w, (uint64_t)number << 3 | wire);
    if (wire == PROTO_WIRE_VARINT)
        proto_put_packed(w, v);
    else if (w->rc == 0)
        w->rc = buf_u64le(w->out, v);
}

/* The members of an AnyValue; what has no type there is text. */
static void put_value(struct proto_writer *w, const struct traceql_value *v)
{
    char text[40];
    uint64_t bits;
    const char *word;
    switch (v->type) {
    case TRACEQL_STRING:
        proto_put_bytes(w, 1, v->str);
        break;
    case TRACEQL_BOOL:
        put_member(w, 2, PROTO_WIRE_VARINT, v->b);
        break;
    case TRACEQL_INT:
        put_member(w, 3, PROTO_WIRE_VARINT, (uint64_t)v->i64);
        break;
    case TRACEQL_FLOAT:
        memcpy(&bits, &v->f64, sizeof bits);
        put_member(w, 4, PROTO_WIRE_FIXED64, bits);
        break;
    case TRACEQL_DURATION:
        format_duration(v->i64, text);
        proto_put_bytes(w, 1, slice_cstr(text));
        break;
    case TRACEQL_STATUS:
    case TRACEQL_KIND:
        word = traceql_value_word(v);
        snprintf(text, sizeof text, "%lld", (long long)v->i64);
        proto_put_bytes(w, 1, slice_cstr(word ? word : text));
        break;
    case TRACEQL_NIL:
        proto_put_bytes(w, 1, SLICE("nil"));
        break;
    }
}

void key_value_proto(struct proto_writer *w, uint32_t number, struct slice key,
                     const struct traceql_value *values, uint32_t count)
{
    size_t pair = proto_begin(w, number);
    if (key.len)
        proto_put_bytes(w, 1, key);
    size_t value = proto_begin(w, 2);
    if (count == 1) {
        put_value(w, values);
    } else {
        size_t list = proto_begin(w, 5);
        for (uint32_t i = 0; i < count; i++) {
            size_t element = proto_begin(w, 1);
            put_value(w, &values[i]);
            proto_end(w, element);
        }
        proto_end(w, list);
    }
    proto_end(w, value);
    proto_end(w, pair);
}
