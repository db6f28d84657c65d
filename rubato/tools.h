/* The command-line tools: each is a main of its own, argv[0] is its name. */
#ifndef RUBATO_TOOLS_H
#define RUBATO_TOOLS_H

int tool_bench(int argc, char **argv);
int tool_block(int argc, char **argv);
int tool_demo(int argc, char **argv);
int tool_query(int argc, char **argv);

#endif
