/* The configuration's values: types, defaults, notes, and the page that shows them. Reading is in
 * config_yaml.c and config_flags.c. */
#include "base/config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/config_priv.h"
#include "base/text.h"

/* ---- life ---- */

static const char *prefixed(struct arena *a, const char *prefix, const char *path)
{
    return path && prefix ? arena_printf(a, "%s.%s", prefix, path) : path;
}

static const struct config_table *join_parts(struct arena *a, const struct config_table *table);

static bool join_row(struct arena *a, const struct config_part *part, struct config_key *k)
{
    const char *path = k->path, *instead = k->instead;
    if (part) {
        k->offset += part->offset;
        k->path = prefixed(a, part->prefix, path);
        k->instead = prefixed(a, part->instead_prefix, instead);
    }
    if (k->type == CONFIG_MAP)
        k->table = join_parts(a, k->table);
    return (k->path || !path) && (k->instead || !instead) && (k->table || k->type != CONFIG_MAP);
}

/* One table of all rows, so that the readers need not know of parts. NULL: no memory. Recursion
 * follows our own tables. */
static const struct config_table *join_parts(struct arena *a, const struct config_table *table)
{
    size_t count = table->count;
    for (size_t i = 0; i < table->part_count; i++)
        count += table->parts[i].table->count;
    struct config_table *joined = arena_alloc(a, sizeof *joined);
    struct config_key *keys = arena_array(a, struct config_key, count);
    if (!joined || !keys)
        return NULL;
    *joined = (struct config_table){.keys = keys, .count = count, .item_size = table->item_size};
    bool whole = true;
    for (size_t i = 0; i < table->count && whole; i++, keys++) {
        *keys = table->keys[i];
        whole = join_row(a, NULL, keys);
    }
    for (size_t i = 0; i < table->part_count; i++) {
        const struct config_part *part = &table->parts[i];
        for (size_t j = 0; j < part->table->count && whole; j++, keys++) {
            *keys = part->table->keys[j];
            whole = join_row(a, part, keys);
        }
    }
    return whole ? joined : NULL;
}

int config_new(const struct config_table *table, void *target, struct config **out, struct err *err)
{
    struct config *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, ERR_NOMEM, "no memory for the configuration");
    c->target = target;
    c->arena = arena_new(LIMIT_CONFIG_MEMORY);
    c->table = c->arena ? join_parts(c->arena, table) : NULL;
    c->set_line = c->table ? calloc(c->table->count, sizeof *c->set_line) : NULL;
    if (!c->set_line) {
        config_free(c);
        return err_set(err, ERR_NOMEM, "no memory for the configuration");
    }
    config_set_presets(c, c->table, target);
    *out = c;
    return 0;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    arena_free(c->arena);
    free(c->set_line);
    vec_free(&c->given);
    vec_free(&c->notes);
    free(c);
}

void config_add_note(struct config *c, bool fault, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    /* A fault is never lost in a crowd of warnings: they may take half the room only. */
    uint32_t most = fault ? LIMIT_CONFIG_NOTES : LIMIT_CONFIG_NOTES / 2;
    const char *kept = c->notes.count < most ? arena_printf(c->arena, "%s", text) : NULL;
    if (!kept || !vec_push(&c->notes, (struct config_note){fault, kept}))
        c->notes_lost++;
}

/* The row that set the key of that path, by this name or a deprecated one; -1: none did. */
static ptrdiff_t set_row(const struct config *c, const char *path)
{
    for (size_t i = 0; i < c->table->count; i++) {
        const struct config_key *k = &c->table->keys[i];
        if (c->set_line[i] && ((k->path && strcmp(k->path, path) == 0) ||
                               (k->instead && strcmp(k->instead, path) == 0)))
            return (ptrdiff_t)i;
    }
    return -1;
}

bool config_is_set(const struct config *c, const char *path)
{
    return set_row(c, path) >= 0;
}

void config_add_fault(struct config *c, const char *path, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ptrdiff_t row = set_row(c, path);
    if (row < 0)
        config_add_note(c, true, "%s: %s", path, text);
    else if (c->set_line[row] == SET_BY_FLAG)
        config_add_note(c, true, "flag -%s: %s", c->table->keys[row].flag, text);
    else
        config_add_note(c, true, "%s:%u: %s: %s", c->file ? c->file : "", c->set_line[row], path,
                        text);
}

size_t config_note_count(const struct config *c)
{
    return c->notes.count + (c->notes_lost > 0);
}

