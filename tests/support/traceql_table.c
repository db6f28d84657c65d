#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/traceql_table.h"

void table_read(const char *path, size_t least, table_row_fn *fn, void *ctx)
{
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot open %s", path);
    char *line = NULL;
    size_t cap = 0, rows = 0;
    for (ssize_t n; (n = getline(&line, &cap, f)) >= 0;) {
        if (n && line[n - 1] == '\n')
            line[--n] = 0;
        if (n == 0 || line[0] == '#')
            continue;
        char *divide = NULL;
        for (char *at = line; (at = strstr(at, " => ")); at++)
            divide = at;
        if (!divide)
            fail_msg("%s: no \" => \" in: %s", path, line);
        fn(slice_of(line, (size_t)(divide - line)), slice_cstr(divide + 4), ctx);
        rows++;
    }
    free(line);
    fclose(f);
    assert_true(rows >= least);
}
