/* Dictionaries without their columns. */
#include "worker/dictionary.h"

#include "worker/worker_limits.h"

static const struct parquet_chunk *chunk_of(const struct scan *s, int leaf)
{
    return &s->footer->file->row_groups[s->row_group].chunks[s->footer->leaf_of[leaf]];
}

/* Whether the dictionary is fetched without the rest. */
static bool worth_parting(const struct scan *s, int leaf)
{
    const struct parquet_chunk *c = chunk_of(s, leaf);
    return !s->readers[leaf] && c->has_dict && c->data_offset > c->offset &&
           c->bytes > DICTIONARY_WHOLE_BYTES;
}

/* A column that is in memory already. */
static struct column without_rows(const struct column *c)
{
    return (struct column){.type = c->type,
                           .rep_max = c->rep_max,
                           .def_max = c->def_max,
                           .has_dict = c->has_dict,
                           .dict = c->dict,
                           .dict_count = c->dict_count};
}

static int fetch_parts(struct scan *s, const int *leaves, const size_t *parts, size_t count,
                       struct column *out, struct err *err)
{
    struct objstore_get *gets = arena_zalloc(s->group, count * sizeof *gets);
    if (!gets)
        return arena_err(s->group, err, "a row group");
    for (size_t i = 0; i < count; i++) {
        const struct parquet_chunk *c = chunk_of(s, leaves[parts[i]]);
        gets[i].offset = c->offset;
        gets[i].bytes = c->data_offset - c->offset;
    }
    int rc = scan_fetch(s, gets, count, err);
    enum query_step before = scan_step(s, QUERY_STEP_DECODE);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = parquet_dictionary_decode(s->footer->file, s->row_group,
                                       (uint32_t)s->footer->leaf_of[leaves[parts[i]]],
                                       buf_view(&gets[i].out), s->group, &out[parts[i]], err);
    scan_step(s, before);
    return rc;
}

int scan_dictionaries(struct scan *s, const int *leaves, size_t count, struct column *out,
                      struct err *err)
{
    int whole[BLOCK_LEAVES] = {0};
    size_t parts[BLOCK_LEAVES] = {0};
    size_t whole_count = 0, part_count = 0;
    for (size_t i = 0; i < count; i++) {
        int leaf = leaves[i];
        if (s->ready)
            out[i] = without_rows(&s->ready[leaf]);
        else if (s->footer->leaf_of[leaf] < 0)
            out[i] = (struct column){.type = block_leaves[leaf].column_type, .has_dict = true};
        else if (worth_parting(s, leaf))
            parts[part_count++] = i;
        else
            whole[whole_count++] = leaf;
    }
    int rc = scan_open(s, whole, whole_count, err);
    if (rc == 0 && part_count)
        rc = fetch_parts(s, leaves, parts, part_count, out, err);
    for (size_t i = 0; i < count && rc == 0 && !s->ready; i++) {
        if (s->readers[leaves[i]])
            parquet_reader_dictionary(s->readers[leaves[i]], &out[i]);
    }
    return rc;
}
