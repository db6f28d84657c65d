/* The schema said twice: the tree that is written and the list of leaves must agree with each other
 * and with what Tempo wrote. */
#include "parquet_support.h"

#include "block/block_schema.h"

/* ---- the tree, walked ---- */

struct walk {
    size_t node; /* next one */
    int leaf;
    char path[512];
};

static int column_type_of(int8_t type)
{
    switch (type) {
    case PARQUET_BOOLEAN:
        return COLUMN_BOOL;
    case PARQUET_INT32:
        return COLUMN_I32;
    case PARQUET_INT64:
        return COLUMN_I64;
    case PARQUET_DOUBLE:
        return COLUMN_F64;
    default:
        assert_int_equal(type, PARQUET_BYTE_ARRAY);
        return COLUMN_BYTES;
    }
}

static void leaf_agrees(const struct walk *w, const struct parquet_node *n, int rep, int def)
{
    assert_true(w->leaf < BLOCK_V4_LEAVES);
    const struct block_leaf_info *info = &block_leaves[w->leaf];
    assert_string_equal(info->path, w->path);
    assert_int_equal(info->rep_max, rep);
    assert_int_equal(info->def_max, def);
    assert_int_equal(info->column_type, column_type_of(n->type));
    assert_int_equal(info->dict, n->encoding == PARQUET_RLE_DICTIONARY);
}

static void walk_node(struct walk *w, int rep, int def)
{
    assert_true(w->node < block_schema_count);
    const struct parquet_node *n = &block_schema[w->node++];
    size_t path_len = strlen(w->path);
    if (n != block_schema) {
        snprintf(w->path + path_len, sizeof w->path - path_len, "%s%s", path_len ? "." : "",
                 n->name);
        rep += n->repetition == PARQUET_REPEATED;
        def += n->repetition != PARQUET_REQUIRED;
    }
    if (n->type != PARQUET_GROUP) {
        leaf_agrees(w, n, rep, def);
        w->leaf++;
    } else {
        assert_true(n->children > 0);
        for (int i = 0; i < n->children; i++)
            walk_node(w, rep, def);
    }
    w->path[path_len] = 0;
}

static void tree_and_leaves_say_the_same(void **state)
{
    (void)state;
    struct walk w = {.node = 0};
    walk_node(&w, 0, 0);
    assert_int_equal(w.node, block_schema_count);
    assert_int_equal(block_schema_count, 181);
    assert_int_equal(w.leaf, BLOCK_V4_LEAVES);
    assert_int_equal(BLOCK_V4_LEAVES, 103);
}

static void leaf_numbers_are_tempos(void **state)
{
    (void)state;
    assert_int_equal(BLOCK_RESOURCE_ATTRS, 10);
    assert_int_equal(BLOCK_RESOURCE_DEDICATED, 27);
    assert_int_equal(BLOCK_SCOPE_ATTRS, 39);
    assert_int_equal(BLOCK_SPAN_ATTRS, 59);
    assert_int_equal(BLOCK_EVENT_ATTRS, 69);
    assert_int_equal(BLOCK_LINK_ATTRS, 81);
    assert_int_equal(BLOCK_SPAN_DEDICATED, 93);
    assert_string_equal(block_leaves[102].path,
                        "rs.list.element.ss.list.element.Spans.list.element."
                        "DedicatedAttributes.String10");
}

/* ---- Tempo's files ---- */

static const struct parquet_node *leaf_node(int leaf)
{
    int at = -1;
    for (size_t i = 0; i < block_schema_count; i++) {
        if (block_schema[i].type != PARQUET_GROUP && ++at == leaf)
            return &block_schema[i];
    }
    fail_msg("no leaf %d", leaf);
    return NULL;
}