struct config_note config_note_at(const struct config *c, size_t i)
{
    if (i < c->notes.count)
        return c->notes.at[i];
    return (struct config_note){false, "further notes are not shown"};
}

/* ---- values ---- */

bool config_is_scalar(enum config_type type)
{
    return type <= CONFIG_FLOAT;
}

/* Decimal digits with '_' between them, as YAML allows; *used of them. */
static bool parse_digits(struct slice s, uint64_t *out, size_t *used)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c == '_' && i > 0)
            continue;
        if (c < '0' || c > '9')
            break;
        if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
            __builtin_add_overflow(v, (uint64_t)(c - '0'), &v))
            return false;
    }
    if (i == 0 || s.ptr[i - 1] == '_')
        return false;
    *out = v;
    *used = i;
    return true;
}

/* A float without fraction, such as 5e+06, which Go's YAML takes for an integer. */
static bool parse_whole_float(struct slice s, uint64_t *out)
{
    double v;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == 0 || !strchr("0123456789.eE+-", s.ptr[i]))
            return false; /* strtod knows hexadecimal and words too */
    }
    if (!parse_f64(s, &v) || !(v >= 0 && v <= 9007199254740992.0) || v != (double)(uint64_t)v)
        return false;
    *out = (uint64_t)v;
    return true;
}

static bool parse_bytes(struct slice s, uint64_t *out)
{
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {
        {"", 1},
        {"B", 1},
        {"kB", 1000},
        {"KB", 1000},
        {"MB", 1000000},
        {"GB", 1000000000},
        {"Ki", UINT64_C(1) << 10},
        {"KiB", UINT64_C(1) << 10},
        {"Mi", UINT64_C(1) << 20},
        {"MiB", UINT64_C(1) << 20},
        {"Gi", UINT64_C(1) << 30},
        {"GiB", UINT64_C(1) << 30},
        {"Ti", UINT64_C(1) << 40},
        {"TiB", UINT64_C(1) << 40},
    };
    uint64_t v, bytes;
    size_t used;
    if (!parse_digits(s, &v, &used))
        return false;
    struct slice suffix = slice_from(s, used);
    while (suffix.len && suffix.ptr[0] == ' ')
        suffix = slice_from(suffix, 1);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!slice_eq(suffix, slice_cstr(units[i].suffix)))
            continue;
        if (__builtin_mul_overflow(v, units[i].factor, &bytes))
            return false;
        *out = bytes;
        return true;
    }
    return parse_whole_float(s, out);
}

