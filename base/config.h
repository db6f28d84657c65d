/* Configuration: one table of keys, read from YAML and from flags into a struct with typed fields.
 *
 * A program describes all keys it knows in a struct config_table. The readers, the help text and
 * the page of the live configuration come from it. An unknown key and an ignored one are warnings,
 * a value that cannot be used is a fault; all notes of a file are collected before anything is
 * decided, so that the operator sees every one at once. A reader may be called again: what it sets
 * replaces what was there.
 *
 * Files are foreign bytes: size, depth and number of nodes are limited. Not for two threads at
 * once while reading; read-only afterwards. Values live as long as the struct config. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum config_type {
    CONFIG_STRING,   /* struct slice, with a NUL behind it */
    CONFIG_BOOL,     /* bool */
    CONFIG_INT,      /* int64_t */
    CONFIG_PORT,     /* uint16_t */
    CONFIG_BYTES,    /* uint64_t: 16777216, 16MiB, 1_000_000 */
    CONFIG_DURATION, /* int64_t, nanoseconds, never negative: 250ms, 1h30m */
    CONFIG_FLOAT,    /* double */
    CONFIG_STRINGS,  /* struct config_strings */
    CONFIG_ITEMS,    /* struct config_items: a list of maps, each described by key->table */
    CONFIG_MAP,      /* struct config_map: a map of any names to maps, each described by key->table */
    CONFIG_PRESENT,  /* bool: the key is there, with or without a body */
    CONFIG_ANY,      /* no field: a known name, whatever it holds; never honoured */
    CONFIG_TABLE,    /* no field: a map of known names, described by key->table; never honoured */
};

enum config_mark {
    CONFIG_HONOUR,
    CONFIG_IGNORE, /* a warning when the value differs from the default */
    CONFIG_REJECT, /* a fault when the value differs from the default */
};

enum config_key_flags {
    CONFIG_SECRET = 1 << 0, /* the value is never shown */
};

struct config_strings {
    struct slice *at;
    size_t count;
};

struct config_items {
    void *at; /* key->table->item_size bytes each */
    size_t count;
};

struct config_table;

/* One of CONFIG_MAP. Fields that the file does not name have their defaults. */
struct config_entry {
    struct slice name;
    void *item;          /* table->item_size bytes */
    const uint32_t *set; /* by row: the line that set it; 0: none did */
};

struct config_map {
    const struct config_table *table; /* of an entry, its parts joined */
    struct config_entry *at;
    size_t count;
};

/* A row. Rows that share a first part of their path stand together. */
struct config_key {
    const char *path; /* "storage.trace.backend"; ends in '*': any name that starts so, below
                         which nothing is looked at; NULL: a flag only */
    enum config_type type;
    enum config_mark mark;
    unsigned flags;
    size_t offset;          /* of the field in the target */
    const char *preset;     /* the default, as it would be written; NULL: empty, zero, false */
    const char *help;       /* a sentence; for IGNORE and REJECT: why, may be NULL */
    const char *flag;       /* without dashes; ends in '*': any flag that starts so; NULL: none */
    const char *choices;    /* CONFIG_STRING: "local|s3" */
    const char *instead;    /* this is a deprecated name of that path; both have one field */
    const struct config_table *table; /* CONFIG_ITEMS, CONFIG_MAP, CONFIG_TABLE */
};

/* Rows of another table, as if they stood behind the table's own. */
struct config_part {
    const struct config_table *table; /* without parts */
    const char *prefix;               /* of all its paths; NULL: none */
    const char *instead_prefix;       /* of the paths that its deprecated names stand for */
    size_t offset;                    /* of its target in the whole target */
};

struct config_table {
    const struct config_key *keys;
    size_t count;
    size_t item_size; /* CONFIG_ITEMS, CONFIG_MAP: bytes of one item */
    const struct config_part *parts; /* of the table that config_new is given, and of CONFIG_MAP */
    size_t part_count;
};

struct config_note {
    bool fault;       /* false: a warning */
    const char *text; /* "tempo.yaml:12: unknown key …" */
};

struct config;

/* Sets all fields of target to their defaults. target and table outlive the config. */
int config_new(const struct config_table *table, void *target, struct config **out,
               struct err *err);
void config_free(struct config *c); /* NULL is fine */

/* One or two dashes, "-x=v" or "-x v", a boolean "-x" alone. Applies what it reads at once, and
 * keeps it for config_apply_flags, which is called after the file, because flags win. Fails with
 * ERR_INVALID at the first flag that is unknown or has no usable value. */
int config_parse_flags(struct config *c, int argc, char *const *argv, struct err *err);
int config_apply_flags(struct config *c, struct err *err);

/* Value of an environment variable, or NULL. */
typedef const char *(config_env_fn)(void *ctx, const char *name);

/* Reads YAML; name is used in the notes. ERR_INVALID: there are faults, told by the notes; err has
 * the first one. env may be NULL: no expansion of ${VAR}. */
int config_read_yaml(struct config *c, const char *name, struct slice text, config_env_fn *env,
                     void *env_ctx, struct err *err);
/* The text of a file; name is the path's last part, for the notes. ERR_NOTFOUND, ERR_IO, ERR_LIMIT. */
int config_file_text(const char *path, const char **name, struct buf *out, struct err *err);
/* Both. */
int config_read_file(struct config *c, const char *path, config_env_fn *env, void *env_ctx,
                     struct err *err);

/* ${V}, ${V:-d}, ${V:=d} and ${V=d} (d when V is unset or empty), "$$" for "$". */
int config_expand_env(struct slice text, config_env_fn *env, void *env_ctx, struct buf *out,
                      struct err *err);

/* For checks that the table cannot express. add_fault puts the place where the key was set, and its
 * path, before the text, which is cut at 1000 bytes. */
__attribute__((format(printf, 3, 4))) void config_add_fault(struct config *c, const char *path,
                                                            const char *fmt, ...);
__attribute__((format(printf, 3, 4))) void config_add_note(struct config *c, bool fault,
                                                           const char *fmt, ...);
size_t config_note_count(const struct config *c);
struct config_note config_note_at(const struct config *c, size_t i);

/* Whether a file or a flag has set the key of that path (or a deprecated name of it). */
bool config_is_set(const struct config *c, const char *path);

enum config_write_mode { CONFIG_WRITE_ALL, CONFIG_WRITE_DIFF, CONFIG_WRITE_DEFAULTS };
/* YAML of the honoured keys; secrets as <secret>. DIFF: those that differ from their default. */
int config_write(const struct config *c, enum config_write_mode mode, struct buf *out);
/* Copies the fields of the rows that are set, and of their deprecated names. */
void config_merge(const struct config_table *table, void *into, const void *from,
                  const uint32_t *set);
/* YAML of an item's honoured fields, below `indent` spaces. With remarks (by row) only the rows that
 * have one, which stands behind the value as a comment where it is not empty. */
int config_write_item(const struct config_table *table, const void *item, unsigned indent,
                      const char *const *remarks, struct buf *out);
/* The help text: flags, then keys. */
int config_usage(const struct config *c, const char *program, struct buf *out);

#endif
