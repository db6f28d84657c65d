/* Reads a configuration file: libyaml takes the text apart, the table says what it means.
 *
 * The document is checked whole first (depth, number of nodes, keys that are scalars, no key
 * twice), then walked along the table. Every finding becomes a note with its line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/config_priv.h"
#include "base/text.h"

/* Longest name that is compared for a suggestion. */
#define NAME_BYTES_MAX 63
#define SHOWN_BYTES 60

struct walk {
    struct config *c;
    yaml_document_t *doc;
    const char *file;
    size_t nodes;
};

/* Where a map of the file stands in a table. */
struct place {
    const struct config_table *table;
    void *base;
    uint32_t *set;      /* by row of the table: the line that set it; NULL: nobody asks */
    const char *prefix; /* path in the table, "" at its top */
    const char *shown;  /* path from the top of the file, for messages */
};

static size_t line_of(const yaml_node_t *n)
{
    return n->start_mark.line + 1;
}

static struct slice scalar_text(const yaml_node_t *n)
{
    return slice_of(n->data.scalar.value, n->data.scalar.length);
}

static bool is_null(const yaml_node_t *n)
{
    if (n->type != YAML_SCALAR_NODE || n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    struct slice s = scalar_text(n);
    return s.len == 0 || slice_eq(s, SLICE("~")) || slice_eq_nocase(s, SLICE("null"));
}

/* Nothing in it: null, {}, []. */
static bool is_empty(const yaml_node_t *n)
{
    if (n->type == YAML_MAPPING_NODE)
        return n->data.mapping.pairs.start == n->data.mapping.pairs.top;
    if (n->type == YAML_SEQUENCE_NODE)
        return n->data.sequence.items.start == n->data.sequence.items.top;
    return is_null(n);
}

static char *found(const yaml_node_t *n, const struct config_key *k, char *out, size_t out_size)
{
    char text[SHOWN_BYTES * 4 + 8];
    if (n->type == YAML_MAPPING_NODE)
        snprintf(out, out_size, "a map");
    else if (n->type == YAML_SEQUENCE_NODE)
        snprintf(out, out_size, "a list");
    else if (is_null(n))
        snprintf(out, out_size, "nothing");
    else if (k && k->flags & CONFIG_SECRET)
        snprintf(out, out_size, "a value that is not shown");
    else
        snprintf(out, out_size, "\"%s\"",
                 text_escape(scalar_text(n), SHOWN_BYTES, text, sizeof text));
    return out;
}

/* at: the node whose line is told, the key where there is one. */
static void wrong_type(struct walk *w, const yaml_node_t *at, const yaml_node_t *n,
                       const char *path, const struct config_key *k)
{
    char expected[160], what[SHOWN_BYTES * 4 + 16];
    config_add_note(w->c, true, "%s:%zu: %s: expected %s, found %s", w->file, line_of(at), path,
                    k ? config_expected(k, expected, sizeof expected) : "a map",
                    found(n, k, what, sizeof what));
}

/* ---- the check of the whole document ---- */

struct named {
    struct slice name;
    size_t line;
};

static int compare_named(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    int c = slice_cmp(x->name, y->name);
    return c ? c : (x->line > y->line) - (x->line < y->line);
}

/* Names of one map, sorted, so that a name that stands twice stands side by side. */
static bool check_names(struct walk *w, const yaml_node_t *map)
{
    size_t count = (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
    struct named *names = calloc(count ? count : 1, sizeof *names);
    bool fine = names != NULL;
    if (!names)
        config_add_note(w->c, true, "%s: out of memory", w->file);
    for (size_t i = 0; names && i < count; i++) {
        const yaml_node_t *key =
            yaml_document_get_node(w->doc, map->data.mapping.pairs.start[i].key);
        if (key->type != YAML_SCALAR_NODE) {
            config_add_note(w->c, true, "%s:%zu: expected a name, found %s", w->file, line_of(key),
                            key->type == YAML_MAPPING_NODE ? "a map" : "a list");
            fine = false;
            continue;
        }
        names[i] = (struct named){scalar_text(key), line_of(key)};
        if (slice_eq(names[i].name, SLICE("<<"))) {
            config_add_note(w->c, true, "%s:%zu: merge keys (<<) are not supported", w->file,
                            line_of(key));
            fine = false;
        }
    }
    if (names)
        qsort(names, count, sizeof *names, compare_named);
    for (size_t i = 1; names && i < count; i++) {
        char shown[SHOWN_BYTES * 4];
        if (names[i].line && names[i - 1].line && slice_eq(names[i].name, names[i - 1].name)) {
            config_add_note(w->c, true, "%s:%zu: key \"%s\" is set twice, first at line %zu",
                            w->file, names[i].line,
                            text_escape(names[i].name, SHOWN_BYTES, shown, sizeof shown),
                            names[i - 1].line);
            fine = false;
        }
    }
    free(names);
    return fine;
}

/* False: the document must not be walked any further. Recursion ends at LIMIT_CONFIG_DEPTH. */
static bool check_node(struct walk *w, int index, unsigned depth)
{
    const yaml_node_t *n = yaml_document_get_node(w->doc, index);
    if (depth > LIMIT_CONFIG_DEPTH) {
        config_add_note(w->c, true, "%s:%zu: nested deeper than %d levels", w->file, line_of(n),
                        LIMIT_CONFIG_DEPTH);
        return false;
    }
    if (++w->nodes > LIMIT_CONFIG_NODES) {
        config_add_note(w->c, true, "%s:%zu: more than %zu values", w->file, line_of(n),
                        LIMIT_CONFIG_NODES);
        return false;
    }
    if (n->type == YAML_SEQUENCE_NODE) {
        const yaml_node_item_t *end = n->data.sequence.items.top;
        for (const yaml_node_item_t *i = n->data.sequence.items.start; i != end; i++) {
            if (!check_node(w, *i, depth + 1))
                return false;
        }
    }
    if (n->type == YAML_MAPPING_NODE) {
        if (!check_names(w, n))
            return false;
        const yaml_node_pair_t *end = n->data.mapping.pairs.top;
        for (const yaml_node_pair_t *i = n->data.mapping.pairs.start; i != end; i++) {
            if (!check_node(w, i->value, depth + 1))
                return false;
        }
    }
    return true;
}

/* ---- names that are not known ---- */

/* Edits (insert, remove, replace, swap neighbours) that lead from a to b; only small ones matter,
 * so long names are not compared. */
static size_t edit_distance(struct slice a, struct slice b)
{
    size_t rows[3][NAME_BYTES_MAX + 1];
    if (a.len > NAME_BYTES_MAX || b.len > NAME_BYTES_MAX)
        return SIZE_MAX;
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.len; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t best = last[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b.len];
}

/* The part of a row's path that comes after the prefix, up to the next dot; empty: another place.*/
static struct slice next_name(const struct config_key *k, const char *prefix)
{
    if (!k->path)
        return slice_of(NULL, 0);
    struct slice path = slice_cstr(k->path);
    struct slice lead = slice_cstr(prefix);
    if (lead.len) {
        if (!slice_starts(path, lead) || path.len <= lead.len || path.ptr[lead.len] != '.')
            return slice_of(NULL, 0);
        path = slice_from(path, lead.len + 1);
    }
    path.len = slice_find(path, '.');
    return path;
}

static void unknown_key(struct walk *w, const struct place *at, const yaml_node_t *key,
                        const char *path)
{
    struct slice name = scalar_text(key), best = {0};
    /* One edit in three letters may be wrong, but always two. */
    size_t nearest = name.len / 3 > 2 ? name.len / 3 : 2;
    for (size_t i = 0; i < at->table->count; i++) {
        struct slice known = next_name(&at->table->keys[i], at->prefix);
        size_t distance = known.len ? edit_distance(name, known) : SIZE_MAX;
        if (distance <= nearest && distance < known.len) {
            best = known;
            nearest = distance - (distance > 0);
        }
    }
    if (best.len)
        config_add_note(w->c, false, "%s:%zu: unknown key \"%s\"; did you mean \"%.*s\"?", w->file,
                        line_of(key), path, SLICE_ARGS(best));
    else
        config_add_note(w->c, false, "%s:%zu: unknown key \"%s\"", w->file, line_of(key), path);
}

/* ---- the walk along the table ---- */

static void apply_map(struct walk *w, const struct place *at, const yaml_node_t *map);

static const struct config_key *find_key(const struct config_table *t, const char *path)
{
    for (size_t i = 0; i < t->count; i++) {
        const char *known = t->keys[i].path;
        if (!known)
            continue;
        size_t n = strlen(known);
        bool prefix = n && known[n - 1] == '*';
        if (prefix ? strncmp(known, path, n - 1) == 0 : strcmp(known, path) == 0)
            return &t->keys[i];
    }
    return NULL;
}

static bool has_keys_below(const struct config_table *t, const char *path)
{
    for (size_t i = 0; i < t->count; i++) {
        if (next_name(&t->keys[i], path).len)
            return true;
    }
    return false;
}

/* A key that is known but not honoured: silent when it says what the default says anyway. */
static void apply_unused(struct walk *w, const struct place *at, const struct config_key *k,
                         const yaml_node_t *key, const yaml_node_t *value, const char *shown)
{
    if (k->type == CONFIG_TABLE) {
        if (value->type == YAML_MAPPING_NODE)
            apply_map(w, &(struct place){k->table, at->base, NULL, "", shown}, value);
        else if (!is_null(value))
            wrong_type(w, key, value, shown, k);
        return;
    }
    bool harmless = k->type != CONFIG_PRESENT && is_empty(value);
    if (value->type == YAML_SCALAR_NODE && k->type != CONFIG_PRESENT)
        harmless = harmless || config_same_value(scalar_text(value), k->preset);
    if (harmless)
        return;
    const char *because = k->help ? k->help : "";
    if (k->mark == CONFIG_REJECT)
        config_add_note(w->c, true, "%s:%zu: \"%s\" cannot be honoured here%s%s", w->file,
                        line_of(key), shown, *because ? ": " : "", because);
    else
        config_add_note(w->c, false, "%s:%zu: \"%s\" has no effect here and is ignored%s%s",
                        w->file, line_of(key), shown, *because ? ": " : "", because);
}

static void apply_strings(struct walk *w, const struct config_key *k, void *base,
                          const yaml_node_t *value, const char *shown)
{
    size_t count = (size_t)(value->data.sequence.items.top - value->data.sequence.items.start);
    struct config_strings list = {arena_array(w->c->arena, struct slice, count), 0};
    if (!list.at) {
        config_add_note(w->c, true, "%s:%zu: %s: out of memory", w->file, line_of(value), shown);
        return;
    }
    for (; list.count < count; list.count++) {
        const yaml_node_t *n =
            yaml_document_get_node(w->doc, value->data.sequence.items.start[list.count]);
        struct slice text = n->type == YAML_SCALAR_NODE ? scalar_text(n) : (struct slice){0};
        char *copy = n->type == YAML_SCALAR_NODE ? arena_cstr(w->c->arena, text) : NULL;
        if (!copy) {
            wrong_type(w, n, n, shown, k);
            return;
        }
        list.at[list.count] = slice_of(copy, text.len);
    }
    *(struct config_strings *)config_field(k, base) = list;
}

static void apply_items(struct walk *w, const struct config_key *k, void *base,
                        const yaml_node_t *value, const char *shown)
{
    size_t count = (size_t)(value->data.sequence.items.top - value->data.sequence.items.start);
    size_t size = k->table->item_size;
    uint8_t *items = arena_alloc_array(w->c->arena, count, size);
    if (!items) {
        config_add_note(w->c, true, "%s:%zu: %s: out of memory", w->file, line_of(value), shown);
        return;
    }
    memset(items, 0, count * size);
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *n = yaml_document_get_node(w->doc, value->data.sequence.items.start[i]);
        if (n->type != YAML_MAPPING_NODE) {
            wrong_type(w, n, n, shown, k);
            return;
        }
        config_set_presets(w->c, k->table, items + i * size);
        apply_map(w, &(struct place){k->table, items + i * size, NULL, "", shown}, n);
    }
    *(struct config_items *)config_field(k, base) = (struct config_items){items, count};
}

/* A map whose names are the user's: each value is a map that the row's table describes. */
static void apply_entries(struct walk *w, const struct config_key *k, void *base,
                          const yaml_node_t *value, const char *shown)
{
    const yaml_node_pair_t *pairs = value->data.mapping.pairs.start;
    size_t count = (size_t)(value->data.mapping.pairs.top - pairs);
    struct arena *a = w->c->arena;
    struct config_map map = {k->table, arena_array(a, struct config_entry, count), 0};
    char name[SHOWN_BYTES * 4];
    bool room = map.at != NULL;
    for (; map.count < count && room; map.count++) {
        struct config_entry *e = &map.at[map.count];
        const yaml_node_t *key = yaml_document_get_node(w->doc, pairs[map.count].key);
        const yaml_node_t *n = yaml_document_get_node(w->doc, pairs[map.count].value);
        uint32_t *set = arena_zalloc(a, k->table->count * sizeof *set);
        e->item = arena_zalloc(a, k->table->item_size);
        e->set = set;
        const char *at = arena_printf(
            a, "%s.%s", shown, text_escape(scalar_text(key), SHOWN_BYTES, name, sizeof name));
        room = set && e->item && at && arena_slice(a, scalar_text(key), &e->name);
        if (!room)
            break;
        config_set_presets(w->c, k->table, e->item);
        if (n->type == YAML_MAPPING_NODE)
            apply_map(w, &(struct place){k->table, e->item, set, "", at}, n);
        else if (!is_null(n))
            wrong_type(w, key, n, at, k);
    }
    if (!room)
        config_add_note(w->c, true, "%s:%zu: %s: out of memory", w->file, line_of(value), shown);
    *(struct config_map *)config_field(k, base) = map;
}

/* Remembers that the row was set; two names of one value in one file are a fault. */
static void mark_set(struct walk *w, const struct place *at, const struct config_key *k,
                     const yaml_node_t *key)
{
    const struct config_table *t = at->table;
    for (size_t i = 0; i < t->count; i++) {
        const struct config_key *other = &t->keys[i];
        bool same_value = other != k && other->path &&
                          ((k->instead && strcmp(k->instead, other->path) == 0) ||
                           (other->instead && strcmp(other->instead, k->path) == 0));
        if (same_value && at->set[i] && at->set[i] != SET_BY_FLAG)
            config_add_note(w->c, true,
                            "%s:%zu: \"%s\" and \"%s\" (line %u) are one setting: keep one",
                            w->file, line_of(key), k->path, other->path, at->set[i]);
    }
    at->set[k - t->keys] = (uint32_t)line_of(key);
}

static void apply_list(struct walk *w, const struct place *at, const struct config_key *k,
                       const yaml_node_t *key, const yaml_node_t *value, const char *shown)
{
    if (value->type != YAML_SEQUENCE_NODE || k->type == CONFIG_MAP)
        wrong_type(w, key, value, shown, k);
    else if (k->type == CONFIG_STRINGS)
        apply_strings(w, k, at->base, value, shown);
    else
        apply_items(w, k, at->base, value, shown);
}

static void apply_key(struct walk *w, const struct place *at, const struct config_key *k,
                      const yaml_node_t *key, const yaml_node_t *value, const char *path,
                      const char *shown)
{
    if (k->mark != CONFIG_HONOUR) {
        apply_unused(w, at, k, key, value, shown);
        return;
    }
    if (k->instead)
        config_add_note(w->c, false, "%s:%zu: \"%s\" is deprecated: use \"%s\"", w->file,
                        line_of(key), shown, k->instead);
    if (k->type != CONFIG_PRESENT && is_null(value))
        return; /* a name without a value leaves the default */
    if (at->set)
        mark_set(w, at, k, key);
    if (k->type == CONFIG_PRESENT) {
        *(bool *)config_field(k, at->base) = true;
        if (value->type == YAML_MAPPING_NODE)
            apply_map(w, &(struct place){at->table, at->base, at->set, path, shown}, value);
        else if (!is_null(value))
            wrong_type(w, key, value, shown, k);
    } else if (config_is_scalar(k->type)) {
        if (value->type != YAML_SCALAR_NODE || !config_set(w->c, k, at->base, scalar_text(value)))
            wrong_type(w, key, value, shown, k);
    } else if (k->type == CONFIG_MAP && value->type == YAML_MAPPING_NODE) {
        apply_entries(w, k, at->base, value, shown);
    } else {
        apply_list(w, at, k, key, value, shown);
    }
}

static void apply_pair(struct walk *w, const struct place *at, const yaml_node_t *key,
                       const yaml_node_t *value)
{
    char escaped[SHOWN_BYTES * 4];
    struct slice name = scalar_text(key);
    text_escape(name, SHOWN_BYTES, escaped, sizeof escaped);
    const char *shown =
        arena_printf(w->c->arena, "%s%s%s", at->shown, *at->shown ? "." : "", escaped);
    char *cname = arena_cstr(w->c->arena, name);
    const char *path =
        cname ? arena_printf(w->c->arena, "%s%s%s", at->prefix, *at->prefix ? "." : "", cname)
              : NULL;
    if (!shown || !path) {
        config_add_note(w->c, true, "%s:%zu: out of memory", w->file, line_of(key));
        return;
    }
    /* A dot inside a name would read as a step down the path. */
    bool plain = name.len && slice_find(name, '.') == name.len && strlen(cname) == name.len;
    const struct config_key *k = plain ? find_key(at->table, path) : NULL;
    if (k)
        apply_key(w, at, k, key, value, path, shown);
    else if (!plain || !has_keys_below(at->table, path))
        unknown_key(w, at, key, shown);
    else if (value->type == YAML_MAPPING_NODE)
        apply_map(w, &(struct place){at->table, at->base, at->set, path, shown}, value);
    else if (!is_null(value))
        wrong_type(w, key, value, shown, NULL);
}

/* Recursion follows the document, whose depth check_node has bounded. */
static void apply_map(struct walk *w, const struct place *at, const yaml_node_t *map)
{
    const yaml_node_pair_t *end = map->data.mapping.pairs.top;
    for (const yaml_node_pair_t *i = map->data.mapping.pairs.start; i != end; i++)
        apply_pair(w, at, yaml_document_get_node(w->doc, i->key),
                   yaml_document_get_node(w->doc, i->value));
}

/* ---- the file ---- */

static void apply_document(struct config *c, const char *file, yaml_document_t *doc)
{
    struct walk w = {c, doc, file, 0};
    const yaml_node_t *root = yaml_document_get_root_node(doc);
    if (!root || is_null(root))
        return; /* an empty file is a file of defaults */
    if (root->type != YAML_MAPPING_NODE) {
        wrong_type(&w, root, root, "the file", NULL);
        return;
    }
    if (check_node(&w, 1, 0))
        apply_map(&w, &(struct place){c->table, c->target, c->set_line, "", ""}, root);
}

static void parse_fault(struct config *c, const char *file, const yaml_parser_t *p)
{
    if (p->error == YAML_MEMORY_ERROR)
        config_add_note(c, true, "%s: out of memory", file);
    else if (p->error == YAML_READER_ERROR)
        config_add_note(c, true, "%s: %s at byte %zu", file, p->problem, p->problem_offset);
    else
        config_add_note(c, true, "%s:%zu: %s%s%s", file, p->problem_mark.line + 1,
                        p->context ? p->context : "", p->context ? ": " : "", p->problem);
}

/* One document, and nothing behind it. */
static void read_documents(struct config *c, const char *file, struct slice text)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser)) {
        config_add_note(c, true, "%s: out of memory", file);
        return;
    }
    yaml_parser_set_input_string(&parser, text.ptr ? text.ptr : (const uint8_t *)"", text.len);
    for (int i = 0; i < 2; i++) {
        if (!yaml_parser_load(&parser, &doc)) {
            parse_fault(c, file, &parser);
            break;
        }
        bool end = yaml_document_get_root_node(&doc) == NULL;
        if (i == 0)
            apply_document(c, file, &doc);
        else if (!end)
            config_add_note(c, true, "%s:%zu: expected one YAML document, found a second", file,
                            line_of(yaml_document_get_root_node(&doc)));
        yaml_document_delete(&doc);
        if (end)
            break;
    }
    yaml_parser_delete(&parser);
}