static void tempos_footers_have_our_leaves_in_our_order(void **state)
{
    (void)state;
    for (size_t b = 0; b < TEMPO_BLOCKS; b++) {
        struct slice file = file_read(tempo_blocks[b]);
        struct arena *a = arena_new((size_t)64 << 20);
        struct parquet_file *f;
        struct err err = {0};
        int leaf_of[BLOCK_LEAVES];
        assert_int_equal(file_open(file, a, &f, &err), 0);
        assert_int_equal(block_schema_bind(f, BLOCK_VPARQUET4, leaf_of, &err), 0);
        assert_int_equal(f->leaf_count, BLOCK_V4_LEAVES);
        for (int i = BLOCK_V4_LEAVES; i < BLOCK_LEAVES; i++)
            assert_int_equal(leaf_of[i], -1);
        for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
            const struct parquet_leaf *leaf = &f->leaves[i];
            const struct parquet_node *node = leaf_node(i);
            assert_int_equal(leaf_of[i], i);
            assert_true(slice_eq(leaf->path, slice_cstr(block_leaves[i].path)));
            assert_int_equal(leaf->type, node->type);
            assert_int_equal(leaf->repetition, node->repetition);
            assert_int_equal(leaf->logical, node->logical);
            assert_int_equal(f->row_groups[0].chunks[i].has_dict,
                             node->encoding == PARQUET_RLE_DICTIONARY);
        }
        arena_free(a);
        slice_free(file);
    }
}

/* ---- foreign files ---- */

static struct parquet_leaf leaf_like(int i)
{
    static const enum parquet_type types[] = {
        [COLUMN_BOOL] = PARQUET_BOOLEAN,     [COLUMN_I32] = PARQUET_INT32,
        [COLUMN_I64] = PARQUET_INT64,        [COLUMN_F64] = PARQUET_DOUBLE,
        [COLUMN_BYTES] = PARQUET_BYTE_ARRAY,
    };
    return (struct parquet_leaf){.path = slice_cstr(block_leaves[i].path),
                                 .type = types[block_leaves[i].column_type],
                                 .rep_max = block_leaves[i].rep_max,
                                 .def_max = block_leaves[i].def_max};
}

static void leaves_are_bound_by_path(void **state)
{
    (void)state;
    /* In another order, with a stranger among them and most of them missing. */
    struct parquet_leaf leaves[] = {
        leaf_like(BLOCK_SPAN_ID),
        {.path = SLICE("extra"), .type = PARQUET_INT32},
        leaf_like(BLOCK_TRACE_ID),
        leaf_like(BLOCK_SPAN_ATTRS + BLOCK_ATTR_STRING),
    };
    struct parquet_file f = {.leaves = leaves, .leaf_count = 4};
    int leaf_of[BLOCK_LEAVES];
    struct err err;
    assert_int_equal(block_schema_bind(&f, BLOCK_VPARQUET4, leaf_of, &err), 0);
    for (int i = 0; i < BLOCK_LEAVES; i++) {
        int want = i == BLOCK_SPAN_ID                          ? 0
                   : i == BLOCK_TRACE_ID                       ? 2
                   : i == BLOCK_SPAN_ATTRS + BLOCK_ATTR_STRING ? 3
                                                               : -1;
        assert_int_equal(leaf_of[i], want);
    }
}

static void a_leaf_of_another_type_or_level_is_corrupt(void **state)
{
    (void)state;
    for (int i = 0; i < BLOCK_V4_LEAVES; i++) {
        for (int what = 0; what < 3; what++) {
            struct parquet_leaf leaf = leaf_like(i);
            if (what == 0)
                leaf.type = leaf.type == PARQUET_INT32 ? PARQUET_INT64 : PARQUET_INT32;
            else if (what == 1)
                leaf.rep_max++;
            else
                leaf.def_max++;
            struct parquet_file f = {.leaves = &leaf, .leaf_count = 1};
            int leaf_of[BLOCK_LEAVES];
            struct err err = {0};
            assert_int_equal(block_schema_bind(&f, BLOCK_VPARQUET4, leaf_of, &err), ERR_CORRUPT);
            assert_non_null(strstr(err.msg, block_leaves[i].path));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_and_leaves_say_the_same),
        cmocka_unit_test(leaf_numbers_are_tempos),
        cmocka_unit_test(tempos_footers_have_our_leaves_in_our_order),
        cmocka_unit_test(leaves_are_bound_by_path),
        cmocka_unit_test(a_leaf_of_another_type_or_level_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