static bool parse_int(struct slice s, int64_t *out)
{
    bool negative = s.len && s.ptr[0] == '-';
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+'))
        s = slice_from(s, 1);
    uint64_t v;
    size_t used;
    if (!(parse_digits(s, &v, &used) && used == s.len) && !parse_whole_float(s, &v))
        return false;
    if (v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* YAML 1.1's words, which Go's reader takes too. */
static bool parse_bool(struct slice s, bool *out)
{
    static const char *const words[][2] = {{"true", "false"}, {"yes", "no"}, {"on", "off"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        bool yes = slice_eq_nocase(s, slice_cstr(words[i][0]));
        if (yes || slice_eq_nocase(s, slice_cstr(words[i][1]))) {
            *out = yes;
            return true;
        }
    }
    return false;
}

static bool is_choice(const char *choices, struct slice text)
{
    struct slice left = slice_cstr(choices);
    while (left.len) {
        size_t n = slice_find(left, '|');
        if (slice_eq(slice_of(left.ptr, n), text))
            return true;
        left = slice_from(left, n + 1);
    }
    return false;
}

static bool set_string(struct config *c, const struct config_key *k, struct slice *field,
                       struct slice text)
{
    if (k->choices && !is_choice(k->choices, text))
        return false;
    if (text.len && memchr(text.ptr, 0, text.len))
        return false;
    char *copy = arena_cstr(c->arena, text);
    if (copy)
        *field = slice_of(copy, text.len);
    return copy != NULL;
}

static bool set_port(uint16_t *field, struct slice text)
{
    int64_t v;
    if (!parse_int(text, &v) || v < 0 || v > UINT16_MAX)
        return false;
    *field = (uint16_t)v;
    return true;
}

/* Years, weeks and days, which Prometheus has and Go has not, from the front of the text. */
static bool parse_long_units(struct slice *text, int64_t *ns)
{
    static const struct {
        char unit;
        int64_t hours;
    } units[] = {{'y', 365 * 24}, {'w', 7 * 24}, {'d', 24}};
    *ns = 0;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        uint64_t v;
        size_t used = 0;
        while (used < text->len && text->ptr[used] >= '0' && text->ptr[used] <= '9')
            used++;
        if (used == 0 || used == text->len || text->ptr[used] != (uint8_t)units[i].unit)
            continue;
        int64_t part;
        if (!parse_u64(slice_of(text->ptr, used), &v) ||
            __builtin_mul_overflow(v, units[i].hours * 3600 * INT64_C(1000000000), &part) ||
            __builtin_add_overflow(*ns, part, ns))
            return false;
        *text = slice_from(*text, used + 1);
    }
    return true;
}

static bool set_duration(int64_t *field, struct slice text)
{
    int64_t days = 0, ns = 0;
    struct slice rest = text;
    if (!parse_long_units(&rest, &days))
        return false;
    bool only_days = rest.len == 0 && text.len > 0;
    if (!only_days && (!parse_duration(rest, &ns) || ns < 0))
        return false;
    return !__builtin_add_overflow(days, ns, field);
}

bool config_set(struct config *c, const struct config_key *k, void *base, struct slice text)
{
    void *field = config_field(k, base);
    switch (k->type) {
    case CONFIG_STRING:
        return set_string(c, k, field, text);
    case CONFIG_BOOL:
        return parse_bool(text, field);
    case CONFIG_INT:
        return parse_int(text, field);
    case CONFIG_PORT:
        return set_port(field, text);
    case CONFIG_BYTES:
        return parse_bytes(text, field);
    case CONFIG_DURATION:
        return set_duration(field, text);
    case CONFIG_FLOAT:
        return parse_f64(text, field);
    case CONFIG_STRINGS:
    case CONFIG_ITEMS:
    case CONFIG_MAP:
    case CONFIG_PRESENT:
    case CONFIG_ANY:
    case CONFIG_TABLE:
        break;
    }
    return false;
}

static const char *preset_of(const struct config_key *k)
{
    static const char *const zero[] = {
        [CONFIG_STRING] = "", [CONFIG_BOOL] = "false",  [CONFIG_INT] = "0",   [CONFIG_PORT] = "0",
        [CONFIG_BYTES] = "0", [CONFIG_DURATION] = "0s", [CONFIG_FLOAT] = "0",
    };
    if (k->preset)
        return k->preset;
    return config_is_scalar(k->type) ? zero[k->type] : "";
}

void config_set_presets(struct config *c, const struct config_table *table, void *base)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct config_key *k = &table->keys[i];
        if (k->mark != CONFIG_HONOUR || k->instead)
            continue;
        if (config_is_scalar(k->type)) {
            bool usable = config_set(c, k, base, slice_cstr(preset_of(k)));
            assert(usable); /* the table is ours */
            (void)usable;
        } else if (k->type == CONFIG_PRESENT) {
            *(bool *)config_field(k, base) = false;
        }
    }
}

char *config_expected(const struct config_key *k, char *out, size_t out_size)
{
    static const char *const words[] = {
        [CONFIG_STRING] = "a string",
        [CONFIG_BOOL] = "true or false",
        [CONFIG_INT] = "an integer",
        [CONFIG_PORT] = "a port from 0 to 65535",
        [CONFIG_BYTES] = "a size such as 1048576 or 16MiB",
        [CONFIG_DURATION] = "a duration such as 10s or 1h30m",
        [CONFIG_FLOAT] = "a number",
        [CONFIG_STRINGS] = "a list of strings",
        [CONFIG_ITEMS] = "a list of maps",
        [CONFIG_MAP] = "a map",
        [CONFIG_PRESENT] = "a map",
        [CONFIG_ANY] = "a value",
        [CONFIG_TABLE] = "a map",
    };
    size_t at = 0;
    if (!k->choices) {
        snprintf(out, out_size, "%s", words[k->type]);
        return out;
    }
    at += (size_t)snprintf(out, out_size, "one of ");
    for (const char *p = k->choices; *p && at + 3 < out_size; p++) {
        out[at++] = *p == '|' ? ',' : *p;
        if (*p == '|')
            out[at++] = ' ';
    }
    out[at] = 0;
    return out;
}

bool config_same_value(struct slice a, const char *preset)
{
    struct slice b = slice_cstr(preset ? preset : "");
    int64_t da, db;
    double fa, fb;
    uint64_t ua, ub;
    bool ba, bb;
    if (slice_eq(a, b))
        return true;
    if (b.len == 0) /* nothing, zero and false are the same default */
        return (parse_bool(a, &ba) && !ba) || (set_duration(&da, a) && da == 0);
    return (parse_bytes(a, &ua) && parse_bytes(b, &ub) && ua == ub) ||
           (set_duration(&da, a) && set_duration(&db, b) && da == db) ||
           (parse_f64(a, &fa) && parse_f64(b, &fb) && fa == fb) ||
           (parse_bool(a, &ba) && parse_bool(b, &bb) && ba == bb);
}