static int first_fault(const struct config *c, struct err *err)
{
    size_t faults = 0;
    const char *first = NULL;
    for (uint32_t i = 0; i < c->notes.count; i++) {
        if (!c->notes.at[i].fault)
            continue;
        first = faults++ ? first : c->notes.at[i].text;
    }
    if (!faults)
        return 0;
    if (faults == 1)
        return err_set(err, ERR_INVALID, "%s", first);
    return err_set(err, ERR_INVALID, "%.400s (and %zu more)", first, faults - 1);
}

int config_read_yaml(struct config *c, const char *name, struct slice text, config_env_fn *env,
                     void *env_ctx, struct err *err)
{
    struct buf expanded;
    buf_init(&expanded, LIMIT_CONFIG_BYTES);
    if (text.len > LIMIT_CONFIG_BYTES)
        return err_set(err, ERR_LIMIT, "%s: %zu bytes, more than the %zu that are read", name,
                       text.len, LIMIT_CONFIG_BYTES);
    if (env) {
        int rc = config_expand_env(text, env, env_ctx, &expanded, err);
        if (rc < 0) {
            buf_clear(&expanded);
            return err ? err_wrap(err, "%s", name) : rc;
        }
        text = buf_view(&expanded);
    }
    c->file = arena_printf(c->arena, "%s", name);
    memset(c->set_line, 0, c->table->count * sizeof *c->set_line);
    read_documents(c, name, text);
    buf_clear(&expanded);
    return first_fault(c, err);
}

int config_file_text(const char *path, const char **name, struct buf *out, struct err *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "cannot open %s: %m", path);
    int rc = 0;
    uint8_t part[16384];
    for (size_t n; rc == 0 && (n = fread(part, 1, sizeof part, f)) > 0;)
        rc = buf_append(out, part, n);
    if (rc == ERR_LIMIT)
        rc = err_set(err, ERR_LIMIT, "%s: more than the %zu bytes that are read", path, out->max);
    else if (rc < 0)
        rc = err_set(err, rc, "no memory to read %s", path);
    else if (ferror(f))
        rc = err_set(err, ERR_IO, "cannot read %s: %m", path);
    fclose(f);
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    return rc;
}

int config_read_file(struct config *c, const char *path, config_env_fn *env, void *env_ctx,
                     struct err *err)
{
    struct buf text;
    const char *name;
    buf_init(&text, LIMIT_CONFIG_BYTES);
    int rc = config_file_text(path, &name, &text, err);
    if (rc == 0)
        rc = config_read_yaml(c, name, buf_view(&text), env, env_ctx, err);
    buf_clear(&text);
    return rc;
}
