/* Fuzz target: the program's configuration file. Whatever stands in it, there are notes or a
 * configuration, which is written as YAML that says the same when it is read. */
#include <assert.h>
#include <string.h>

#include "app/app_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *environment(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "HOME") == 0 ? "/home/somebody" : NULL;
}

static void written(const struct config *c, struct buf *out)
{
    buf_init(out, (size_t)64 << 20);
    assert(config_write(c, CONFIG_WRITE_ALL, out) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct app_config cfg = {0}, cfg_again = {0};
    struct config *c, *again;
    struct err err = {0};
    struct buf yaml, yaml_again;
    assert(config_new(&app_config_table, &cfg, &c, &err) == 0);
    int rc = config_read_yaml(c, "tempo.yaml", slice_of(data, size), environment, NULL, &err);
    assert(rc == 0 || rc == ERR_INVALID || rc == ERR_LIMIT);
    assert(rc == 0 || err.msg[0]);
    if (rc == 0) {
        written(c, &yaml);
        assert(config_new(&app_config_table, &cfg_again, &again, &err) == 0);
        rc = config_read_yaml(again, "again.yaml", buf_view(&yaml), NULL, NULL, &err);
        assert(rc == 0);
        written(again, &yaml_again);
        assert(slice_eq(buf_view(&yaml), buf_view(&yaml_again)));
        buf_clear(&yaml);
        buf_clear(&yaml_again);
        config_free(again);
    }
    config_free(c);
    return 0;
}
