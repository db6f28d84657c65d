/* rubato bench: figures of this build on this machine. */
#include <stdio.h>
#include <string.h>

#include "rubato/bench.h"
#include "rubato/tools.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} benches[] = {
    {"ingest", bench_ingest, "from the receiver to finished blocks"},
    {"block", bench_block, "writing, merging and reading blocks; each column, each encoding"},
    {"query", bench_query, "answers to a dozen questions about millions of spans"},
};

static int usage(FILE *to)
{
    fputs("usage: rubato bench WHAT …\n\n", to);
    for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++)
        fprintf(to, "  %-10s %s\n", benches[i].name, benches[i].help);
    return to == stdout ? 0 : 2;
}

int tool_bench(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return usage(stdout);
    for (size_t i = 0; argc > 1 && i < sizeof benches / sizeof benches[0]; i++) {
        if (strcmp(argv[1], benches[i].name) == 0)
            return benches[i].run(argc - 1, argv + 1);
    }
    return usage(stderr);
}
