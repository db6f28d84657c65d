/* rubato: the server with all roles, and the command-line tools. */
#include <stdio.h>
#include <string.h>

#include "rubato/serve.h"
#include "rubato/tools.h"
#include "worker/worker_child.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} tools[] = {
    {"bench", tool_bench, "measure this machine: rubato bench ingest FILE…"},
    {"block", tool_block, "look at blocks, check them, make them: rubato block --help"},
    {"demo", tool_demo, "send a minute of synthetic shop traffic to a running server"},
    {"query", tool_query, "ask a server, or a store with no server: rubato query --help"},
};

static int usage(FILE *to)
{
    fputs("rubato                      serve everything from ./rubato-data on loopback\n"
          "rubato -config.file=FILE    serve as the file says (rubato -help lists the flags)\n",
          to);
    for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++)
        fprintf(to, "rubato %-20s %s\n", tools[i].name, tools[i].help);
    return to == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    if (argc > 1 && argv[1][0] != '-') {
        if (strcmp(argv[1], WORKER_CHILD_COMMAND) == 0)
            return worker_child_main(argc, argv);
        for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++) {
            if (strcmp(argv[1], tools[i].name) == 0)
                return tools[i].run(argc - 1, argv + 1);
        }
        if (strcmp(argv[1], "help") == 0)
            return usage(stdout);
        fprintf(stderr, "rubato: unknown command %s\n", argv[1]);
        return usage(stderr);
    }
    return serve(argc, argv, "rubato", 0);
}
