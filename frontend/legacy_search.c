/* What a search by tags asks: logfmt, bare parameters, durations. The texts of errors are those of
 * the Go libraries that Tempo uses, since clients show them. */
#include "frontend/legacy_search.h"

#include "base/text.h"
#include "frontend/frontend_limits.h"
#include "frontend/frontend_priv.h"

/* ---- logfmt ---- */

struct logfmt {
    struct slice text;
    size_t at;
    struct arena *arena;
};

static int unexpected(const struct logfmt *l, struct err *err)
{
    return err_set(err, ERR_INVALID, "invalid tags: unexpected '%c' at pos %zu", l->text.ptr[l->at],
                   l->at + 1);
}

static uint8_t peek(const struct logfmt *l)
{
    return l->at < l->text.len ? l->text.ptr[l->at] : 0;
}

static bool hex4(struct slice s, size_t at, uint32_t *out)
{
    uint8_t b[2];
    if (at + 4 > s.len || !hex_decode(slice_of(s.ptr + at, 4), b))
        return false;
    *out = (uint32_t)b[0] << 8 | b[1];
    return true;
}

static int put_utf8(struct buf *out, uint32_t c)
{
    uint8_t b[4];
    if (c < 0x80)
        return buf_u8(out, (uint8_t)c);
    if (c < 0x800) {
        b[0] = (uint8_t)(0xc0 | c >> 6);
        b[1] = (uint8_t)(0x80 | (c & 0x3f));
        return buf_append(out, b, 2);
    }
    if (c < 0x10000) {
        b[0] = (uint8_t)(0xe0 | c >> 12);
        b[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        b[2] = (uint8_t)(0x80 | (c & 0x3f));
        return buf_append(out, b, 3);
    }
    b[0] = (uint8_t)(0xf0 | c >> 18);
    b[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    b[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    b[3] = (uint8_t)(0x80 | (c & 0x3f));
    return buf_append(out, b, 4);
}

/* \uXXXX at *at, perhaps a pair of them. A half without its other half is U+FFFD. */
static int put_unicode(struct slice s, size_t *at, struct buf *out)
{
    uint32_t c, low;
    if (!hex4(s, *at, &c))
        return ERR_INVALID;
    *at += 4;
    if (c >= 0xd800 && c < 0xdc00 && *at + 6 <= s.len && s.ptr[*at] == '\\' &&
        s.ptr[*at + 1] == 'u' && hex4(s, *at + 2, &low) && low >= 0xdc00 && low < 0xe000) {
        *at += 6;
        return put_utf8(out, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
    }
    return put_utf8(out, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
}

/* What stands between the quotes, with its escapes undone; they are JSON's. */
static int unquote(struct slice s, struct buf *out)
{
    static const char from[] = "\"\\/'bfnrt", to[] = "\"\\/'\b\f\n\r\t";
    int rc = 0;
    for (size_t i = 0; i < s.len && rc == 0;) {
        uint8_t c = s.ptr[i++];
        if (c < ' ')
            return ERR_INVALID;
        if (c != '\\') {
            rc = buf_u8(out, c);
            continue;
        }
        c = i < s.len ? s.ptr[i++] : 0;
        const char *known = c ? strchr(from, c) : NULL;
        if (known)
            rc = buf_u8(out, (uint8_t)to[known - from]);
        else
            rc = c == 'u' ? put_unicode(s, &i, out) : ERR_INVALID;
    }
    return rc;
}

static int quoted_value(struct logfmt *l, struct slice *out, struct err *err)
{
    size_t start = ++l->at;
    while (l->at < l->text.len && l->text.ptr[l->at] != '"')
        l->at += l->text.ptr[l->at] == '\\' ? 2 : 1;
    if (l->at >= l->text.len)
        return err_set(err, ERR_INVALID, "invalid tags: unterminated quoted value at pos %zu",
                       l->text.len + 1);
    struct slice inside = slice_of(l->text.ptr + start, l->at - start);
    struct buf plain;
    l->at++;
    buf_init(&plain, inside.len + 4);
    int rc = slice_find(inside, '\\') == inside.len ? buf_slice(&plain, inside)
                                                    : unquote(inside, &plain);
    if (rc < 0)
        rc = err_set(err, ERR_INVALID, "invalid tags: invalid quoted value at pos %zu", l->at + 1);
    else if (!arena_slice(l->arena, buf_view(&plain), out))
        rc = arena_err(l->arena, err, "a search's tags");
    buf_clear(&plain);
    return rc;
}

static int plain_value(struct logfmt *l, struct slice *out, struct err *err)
{
    size_t start = l->at;
    while (peek(l) > ' ' && peek(l) != '=' && peek(l) != '"')
        l->at++;
    if (peek(l) > ' ')
        return unexpected(l, err);
    return arena_slice(l->arena, slice_of(l->text.ptr + start, l->at - start), out)
               ? 0
               : arena_err(l->arena, err, "a search's tags");
}

/* One pair from a byte that is no space. */
static int next_pair(struct logfmt *l, struct query_pair *out, struct err *err)
{
    size_t start = l->at;
    out->value = SLICE("");
    while (peek(l) > ' ' && peek(l) != '=' && peek(l) != '"')
        l->at++;
    if (peek(l) == '"' || (peek(l) == '=' && l->at == start))
        return unexpected(l, err);
    if (!arena_slice(l->arena, slice_of(l->text.ptr + start, l->at - start), &out->key))
        return arena_err(l->arena, err, "a search's tags");
    if (peek(l) != '=')
        return 0;
    l->at++;
    return peek(l) == '"' ? quoted_value(l, &out->value, err) : plain_value(l, &out->value, err);
}

static int add_pair(struct legacy_tags *tags, const struct query_pair *pair, struct err *err)
{
    if (tags->pairs.count >= LIMIT_SEARCH_TAGS)
        return err_set(err, ERR_INVALID, "invalid tags: more than %d", LIMIT_SEARCH_TAGS);
    return vec_push(&tags->pairs, *pair) ? 0
                                         : err_set(err, ERR_NOMEM, "no memory for a search's tags");
}

int legacy_tags_parse(struct slice text, struct arena *a, struct legacy_tags *out, struct err *err)
{
    struct logfmt l = {.text = text, .arena = a};
    int rc = 0;
    while (rc == 0) {
        while (l.at < text.len && text.ptr[l.at] <= ' ')
            l.at++;
        if (l.at >= text.len)
            break;
        struct query_pair pair;
        char shown[128];
        rc = next_pair(&l, &pair, err);
        for (uint32_t i = 0; rc == 0 && i < out->pairs.count; i++) {
            if (slice_eq(out->pairs.at[i].key, pair.key))
                rc = err_set(err, ERR_INVALID, "invalid tags: tag %s has been set twice",
                             text_escape(pair.key, 100, shown, sizeof shown));
        }
        if (rc == 0)
            rc = add_pair(out, &pair, err);
    }
    return rc;
}

/* ---- durations ---- */

/* Why Go's parser would not take it. */
static int duration_error(const char *name, struct slice text, struct err *err)
{
    static const char *const units[] = {"ns", "us", "µs", "μs", "ms", "s", "m", "h"};
    char shown[128], unit[64];
    size_t i = text.len && (text.ptr[0] == '-' || text.ptr[0] == '+');
    text_escape(text, 60, shown, sizeof shown);
    while (i < text.len) {
        size_t number = i;
        while (i < text.len && ((text.ptr[i] >= '0' && text.ptr[i] <= '9') || text.ptr[i] == '.'))
            i++;
        size_t begin = i;
        while (i < text.len && text.ptr[i] != '.' && (text.ptr[i] < '0' || text.ptr[i] > '9'))
            i++;
        struct slice u = slice_of(text.ptr + begin, i - begin);
        bool known = false;
        for (size_t k = 0; k < sizeof units / sizeof units[0]; k++)
            known |= slice_eq(u, slice_cstr(units[k]));
        if (begin == number)
            break;
        if (u.len == 0)
            return err_set(err, ERR_INVALID, "invalid %s: time: missing unit in duration \"%s\"",
                           name, shown);
        if (!known)
            return err_set(err, ERR_INVALID,
                           "invalid %s: time: unknown unit \"%s\" in duration \"%s\"", name,
                           text_escape(u, 20, unit, sizeof unit), shown);
    }
    return err_set(err, ERR_INVALID, "invalid %s: time: invalid duration \"%s\"", name, shown);
}

int legacy_duration_parse(const char *name, struct slice text, uint64_t *ns, struct err *err)
{
    int64_t v;
    if (!parse_duration(text, &v))
        return duration_error(name, text, err);
    *ns = v > 0 ? (uint64_t)v / 1000000 * 1000000 : 0;
    return 0;
}

/* ---- parameters ---- */

struct bare {
    struct query *q;
    struct legacy_tags *tags;
    int rc;
    struct err *err;
};

/* Any parameter that is no other's is a tag, the first of its name. */
static void bare_param(void *ctx, struct slice name, struct slice value)
{
    static const char *const reserved[] = {"q",     "tags", "minDuration", "maxDuration",
                                           "limit", "spss", "start",       "end"};
    struct bare *b = ctx;
    struct query_pair pair;
    bool skip = b->rc < 0 || value.len == 0;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        skip |= slice_eq(name, slice_cstr(reserved[i]));
    for (uint32_t i = 0; i < b->tags->pairs.count && !skip; i++)
        skip = slice_eq(b->tags->pairs.at[i].key, name);
    if (skip)
        return;
    if (!arena_slice(b->q->arena, name, &pair.key) || !arena_slice(b->q->arena, value, &pair.value))
        b->rc = arena_err(b->q->arena, b->err, "a search's tags");
    else
        b->rc = add_pair(b->tags, &pair, b->err);
}

static int tag_params(struct query *q, bool has_range, struct query_legacy *out, struct err *err)
{
    struct legacy_tags tags = {0};
    struct slice text;
    int rc;
    if (query_param(q, "tags", &text)) {
        rc = legacy_tags_parse(text, q->arena, &tags, err);
    } else {
        struct bare b = {q, &tags, 0, err};
        if (!has_range)
            net_request_params(q->req, bare_param, &b);
        rc = b.rc;
    }
    struct query_pair *pairs = arena_array(q->arena, struct query_pair, tags.pairs.count);
    if (rc == 0 && !pairs)
        rc = arena_err(q->arena, err, "a search's tags");
    if (rc == 0 && tags.pairs.count)
        memcpy(pairs, tags.pairs.at, tags.pairs.count * sizeof *pairs);
    out->tags = pairs;
    out->tag_count = tags.pairs.count;
    vec_free(&tags.pairs);
    return rc;
}

int legacy_params(struct query *q, bool has_q, bool has_range, struct query_legacy *out,
                  struct err *err)
{
    struct slice text;
    int rc = 0;
    if (query_param(q, "minDuration", &text))
        rc = legacy_duration_parse("minDuration", text, &out->min_duration_ns, err);
    if (rc == 0 && query_param(q, "maxDuration", &text)) {
        rc = legacy_duration_parse("maxDuration", text, &out->max_duration_ns, err);
        if (rc == 0 && out->min_duration_ns > out->max_duration_ns)
            rc = err_set(err, ERR_INVALID, "invalid maxDuration: must be greater than minDuration");
    }
    return rc < 0 || has_q ? rc : tag_params(q, has_range, out, err);
}
