/* tempopb.StreamingQuerier: a call is read as a request of the HTTP API and answered by the same
 * code, in protobuf. What is sent before the answer is complete, each API knows by itself. */
#include "frontend/frontend_priv.h"
#include "frontend/grpc_question.h"

/* What a call asks, over HTTP. */
static struct net_request as_http(const struct net_request *call, const struct grpc_question *g)
{
    return (struct net_request){
        .proto = NET_HTTP,
        .method = SLICE("GET"),
        .path = buf_view(&g->path),
        .query = buf_view(&g->query),
        .headers = call->headers,
        .header_count = call->header_count,
        .peer = call->peer,
        .received_mono_ns = call->received_mono_ns,
        .deadline_mono_ns = call->deadline_mono_ns,
    };
}

void answer_call(struct query *q, struct answer *a)
{
    struct app *app = q->frontend->opts.app;
    struct grpc_question g = {0};
    struct err err = {0};
    int rc =
        grpc_question_read(q->client->path, q->client->body, app->cfg.http_api_prefix, &g, &err);
    if (rc < 0) {
        a->status = 400; /* whatever the bytes are, they are the client's */
        a->grpc_status = err_code_grpc(rc);
        answer_error(q, rc, a, &err);
        return;
    }
    struct net_request req = as_http(q->client, &g);
    q->req = &req;
    q->streamed_mono_ns = clock_mono_ns(app->clock);
    answer_query(q, a);
    q->req = q->client;
    grpc_question_clear(&g);
}

void send_call(struct query *q, struct answer *a)
{
    struct app *app = q->frontend->opts.app;
    struct net_reply r = {.status = a->status, .body = a->body};
    if (a->status == 200 || a->grpc_status == 0) {
        app_reply(app, q->client, &r, false);
        return;
    }
    app_reply_grpc(app, q->client, a->grpc_status, buf_view(&a->body), NULL);
    buf_clear(&a->body);
}
