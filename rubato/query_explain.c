/* What a query did, and where it is wrong. */
#include <stdio.h>

#include "base/text.h"
#include "rubato/query_show.h"
#include "rubato/query_table.h"

#define TREE_DEPTH 32

/* ---- trees ---- */

static int put_scalar(const cJSON *v, struct buf *out)
{
    char text[40];
    if (cJSON_IsString(v))
        return text_put_printable(out, slice_cstr(v->valuestring));
    if (cJSON_IsBool(v))
        return buf_str(out, cJSON_IsTrue(v) ? "yes" : "no");
    if (!cJSON_IsNumber(v))
        return buf_str(out, "-");
    format_f64_json(v->valuedouble, text);
    return buf_str(out, text);
}

static bool is_scalar(const cJSON *v)
{
    return !cJSON_IsObject(v) && !cJSON_IsArray(v);
}

/* A list of scalars is one line. */
static bool is_short_list(const cJSON *v)
{
    const cJSON *item;
    if (!cJSON_IsArray(v))
        return false;
    cJSON_ArrayForEach(item, v)
    {
        if (!is_scalar(item))
            return false;
    }
    return true;
}

static int put_short_list(const cJSON *v, struct buf *out)
{
    const cJSON *item;
    const char *sep = "";
    int rc = 0;
    cJSON_ArrayForEach(item, v)
    {
        rc = rc < 0 ? rc : buf_str(out, sep);
        rc = rc < 0 ? rc : put_scalar(item, out);
        sep = ", ";
    }
    return rc;
}

/* The members of an object, the elements of an array. */
static int put_members(const cJSON *v, unsigned depth, struct buf *out)
{
    const cJSON *item;
    int rc = 0;
    if (depth > TREE_DEPTH)
        return buf_printf(out, "%*s…\n", (int)depth * 2, "");
    cJSON_ArrayForEach(item, v)
    {
        rc = rc < 0 ? rc : buf_printf(out, "%*s", (int)depth * 2, "");
        if (rc == 0 && item->string) {
            rc = text_put_printable(out, slice_cstr(item->string));
            rc = rc < 0 ? rc : buf_str(out, ":");
        }
        if (rc == 0 && (is_scalar(item) || is_short_list(item))) {
            rc = item->string ? buf_u8(out, ' ') : 0;
            rc = rc < 0 ? rc : is_scalar(item) ? put_scalar(item, out) : put_short_list(item, out);
            rc = rc < 0 ? rc : buf_u8(out, '\n');
        } else if (rc == 0) {
            rc = buf_str(out, item->string ? "\n" : "-\n");
            rc = rc < 0 ? rc : put_members(item, depth + 1, out);
        }
    }
    return rc;
}

int query_show_tree(const cJSON *value, struct buf *out)
{
    int rc;
    if (!is_scalar(value))
        return put_members(value, 1, out);
    rc = buf_str(out, "  ");
    rc = rc < 0 ? rc : put_scalar(value, out);
    return rc < 0 ? rc : buf_u8(out, '\n');
}

/* ---- carets ---- */

/* "line 3, col 14" somewhere in the message. */
static bool find_position(struct slice message, unsigned *line, unsigned *column)
{
    char text[1024];
    snprintf(text, sizeof text, "%.*s", SLICE_ARGS(message));
    for (const char *at = text; (at = strstr(at, "line ")); at++) {
        if (sscanf(at, "line %9u, col %9u", line, column) == 2)
            return *line > 0 && *column > 0;
    }
    return false;
}

int query_show_caret(struct slice text, struct slice message, struct buf *out)
{
    unsigned line, column;
    if (!find_position(message, &line, &column))
        return 0;
    for (; line > 1 && text.len; line--)
        text = slice_from(text, slice_find(text, '\n') + 1);
    text.len = slice_find(text, '\n');
    int rc = buf_str(out, "  ");
    rc = rc < 0 ? rc : text_put_printable(out, text);
    rc = rc < 0 ? rc : buf_str(out, "\n  ");
    /* What stands before the column, as wide as it is shown. */
    size_t before = 0;
    for (unsigned c = 1; c < column && before < text.len; c++) {
        do
            before++;
        while (before < text.len && (text.ptr[before] & 0xc0) == 0x80);
    }
    struct buf shown;
    buf_init(&shown, SIZE_MAX);
    rc = rc < 0 ? rc : text_put_printable(&shown, slice_of(text.ptr, before));
    size_t pad = text_columns(buf_view(&shown));
    buf_clear(&shown);
    while (pad-- && rc == 0)
        rc = buf_u8(out, ' ');
    return rc < 0 ? rc : buf_str(out, "^\n");
}
