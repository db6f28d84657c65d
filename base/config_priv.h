/* What the files of the configuration share. */
#ifndef BASE_CONFIG_PRIV_H
#define BASE_CONFIG_PRIV_H

#include "base/arena.h"
#include "base/config.h"
#include "base/vec.h"

/* Largest configuration file, before and after expansion: Tempo's example files have some KB, a file
 * of ten thousand tenants has 2 MiB. Hit: the start fails with ERR_LIMIT. */
#define LIMIT_CONFIG_BYTES ((size_t)4 << 20)
/* Deepest nesting of YAML; each level costs one stack frame. The deepest key known has 8. */
#define LIMIT_CONFIG_DEPTH 32
/* Nodes visited, aliases each time they are used, so that nested aliases cannot multiply. */
#define LIMIT_CONFIG_NODES ((size_t)400000)
/* Notes kept; the rest is counted. */
#define LIMIT_CONFIG_NOTES 200
/* All values and notes of one configuration. */
#define LIMIT_CONFIG_MEMORY ((size_t)64 << 20)

struct config_given {
    const struct config_key *key;
    struct slice text;
};

struct config {
    const struct config_table *table; /* its parts joined */
    void *target;
    struct arena *arena;
    const char *file;   /* the last one read; NULL: none */
    uint32_t *set_line;             /* by row: line of the file that set it, or SET_BY_FLAG, or 0 */
    VEC(struct config_given) given; /* flags, in order */
    VEC(struct config_note) notes;
    size_t notes_lost;
};

#define SET_BY_FLAG UINT32_MAX

static inline void *config_field(const struct config_key *k, void *base)
{
    return (uint8_t *)base + k->offset;
}

/* Whether the type is written as one scalar and has a field. */
bool config_is_scalar(enum config_type type);
/* Sets the field from a scalar's text. False: not a value of the type; the field is unchanged. */
bool config_set(struct config *c, const struct config_key *k, void *base, struct slice text);
/* "an integer", "one of local, s3": into out, which it returns. */
char *config_expected(const struct config_key *k, char *out, size_t out_size);
/* All fields of a table to their defaults. */
void config_set_presets(struct config *c, const struct config_table *table, void *base);
/* Whether two ways of writing a value mean the same: "5m" and "300s", "" and NULL. */
bool config_same_value(struct slice a, const char *preset);

#endif
