/* Identifiers and filters of questions about tags. */
#include "frontend/tags_query.h"

#include "base/text.h"

/* ---- text ---- */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct slice trim(struct slice s)
{
    while (s.len && is_space(s.ptr[0]))
        s = slice_from(s, 1);
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* Ends a name, or a word. */
static bool is_delimiter(uint8_t c)
{
    return is_space(c) || strchr("{}()=~!<>&|^,", c); /* NUL too */
}

/* Index behind the string or quoted name that begins at i, or the end of the text. */
static size_t skip_quoted(struct slice s, size_t i)
{
    uint8_t quote = s.ptr[i++];
    while (i < s.len && s.ptr[i] != quote)
        i += quote == '"' && s.ptr[i] == '\\' ? 2 : 1;
    return i < s.len ? i + 1 : s.len;
}

static bool is_quote(uint8_t c)
{
    return c == '"' || c == '`';
}

/* Index of the text's first byte of that kind that stands in no quotes, or the end. */
static size_t find_bare(struct slice s, size_t from, uint8_t c)
{
    for (size_t i = from; i < s.len;) {
        if (s.ptr[i] == c)
            return i;
        i = is_quote(s.ptr[i]) ? skip_quoted(s, i) : i + 1;
    }
    return s.len;
}

/* ---- the tag ---- */

static int not_valid(struct slice text, struct err *err)
{
    char shown[256];
    return err_set(err, ERR_INVALID,
                   "please provide a valid tagName: tag name is not valid intrinsic or scoped "
                   "attribute: %s",
                   text_escape(text, 200, shown, sizeof shown));
}

/* Whether it may be one attribute or intrinsic at all, before the language looks at it: nothing
 * that would end it there. */
static bool one_word(struct slice s)
{
    static const char *const scopes[] = {"resource.",        "span.", "event.", "link.",
                                         "instrumentation.", "."};
    bool attribute = false;
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++)
        attribute |= slice_starts(s, slice_cstr(scopes[i]));
    for (size_t i = 0; i < s.len;) {
        uint8_t c = s.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ':';
        if (attribute ? is_delimiter(c) : !letter)
            return false;
        i = attribute && c == '"' ? skip_quoted(s, i) : i + 1;
    }
    return s.len > 0;
}

static bool in_list(struct slice s, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(s, slice_cstr(words[i])))
            return true;
    }
    return false;
}

int tag_parse(struct slice text, struct arena *a, struct query_tags *out, struct err *err)
{
    static const char *const silent[] = {"parent", "childCount", "span:childCount",
                                         "span:parentID"};
    struct slice s = trim(text);
    struct traceql_query *q;
    out->intrinsic = TRACEQL_ATTRIBUTE;
    out->levels = 0;
    if (slice_starts(s, SLICE("parent."))) { /* a parent has the values that all have */
        struct slice rest = slice_from(s, 7);
        s = slice_starts(rest, SLICE("span.")) || slice_starts(rest, SLICE("resource."))
                ? rest
                : slice_from(s, 6);
    }
    if (in_list(s, silent, sizeof silent / sizeof silent[0]))
        return 0;
    if (!one_word(s))
        return not_valid(text, err);
    char *query = arena_printf(a, "{ %.*s != nil }", SLICE_ARGS(s));
    if (!query)
        return arena_err(a, err, "a tag name");
    if (traceql_parse(slice_cstr(query), a, &q, NULL) < 0 || traceql_field_count(q) == 0)
        return not_valid(text, err);
    for (size_t i = 0; i < traceql_field_count(q); i++) {
        const struct traceql_field *f = traceql_field_at(q, i);
        out->intrinsic = f->intrinsic;
        out->name = f->name;
        if (f->intrinsic == TRACEQL_ATTRIBUTE)
            out->levels |= 1u << f->level;
    }
    if (out->intrinsic == TRACEQL_SPAN_START) /* a constant, which asks for nothing but spans */
        return not_valid(text, err);
    if (out->intrinsic == TRACEQL_ATTRIBUTE && traceql_field_count(q) > 1)
        out->levels |= 1u << TRACEQL_LEVEL_SCOPE; /* without scope: Tempo looks there too */
    return 0;
}