/* ---- showing them ---- */

/* A string as YAML: bare where that cannot be read as anything else. */
static int write_yaml_string(struct buf *b, struct slice s)
{
    bool bare = s.len > 0 && s.ptr[0] != '-' && s.ptr[0] != '.' && !(s.ptr[0] <= '9');
    for (size_t i = 0; bare && i < s.len; i++) {
        uint8_t c = s.ptr[i];
        bare = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.' || c == '/';
    }
    bool word;
    if (bare && !parse_bool(s, &word) && !slice_eq_nocase(s, SLICE("null")))
        return buf_slice(b, s);
    return buf_json_string(b, s);
}

static int write_value(const struct config_key *k, const void *base, struct buf *b);

static int write_items(const struct config_key *k, const struct config_items *items, struct buf *b)
{
    int rc = buf_str(b, "[");
    for (size_t i = 0; rc == 0 && i < items->count; i++) {
        const uint8_t *item = (const uint8_t *)items->at + i * k->table->item_size;
        rc = buf_str(b, i ? ", {" : "{");
        for (size_t j = 0; rc == 0 && j < k->table->count; j++) {
            rc = buf_printf(b, "%s%s: ", j ? ", " : "", k->table->keys[j].path);
            if (rc == 0)
                rc = write_value(&k->table->keys[j], item, b);
        }
        if (rc == 0)
            rc = buf_str(b, "}");
    }
    return rc == 0 ? buf_str(b, "]") : rc;
}

static int write_strings(const struct config_strings *strings, struct buf *b)
{
    int rc = buf_str(b, "[");
    for (size_t i = 0; rc == 0 && i < strings->count; i++) {
        rc = buf_str(b, i ? ", " : "");
        if (rc == 0)
            rc = write_yaml_string(b, strings->at[i]);
    }
    return rc == 0 ? buf_str(b, "]") : rc;
}

static int write_value(const struct config_key *k, const void *base, struct buf *b)
{
    const void *field = (const uint8_t *)base + k->offset;
    char text[48];
    switch (k->type) {
    case CONFIG_STRING:
        if (k->flags & CONFIG_SECRET && ((const struct slice *)field)->len)
            return buf_str(b, "<secret>");
        return write_yaml_string(b, *(const struct slice *)field);
    case CONFIG_BOOL:
        return buf_str(b, *(const bool *)field ? "true" : "false");
    case CONFIG_INT:
        return buf_printf(b, "%lld", (long long)*(const int64_t *)field);
    case CONFIG_PORT:
        return buf_printf(b, "%u", *(const uint16_t *)field);
    case CONFIG_BYTES:
        return buf_printf(b, "%llu", (unsigned long long)*(const uint64_t *)field);
    case CONFIG_DURATION:
        format_duration(*(const int64_t *)field, text);
        return buf_str(b, text);
    case CONFIG_FLOAT:
        format_f64_json(*(const double *)field, text);
        return buf_str(b, text);
    case CONFIG_STRINGS:
        return write_strings(field, b);
    case CONFIG_ITEMS:
        return write_items(k, field, b);
    case CONFIG_MAP:
    case CONFIG_PRESENT:
    case CONFIG_ANY:
    case CONFIG_TABLE:
        break;
    }
    return 0;
}

static bool differs_from_preset(const struct config_key *k, const void *base)
{
    struct buf b;
    buf_init(&b, LIMIT_CONFIG_BYTES);
    const void *field = (const uint8_t *)base + k->offset;
    bool differs = true;
    if (k->type == CONFIG_STRING)
        differs = !slice_eq(*(const struct slice *)field, slice_cstr(preset_of(k)));
    else if (k->type == CONFIG_PRESENT)
        differs = *(const bool *)field;
    else if (k->type == CONFIG_STRINGS)
        differs = ((const struct config_strings *)field)->count > 0;
    else if (k->type == CONFIG_ITEMS)
        differs = ((const struct config_items *)field)->count > 0;
    else if (write_value(k, base, &b) == 0)
        differs = !config_same_value(buf_view(&b), preset_of(k));
    buf_clear(&b);
    return differs;
}

