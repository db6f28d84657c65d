/* Values in protobuf. */
#include "traceql/value_wire.h"

void traceql_value_put(struct proto_writer *w, uint32_t number, const struct traceql_value *v)
{
    size_t begun = proto_begin(w, number);
    proto_put_u64(w, 1, v->type);
    switch (v->type) {
    case TRACEQL_NIL:
        break;
    case TRACEQL_FLOAT:
        proto_put_f64(w, 3, v->f64);
        break;
    case TRACEQL_STRING:
        if (v->str.len)
            proto_put_bytes(w, 4, v->str);
        break;
    case TRACEQL_BOOL:
        proto_put_i64(w, 2, v->b);
        break;
    case TRACEQL_INT:
    case TRACEQL_DURATION:
    case TRACEQL_STATUS:
    case TRACEQL_KIND:
        proto_put_i64(w, 2, v->i64);
        break;
    }
    proto_end(w, begun);
}

struct parts {
    uint8_t type;
    int64_t whole;
    double real;
    struct slice text;
};

PROTO_TABLE(parts_table, {1, PROTO_U8, offsetof(struct parts, type)},
            {2, PROTO_I64, offsetof(struct parts, whole)},
            {3, PROTO_F64, offsetof(struct parts, real)},
            {4, PROTO_BYTES, offsetof(struct parts, text)});

int traceql_value_get(const struct proto_field *f, struct traceql_value *out, struct err *err)
{
    struct parts read = {0};
    struct slice message;
    struct proto_field g;
    int rc = proto_get_bytes(f, &message, err);
    struct cursor c = cursor_of(message);
    while (rc == 0 && (rc = proto_next(&c, &g, err)) == 0) {
        rc = proto_get_table(&parts_table, &g, &read, err);
        rc = rc < 0 ? rc : 0;
    }
    if (rc < 0)
        return rc;
    if (read.type > TRACEQL_KIND)
        return err_set(err, ERR_CORRUPT, "a value of unknown type %u", read.type);
    *out = (struct traceql_value){.type = (enum traceql_type)read.type};
    if (read.type == TRACEQL_FLOAT)
        out->f64 = read.real;
    else if (read.type == TRACEQL_STRING)
        out->str = read.text;
    else if (read.type == TRACEQL_BOOL)
        out->b = read.whole != 0;
    else
        out->i64 = read.whole;
    return 0;
}
