/* Fuzz target: the messages of tempopb.StreamingQuerier. The first byte says which method's. What
 * comes out is a path and a query that can be taken apart again, and no more than the message can
 * fill. */
#include <assert.h>

#include "frontend/grpc_question.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(void *ctx, struct slice name, struct slice value)
{
    size_t *parameters = ctx;
    assert(name.len > 0 && value.len > 0);
    ++*parameters;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {
        "/tempopb.StreamingQuerier/Search", "/tempopb.StreamingQuerier/SearchTags",
        "/tempopb.StreamingQuerier/SearchTagValues", "/tempopb.StreamingQuerier/MetricsQueryRange",
        "/tempopb.StreamingQuerier/SearchTagValuesV2"};
    struct grpc_question g = {0};
    struct err err;
    if (size == 0)
        return 0;
    struct slice method = slice_cstr(methods[data[0] % (sizeof methods / sizeof methods[0])]);
    int rc = grpc_question_read(method, slice_of(data + 1, size - 1), SLICE("/p"), &g, &err);
    assert(rc == 0 || rc == ERR_CORRUPT || rc == ERR_INVALID);
    if (rc == 0) {
        size_t parameters = 0, ands = 0;
        const struct net_request req = {.path = buf_view(&g.path), .query = buf_view(&g.query)};
        net_request_params(&req, count, &parameters);
        for (size_t i = 0; i < g.query.len; i++)
            ands += g.query.ptr[i] == '&';
        assert(parameters == (g.query.len ? ands + 1 : 0));
        assert(slice_starts(req.path, SLICE("/p/api/")));
        assert(g.path.len + g.query.len < 18 * size + 1024);
    }
    grpc_question_clear(&g);
    return 0;
}
