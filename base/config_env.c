/* Environment variables in a configuration file, by the rules Tempo's -config.expand-env follows.
 * What it also knows but nobody writes (${#V}, ${V^^}, ${V/a/b}, ${V:1:2}) is refused in so many
 * words rather than half done. */
#include "base/config_priv.h"
#include "base/text.h"

/* Longest name of a variable. */
#define NAME_BYTES_MAX 255

static bool is_name_byte(uint8_t c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}

static size_t line_of(struct slice text, const uint8_t *at)
{
    size_t line = 1;
    for (const uint8_t *p = text.ptr; p != at; p++)
        line += *p == '\n';
    return line;
}

/* Splits the inside of ${…} in name and default; false: a form that is not known here. */
static bool split_reference(struct slice in, struct slice *name, struct slice *fallback)
{
    size_t n = 0;
    while (n < in.len && is_name_byte(in.ptr[n], n == 0))
        n++;
    if (n == 0 || n > NAME_BYTES_MAX)
        return false;
    *name = slice_of(in.ptr, n);
    struct slice rest = slice_from(in, n);
    size_t lead = slice_starts(rest, SLICE(":-")) || slice_starts(rest, SLICE(":=")) ? 2
                  : slice_starts(rest, SLICE("="))                                   ? 1
                                                                                     : 0;
    *fallback = slice_from(rest, lead);
    bool nested = fallback->len && memmem(fallback->ptr, fallback->len, "${", 2);
    return rest.len == 0 || (lead > 0 && !nested);
}

static int expand_one(struct slice text, const uint8_t *at, struct slice inside, config_env_fn *env,
                      void *env_ctx, struct buf *out, struct err *err)
{
    struct slice name, fallback;
    char cname[NAME_BYTES_MAX + 1];
    if (!split_reference(inside, &name, &fallback)) {
        char shown[64];
        return err_set(err, ERR_INVALID,
                       "line %zu: cannot expand \"${%s}\": expected ${NAME}, ${NAME:-default}, "
                       "${NAME:=default} or ${NAME=default}",
                       line_of(text, at), text_escape(inside, 40, shown, sizeof shown));
    }
    memcpy(cname, name.ptr, name.len);
    cname[name.len] = 0;
    const char *value = env(env_ctx, cname);
    return value && *value ? buf_str(out, value) : buf_slice(out, fallback);
}

int config_expand_env(struct slice text, config_env_fn *env, void *env_ctx, struct buf *out,
                      struct err *err)
{
    const uint8_t *end = text.ptr + text.len;
    int rc = 0;
    for (const uint8_t *p = text.ptr; rc == 0 && p != end;) {
        const uint8_t *dollar = memchr(p, '$', (size_t)(end - p));
        if (!dollar)
            dollar = end;
        rc = buf_append(out, p, (size_t)(dollar - p));
        p = dollar;
        if (rc < 0 || p == end)
            break;
        struct slice after = slice_of(p + 1, (size_t)(end - p) - 1);
        if (after.len && after.ptr[0] == '$') {
            rc = buf_u8(out, '$');
            p += 2;
        } else if (after.len && after.ptr[0] == '{') {
            struct slice inside = slice_from(after, 1);
            size_t n = slice_find(inside, '}');
            if (n == inside.len)
                return err_set(err, ERR_INVALID, "line %zu: \"${\" has no closing \"}\"",
                               line_of(text, p));
            rc = expand_one(text, p, slice_of(inside.ptr, n), env, env_ctx, out, err);
            if (rc == ERR_INVALID)
                return rc;
            p += 2 + n + 1;
        } else {
            rc = buf_u8(out, '$');
            p++;
        }
    }
    if (rc < 0)
        return err_set(err, rc, "the expanded configuration does not fit %zu bytes", out->max);
    return 0;
}