static bool is_below(const char *path, const char *parent)
{
    size_t n = strlen(parent);
    return strncmp(path, parent, n) == 0 && path[n] == '.';
}

/* Opens the maps that lead to path and are not open since `last`, then writes the last name. */
static int write_path(const char *last, const char *path, unsigned indent, struct buf *b)
{
    size_t depth = 0;
    bool shared = last != NULL;
    for (struct slice left = slice_cstr(path);; depth++) {
        size_t n = slice_find(left, '.');
        bool leaf = n == left.len;
        size_t upto = (size_t)(left.ptr - (const uint8_t *)path) + n;
        /* The map is open when the last path goes through it or is its own line. */
        shared = shared && !leaf && strncmp(last, path, upto) == 0 &&
                 (last[upto] == '.' || last[upto] == 0);
        if (!shared) {
            int rc =
                buf_printf(b, "%*s%.*s:", (int)(indent + depth * 4), "",
                                SLICE_ARGS(slice_of(left.ptr, n)));
            if (rc == 0 && !leaf)
                rc = buf_str(b, "\n");
            if (rc < 0 || leaf)
                return rc;
        }
        left = slice_from(left, n + 1);
    }
}

static int write_default(const struct config_key *k, struct buf *b)
{
    if (k->type == CONFIG_STRING)
        return write_yaml_string(b, slice_cstr(preset_of(k)));
    return buf_str(b, config_is_scalar(k->type) ? preset_of(k) : "[]");
}

int config_write(const struct config *c, enum config_write_mode mode, struct buf *out)
{
    const char *last = NULL, *absent = NULL;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->table->count; i++) {
        const struct config_key *k = &c->table->keys[i];
        if (!k->path || k->instead || k->mark != CONFIG_HONOUR)
            continue;
        if (absent && is_below(k->path, absent))
            continue;
        if (k->type == CONFIG_PRESENT &&
            (mode == CONFIG_WRITE_DEFAULTS || !*(const bool *)config_field(k, c->target))) {
            absent = k->path;
            continue;
        }
        if (mode == CONFIG_WRITE_DIFF && !differs_from_preset(k, c->target))
            continue;
        rc = write_path(last, k->path, 0, out);
        last = k->path;
        if (rc == 0 && k->type != CONFIG_PRESENT)
            rc = buf_str(out, " ");
        if (rc == 0)
            rc = mode == CONFIG_WRITE_DEFAULTS ? write_default(k, out)
                                               : write_value(k, c->target, out);
        if (rc == 0)
            rc = buf_str(out, "\n");
    }
    return rc;
}

int config_write_item(const struct config_table *table, const void *item, unsigned indent,
                      const char *const *remarks, struct buf *out)
{
    const char *last = NULL;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < table->count; i++) {
        const struct config_key *k = &table->keys[i];
        if (!k->path || k->instead || k->mark != CONFIG_HONOUR || (remarks && !remarks[i]))
            continue;
        rc = write_path(last, k->path, indent, out);
        last = k->path;
        rc = rc < 0 ? rc : buf_str(out, " ");
        rc = rc < 0 ? rc : write_value(k, item, out);
        if (rc == 0 && remarks && *remarks[i])
            rc = buf_printf(out, " # %s", remarks[i]);
        rc = rc < 0 ? rc : buf_str(out, "\n");
    }
    return rc;
}

/* ---- merging ---- */

void config_merge(const struct config_table *table, void *into, const void *from,
                  const uint32_t *set)
{
    static const size_t sizes[] = {
        [CONFIG_STRING] = sizeof(struct slice),
        [CONFIG_BOOL] = sizeof(bool),
        [CONFIG_INT] = sizeof(int64_t),
        [CONFIG_PORT] = sizeof(uint16_t),
        [CONFIG_BYTES] = sizeof(uint64_t),
        [CONFIG_DURATION] = sizeof(int64_t),
        [CONFIG_FLOAT] = sizeof(double),
        [CONFIG_STRINGS] = sizeof(struct config_strings),
        [CONFIG_ITEMS] = sizeof(struct config_items),
        [CONFIG_MAP] = sizeof(struct config_map),
        [CONFIG_PRESENT] = sizeof(bool),
        [CONFIG_ANY] = 0,
        [CONFIG_TABLE] = 0,
    };
    for (size_t i = 0; i < table->count; i++) {
        const struct config_key *k = &table->keys[i];
        if (set[i] && k->mark == CONFIG_HONOUR)
            memcpy(config_field(k, into), (const uint8_t *)from + k->offset, sizes[k->type]);
    }
}
