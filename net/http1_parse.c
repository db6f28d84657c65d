/* HTTP/1.1: from http_parser's pieces to a request. */
#include "net/http1_priv.h"

#include "base/text.h"
#include "net/net_limits.h"

static struct net_conn *conn_of(http_parser *p)
{
    return p->data;
}

/* What a callback returns to stop the parser. (1 and 2 mean something else at a head's end.) */
enum { STOP = 3 };

/* The connection is answered with that status and closed. */
static int refuse(struct net_conn *conn, int status)
{
    conn->h1.refusal = status;
    return STOP;
}

static int keep(struct net_conn *conn, const char *at, size_t len, int too_long)
{
    int rc = buf_append(&conn->h1.ex->head.text, at, len);
    return rc == 0 ? 0 : refuse(conn, rc == ERR_LIMIT ? too_long : 503);
}

static int on_url(http_parser *p, const char *at, size_t len)
{
    struct net_conn *conn = conn_of(p);
    conn->h1.target_len += len;
    return keep(conn, at, len, 414);
}

/* A name after a value begins the next header. */
static int on_field(http_parser *p, const char *at, size_t len)
{
    struct net_conn *conn = conn_of(p);
    struct http1 *h = &conn->h1;
    struct net_head *head = &h->ex->head;
    if (h->head_done) /* trailers mean nothing to any handler */
        return 0;
    if (!h->in_name) {
        struct net_head_entry entry = {.at = (uint32_t)head->text.len};
        if (head->entries.count >= LIMIT_HTTP1_HEADERS)
            return refuse(conn, 431);
        if (!vec_push(&head->entries, entry))
            return refuse(conn, 503);
    }
    h->in_name = true;
    head->entries.at[head->entries.count - 1].name_len += (uint32_t)len;
    int rc = keep(conn, at, len, 431);
    for (size_t i = 0; rc == 0 && i < len; i++) {
        uint8_t *c = head->text.ptr + head->text.len - len + i;
        if (*c >= 'A' && *c <= 'Z')
            *c = (uint8_t)(*c + ('a' - 'A'));
    }
    return rc;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
    struct net_conn *conn = conn_of(p);
    struct net_head *head = &conn->h1.ex->head;
    if (conn->h1.head_done)
        return 0;
    conn->h1.in_name = false;
    head->entries.at[head->entries.count - 1].value_len += (uint32_t)len;
    return keep(conn, at, len, 431);
}

/* The request line, from what was kept: the target at the front, the method behind all. */
static void request_line(struct http1 *h, size_t method_len)
{
    struct net_exchange *ex = h->ex;
    const struct buf *text = &ex->head.text;
    struct slice target = slice_of(text->ptr, h->target_len);
    /* A proxy's form, "http://host/path": what counts is the path. */
    if (slice_starts(target, SLICE("http://"))) {
        target = slice_from(target, 7);
        target = slice_from(target, slice_find(target, '/'));
    }
    size_t mark = slice_find(target, '?');
    ex->req.path = slice_of(target.ptr, mark);
    ex->req.query = slice_from(target, mark + 1);
    ex->req.method = slice_of(text->ptr + text->len - method_len, method_len);
}

/* A body announced as too large need not be sent: if the client waits for leave, or if there is
 * more of it than we care to throw away, it is answered now. */
static bool refuse_early(struct net_conn *conn, bool waits)
{
    const http_parser *p = &conn->h1.parser;
    uint64_t most = conn->listener->opts.body_bytes_max;
    return !(p->flags & F_CHUNKED) && p->content_length != UINT64_MAX && p->content_length > most &&
           (waits || p->content_length - most > LIMIT_HTTP1_DISCARD_BYTES);
}

/* RFC 9110's token. The library, as Debian builds it, lets spaces through, by which "Content-Length
 * : 3" would be a length for one server and none for the next. */
