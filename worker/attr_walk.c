/* Attributes with a column of their own. */
#include "worker/attr_walk.h"

static const struct own_column well_known[] = {
#define OWN(level_, name_, leaf_)                                                                  \
    {                                                                                              \
        level_, {(const uint8_t *)name_, sizeof name_ - 1}, leaf_                                  \
    }
    OWN(TRACEQL_LEVEL_RESOURCE, "service.name", BLOCK_RESOURCE_SERVICE),
    OWN(TRACEQL_LEVEL_RESOURCE, "cluster", BLOCK_RESOURCE_CLUSTER),
    OWN(TRACEQL_LEVEL_RESOURCE, "namespace", BLOCK_RESOURCE_NAMESPACE),
    OWN(TRACEQL_LEVEL_RESOURCE, "pod", BLOCK_RESOURCE_POD),
    OWN(TRACEQL_LEVEL_RESOURCE, "container", BLOCK_RESOURCE_CONTAINER),
    OWN(TRACEQL_LEVEL_RESOURCE, "k8s.cluster.name", BLOCK_RESOURCE_K8S_CLUSTER),
    OWN(TRACEQL_LEVEL_RESOURCE, "k8s.namespace.name", BLOCK_RESOURCE_K8S_NAMESPACE),
    OWN(TRACEQL_LEVEL_RESOURCE, "k8s.pod.name", BLOCK_RESOURCE_K8S_POD),
    OWN(TRACEQL_LEVEL_RESOURCE, "k8s.container.name", BLOCK_RESOURCE_K8S_CONTAINER),
    OWN(TRACEQL_LEVEL_SPAN, "http.method", BLOCK_SPAN_HTTP_METHOD),
    OWN(TRACEQL_LEVEL_SPAN, "http.url", BLOCK_SPAN_HTTP_URL),
    OWN(TRACEQL_LEVEL_SPAN, "http.status_code", BLOCK_SPAN_HTTP_STATUS),
#undef OWN
};

static const enum traceql_level level_of[] = {
    [BLOCK_SCOPE_SPAN] = TRACEQL_LEVEL_SPAN,
    [BLOCK_SCOPE_RESOURCE] = TRACEQL_LEVEL_RESOURCE,
    [BLOCK_SCOPE_EVENT] = TRACEQL_LEVEL_EVENT,
};

int own_columns(struct scan *s, struct own_column **out, size_t *count, struct err *err)
{
    size_t known = sizeof well_known / sizeof well_known[0];
    size_t dedicated = s->meta ? s->meta->dedicated_count : 0;
    struct own_column *list = arena_array(s->arena, struct own_column, known + dedicated);
    if (!list)
        return arena_err(s->arena, err, "a row group");
    size_t n = 0;
    for (size_t i = 0; i < known; i++) {
        if (scan_has(s, well_known[i].leaf))
            list[n++] = well_known[i];
    }
    struct block_places places = {0};
    for (size_t i = 0; i < dedicated; i++) {
        const struct block_dedicated *d = &s->meta->dedicated[i];
        int leaf = block_dedicated_leaf(&places, d);
        if (leaf >= 0 && scan_has(s, leaf))
            list[n++] = (struct own_column){level_of[d->scope], d->name, leaf};
    }
    *out = list;
    *count = n;
    return 0;
}
