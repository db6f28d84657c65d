/* The measurements of rubato bench. */
#ifndef RUBATO_BENCH_H
#define RUBATO_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

int bench_ingest(int argc, char **argv);
int bench_block(int argc, char **argv);
int bench_query(int argc, char **argv);

/* bench_data.c: a store of the shop's traces in six blocks of about spans spans together, of tenant
 * BENCH_TENANT, made where it is not there yet. dir: its path. The traces begin in the hour from
 * BENCH_START_S on. */
#define BENCH_TENANT "shop"
#define BENCH_START_S UINT64_C(1735689600)
#define BENCH_RANGE_S 3600
int bench_data(uint64_t spans, char *dir, size_t dir_bytes, struct err *err);

#endif