static bool names_are_tokens(const struct net_request *req)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < req->header_count; i++) {
        struct slice name = req->headers[i].name;
        for (size_t k = 0; k < name.len; k++) {
            uint8_t c = name.ptr[k];
            bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
            if (!alnum && !memchr(marks, c, sizeof marks - 1))
                return false;
        }
    }
    return true;
}

static int on_head(http_parser *p)
{
    struct net_conn *conn = conn_of(p);
    struct http1 *h = &conn->h1;
    struct net_exchange *ex = h->ex;
    const char *method = http_method_str((enum http_method)p->method);
    size_t method_len = strlen(method);
    p->upgrade = 0; /* "Upgrade: h2c" may be passed over, and is */
    if (p->http_major != 1)
        return refuse(conn, 505);
    if (keep(conn, method, method_len, 431) != 0)
        return STOP;
    if (net_exchange_head_done(ex) < 0)
        return refuse(conn, 503);
    if (!names_are_tokens(&ex->req) ||
        (p->http_minor > 0 && net_request_header_count(&ex->req, "host") != 1))
        return STOP;
    request_line(h, method_len);
    h->keep_alive = http_should_keep_alive(p);
    h->head_done = true;
    uint64_t max = conn->listener->opts.body_bytes_max;
    buf_init(&ex->body, max > SIZE_MAX ? SIZE_MAX : (size_t)max);
    h->owes_continue = p->http_minor > 0 && net_request_header(&ex->req, "expect").len > 0;
    if (refuse_early(conn, h->owes_continue)) {
        net_exchange_too_large(ex);
        h->owes_continue = false;
        h->complete = true;
        http_parser_pause(p, 1);
    }
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
    struct net_conn *conn = conn_of(p);
    struct net_exchange *ex = conn->h1.ex;
    conn->h1.owes_continue = false;
    if (ex->req.body_rc == 0) {
        int rc = buf_append(&ex->body, at, len);
        if (rc == ERR_LIMIT)
            net_exchange_too_large(ex);
        net_exchange_charge(ex);
        return rc == 0 || rc == ERR_LIMIT ? 0 : refuse(conn, 503);
    }
    conn->h1.discarded += len;
    return conn->h1.discarded > LIMIT_HTTP1_DISCARD_BYTES ? STOP : 0;
}

static int on_end(http_parser *p)
{
    conn_of(p)->h1.owes_continue = false;
    conn_of(p)->h1.complete = true;
    http_parser_pause(p, 1);
    return 0;
}

static int on_begin(http_parser *p)
{
    struct net_conn *conn = conn_of(p);
    conn->h1.ex = net_exchange_new(conn->server->core, false, conn->peer, LIMIT_HTTP1_HEAD_BYTES);
    if (!conn->h1.ex)
        return refuse(conn, 503);
    conn->h1.ex->loop.wire = conn;
    return 0;
}

void http1_parse_begin(struct net_conn *conn)
{
    struct http1 *h = &conn->h1;
    http_parser_init(&h->parser, HTTP_REQUEST);
    h->parser.data = conn;
    h->parsing = true;
    h->head_done = h->complete = h->in_name = h->owes_continue = h->keep_alive = false;
    h->target_len = 0;
    h->discarded = 0;
    h->refusal = 0;
}

size_t http1_parse(struct net_conn *conn, struct slice bytes)
{
    static const http_parser_settings settings = {
        .on_message_begin = on_begin,
        .on_url = on_url,
        .on_header_field = on_field,
        .on_header_value = on_value,
        .on_headers_complete = on_head,
        .on_body = on_body,
        .on_message_complete = on_end,
    };
    size_t used =
        http_parser_execute(&conn->h1.parser, &settings, (const char *)bytes.ptr, bytes.len);
    conn->h1.parsing = !conn->h1.complete;
    return used;
}

void http1_init(void)
{
    /* The library's own limit counts what ours does not, such as the sizes of chunks. */
    http_parser_set_max_header_size(UINT32_MAX);
}
