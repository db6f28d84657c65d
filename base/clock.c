/* The system's clocks. */
#include "base/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t system_unix_ns(const struct clock *c)
{
    (void)c;
    return read_clock(CLOCK_REALTIME);
}

static uint64_t system_mono_ns(const struct clock *c)
{
    (void)c;
    return read_clock(CLOCK_MONOTONIC);
}

const struct clock clock_system = {system_unix_ns, system_mono_ns, NULL};
