/* The command line, and the help text: both from the table. */
#include <stdio.h>

#include "base/config_priv.h"
#include "base/text.h"

/* Longest flag name that is shown back. */
#define SHOWN_BYTES 80

static const struct config_key *find_flag(const struct config *c, struct slice name)
{
    for (size_t i = 0; i < c->table->count; i++) {
        const char *flag = c->table->keys[i].flag;
        if (!flag)
            continue;
        size_t n = strlen(flag);
        bool prefix = n && flag[n - 1] == '*';
        if (prefix ? slice_starts(name, slice_of(flag, n - 1)) : slice_eq(name, slice_of(flag, n)))
            return &c->table->keys[i];
    }
    return NULL;
}

static int bad_value(const struct config_key *k, struct slice text, struct err *err)
{
    char expected[128], found[SHOWN_BYTES * 4];
    config_expected(k, expected, sizeof expected);
    if (k->flags & CONFIG_SECRET)
        return err_set(err, ERR_INVALID, "flag -%s: expected %s", k->flag, expected);
    return err_set(err, ERR_INVALID, "flag -%s: expected %s, found \"%s\"", k->flag, expected,
                   text_escape(text, SHOWN_BYTES, found, sizeof found));
}

static int apply(struct config *c, const struct config_given *g, struct err *err)
{
    if (g->key->mark != CONFIG_HONOUR)
        return 0;
    if (!config_set(c, g->key, c->target, g->text))
        return bad_value(g->key, g->text, err);
    c->set_line[g->key - c->table->keys] = SET_BY_FLAG;
    return 0;
}

static int take(struct config *c, const struct config_key *k, struct slice text, struct err *err)
{
    struct config_given g = {k, text};
    if (k->mark == CONFIG_REJECT && !config_same_value(text, k->preset))
        return err_set(err, ERR_INVALID, "flag -%s cannot be honoured here%s%s", k->flag,
                       k->help ? ": " : "", k->help ? k->help : "");
    if (k->mark == CONFIG_IGNORE && !config_same_value(text, k->preset))
        config_add_note(c, false, "flag -%s has no effect here and is ignored", k->flag);
    if (k->mark == CONFIG_HONOUR && k->instead)
        config_add_note(c, false, "flag -%s is deprecated: it means \"%s\"", k->flag, k->instead);
    if (!vec_push(&c->given, g))
        return err_set(err, ERR_NOMEM, "no memory for flag -%s", k->flag);
    return apply(c, &g, err);
}

/* Whether the argument after a boolean flag is its value, as in "-config.expand-env true". */
static bool is_bool_word(const char *arg)
{
    return arg && (strcmp(arg, "true") == 0 || strcmp(arg, "false") == 0);
}

/* One flag at argv[*i]; moves *i to the last argument that it used. */
static int parse_flag(struct config *c, int argc, char *const *argv, int *i, struct err *err)
{
    struct slice arg = slice_cstr(argv[*i]);
    char shown[SHOWN_BYTES * 4];
    if (arg.len < 2 || arg.ptr[0] != '-')
        return err_set(err, ERR_INVALID, "unexpected argument \"%s\"",
                       text_escape(arg, SHOWN_BYTES, shown, sizeof shown));
    struct slice name = slice_from(arg, arg.ptr[1] == '-' ? 2 : 1);
    size_t equals = slice_find(name, '=');
    bool has_value = equals < name.len;
    struct slice text = slice_from(name, equals + 1);
    name.len = equals;
    const struct config_key *k = name.len ? find_flag(c, name) : NULL;
    if (!k)
        return err_set(err, ERR_INVALID, "flag provided but not defined: -%s",
                       text_escape(name, SHOWN_BYTES, shown, sizeof shown));
    const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    if (!has_value && k->type == CONFIG_BOOL && !is_bool_word(next)) {
        text = SLICE("true");
    } else if (!has_value) {
        if (!next)
            return err_set(err, ERR_INVALID, "flag needs an argument: -%s", k->flag);
        text = slice_cstr(next);
        (*i)++;
    }
    return take(c, k, text, err);
}

int config_parse_flags(struct config *c, int argc, char *const *argv, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        int rc = parse_flag(c, argc, argv, &i, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int config_apply_flags(struct config *c, struct err *err)
{
    for (uint32_t i = 0; i < c->given.count; i++) {
        int rc = apply(c, &c->given.at[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int usage_line(struct buf *b, const char *lead, const char *name, const struct config_key *k)
{
    static const char *const kinds[] = {
        [CONFIG_STRING] = "string", [CONFIG_BOOL] = "",        [CONFIG_INT] = "int",
        [CONFIG_PORT] = "port",     [CONFIG_BYTES] = "bytes",  [CONFIG_DURATION] = "duration",
        [CONFIG_FLOAT] = "float",   [CONFIG_STRINGS] = "list", [CONFIG_ITEMS] = "list",
        [CONFIG_MAP] = "map",
        [CONFIG_PRESENT] = "",      [CONFIG_ANY] = "value",    [CONFIG_TABLE] = "map",
    };
    const char *kind = kinds[k->type];
    int rc = buf_printf(b, "  %s%s%s%s\n        ", lead, name, *kind ? " " : "", kind);
    if (rc == 0)
        rc = buf_str(b, k->help ? k->help : "");
    if (rc == 0 && k->choices) {
        char choices[160];
        rc = buf_printf(b, " %c%s.", 'O', config_expected(k, choices, sizeof choices) + 1);
    }
    if (rc == 0 && k->preset && *k->preset)
        rc = buf_printf(b, " (default %s)", k->preset);
    return rc == 0 ? buf_str(b, "\n") : rc;
}

int config_usage(const struct config *c, const char *program, struct buf *out)
{
    int rc = buf_printf(out, "Usage: %s [flags]\n\nFlags, with one or two dashes:\n", program);
    for (size_t i = 0; rc == 0 && i < c->table->count; i++) {
        const struct config_key *k = &c->table->keys[i];
        if (k->flag && k->mark == CONFIG_HONOUR && !k->instead)
            rc = usage_line(out, "-", k->flag, k);
    }
    if (rc == 0)
        rc = buf_str(out, "\nKeys of the configuration file (YAML, nested at each dot):\n");
    for (size_t i = 0; rc == 0 && i < c->table->count; i++) {
        const struct config_key *k = &c->table->keys[i];
        if (k->path && k->mark == CONFIG_HONOUR && !k->instead)
            rc = usage_line(out, "", k->path, k);
    }
    return rc;
}