void tag_parse_bare(struct slice name, struct query_tags *out)
{
    static const struct {
        const char *name;
        enum traceql_intrinsic intrinsic;
    } intrinsics[] = {{"name", TRACEQL_SPAN_NAME},
                      {"status.code", TRACEQL_SPAN_STATUS},
                      {"rootName", TRACEQL_TRACE_ROOT_NAME},
                      {"root.name", TRACEQL_TRACE_ROOT_NAME},
                      {"rootServiceName", TRACEQL_TRACE_ROOT_SERVICE},
                      {"root.service.name", TRACEQL_TRACE_ROOT_SERVICE},
                      {"trace:id", TRACEQL_TRACE_ID},
                      {"span:id", TRACEQL_SPAN_ID}};
    static const char *const resource[] = {
        "service.name",      "cluster",          "namespace",          "pod",
        "container",         "k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name",
        "k8s.container.name"};
    static const char *const span[] = {"http.method", "http.url", "http.status_code"};
    out->intrinsic = TRACEQL_ATTRIBUTE;
    out->name = name;
    out->levels =
        1u << TRACEQL_LEVEL_RESOURCE | 1u << TRACEQL_LEVEL_SCOPE | 1u << TRACEQL_LEVEL_SPAN;
    for (size_t i = 0; i < sizeof intrinsics / sizeof intrinsics[0]; i++) {
        if (slice_eq(name, slice_cstr(intrinsics[i].name)))
            out->intrinsic = intrinsics[i].intrinsic;
    }
    if (in_list(name, resource, sizeof resource / sizeof resource[0]))
        out->levels = 1u << TRACEQL_LEVEL_RESOURCE;
    else if (in_list(name, span, sizeof span / sizeof span[0]))
        out->levels = 1u << TRACEQL_LEVEL_SPAN;
}

/* ---- the filter ---- */

/* What stands between the braces of the one filter that q begins with. False: there is none, or it
 * is joined to others. A missing brace at the end is still to be typed. */
static bool filter_inside(struct slice q, struct slice *out)
{
    q = trim(q);
    if (q.len == 0 || q.ptr[0] != '{')
        return false;
    size_t end = find_bare(q, 1, '}');
    *out = trim(slice_of(q.ptr + 1, end - 1));
    struct slice rest = trim(slice_from(q, end + 1));
    return rest.len == 0 || (rest.ptr[0] == '|' && (rest.len == 1 || rest.ptr[1] != '|'));
}

/* A dot that begins a name instead of standing in one. */
static bool has_unscoped(struct slice s)
{
    for (size_t i = find_bare(s, 0, '.'); i < s.len; i = find_bare(s, i + 1, '.')) {
        bool begins = i == 0 || is_delimiter(s.ptr[i - 1]) || strchr("+-*/%", s.ptr[i - 1]);
        bool number = i + 1 < s.len && s.ptr[i + 1] >= '0' && s.ptr[i + 1] <= '9';
        if (begins && !number)
            return true;
    }
    return false;
}

static bool parses(struct slice inside, struct arena *a, struct traceql_query **out)
{
    char *text = arena_printf(a, "{ %.*s }", SLICE_ARGS(inside));
    return text && traceql_parse(slice_cstr(text), a, out, NULL) == 0;
}

/* The parts between "&&" that parse by themselves, joined again; empty when there are none, or an
 * "||" among them. */
static int complete_parts(struct slice inside, struct arena *a, struct buf *out)
{
    struct traceql_query *q;
    size_t part = 0;
    int rc = 0;
    for (size_t i = 0; i <= inside.len && rc == 0;) {
        bool end = i == inside.len;
        bool pair = !end && i + 1 < inside.len && inside.ptr[i + 1] == inside.ptr[i];
        if (pair && inside.ptr[i] == '|') {
            buf_reset(out);
            return 0;
        }
        if (end || (pair && inside.ptr[i] == '&')) {
            struct slice s = trim(slice_of(inside.ptr + part, i - part));
            if (s.len && parses(s, a, &q)) {
                rc = out->len ? buf_str(out, " && ") : 0;
                rc = rc < 0 ? rc : buf_slice(out, s);
            }
            part = i + 2;
            i += 2;
        } else {
            i = is_quote(inside.ptr[i]) ? skip_quoted(inside, i) : i + 1;
        }
    }
    return rc;
}

/* A query that asks for no value of anything filters nothing. */
static bool has_conditions(const struct traceql_query *q)
{
    for (size_t i = 0; i < traceql_condition_count(q); i++) {
        if (traceql_condition_at(q, i)->op != TRACEQL_OP_NONE)
            return true;
    }
    return false;
}

int tags_filter(struct slice q, struct arena *a, const struct traceql_query **out, struct err *err)
{
    struct slice inside;
    struct traceql_query *parsed = NULL;
    struct traceql_eval *eval;
    *out = NULL;
    if (!filter_inside(q, &inside) || inside.len == 0 || has_unscoped(inside) ||
        memchr(inside.ptr, 0, inside.len))
        return 0;
    if (!parses(inside, a, &parsed)) {
        struct buf text;
        buf_init(&text, 2 * inside.len + 16);
        int rc = complete_parts(inside, a, &text);
        bool some = rc == 0 && text.len && parses(buf_view(&text), a, &parsed);
        buf_clear(&text);
        if (rc < 0)
            return err_set(err, rc, "no memory for a filter");
        if (!some)
            return 0;
    }
    /* What cannot be evaluated does not filter. */
    if (has_conditions(parsed) && traceql_eval_new(parsed, a, &eval, NULL) == 0)
        *out = parsed;
    return 0;
}
