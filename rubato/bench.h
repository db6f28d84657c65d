/* The measurements of rubato bench. */
#ifndef RUBATO_BENCH_H
#define RUBATO_BENCH_H

int bench_ingest(int argc, char **argv);
int bench_block(int argc, char **argv);

#endif
