/* The control law: demand is remembered, then a step up or down is taken, or none. */
#include "frontend/autoscaler.h"

#include <stdlib.h>
#include <string.h>

/* Of a worker's slots, so many are meant to be busy. */
#define TARGET_PERCENT 75
/* Jobs that wait longer than this, or will by the looks of it, call for more workers. */
#define LATE_NS (NS_PER_S / 2)
#define LATE_QUEUE_NS NS_PER_S
/* A step up waits for the last one's workers, but no longer than this. */
#define UP_WAIT_NS (2 * NS_PER_S)
/* A change of a tenth is none. */
#define DEAD_PERCENT 10
/* Without a job for so long, the last worker goes. */
#define IDLE_NS (300 * NS_PER_S)

const struct autoscaler_opts autoscaler_local = {.max = 64,
                                                 .slots = 4,
                                                 .peak_s = 120,
                                                 .hold_s = 30,
                                                 .stable_s = 30,
                                                 .down_percent = 25,
                                                 .down_period_s = 15};
const struct autoscaler_opts autoscaler_remote = {.max = 64,
                                                  .slots = 4,
                                                  .peak_s = 300,
                                                  .hold_s = 60,
                                                  .stable_s = 120,
                                                  .down_percent = 10,
                                                  .down_period_s = 60};

const char *autoscaler_reason_name(enum autoscaler_reason r)
{
    static const char *const names[] = {
        [AUTOSCALER_STEADY] = "steady",   [AUTOSCALER_DEMAND] = "demand",
        [AUTOSCALER_LATENCY] = "latency", [AUTOSCALER_BOUNDS] = "bounds",
        [AUTOSCALER_QUIET] = "quiet",     [AUTOSCALER_IDLE] = "idle"};
    return names[r];
}

void autoscaler_init(struct autoscaler *a, const struct autoscaler_opts *opts, uint64_t now_ns)
{
    *a = (struct autoscaler){.opts = *opts, .busy_ns = now_ns};
    if (a->opts.peak_s > AUTOSCALER_PEAKS)
        a->opts.peak_s = AUTOSCALER_PEAKS;
    if (a->opts.slots == 0)
        a->opts.slots = 1;
}

/* ---- demand ---- */

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void remember(struct autoscaler *a, uint32_t demand, uint64_t now_ns, uint32_t *d75)
{
    uint32_t sorted[AUTOSCALER_RING];
    a->ring[a->ring_next] = demand;
    a->ring_next = (a->ring_next + 1) % AUTOSCALER_RING;
    a->ring_count += a->ring_count < AUTOSCALER_RING;
    memcpy(sorted, a->ring, a->ring_count * sizeof *sorted);
    qsort(sorted, a->ring_count, sizeof *sorted, by_size);
    *d75 = sorted[(a->ring_count - 1) * 75 / 100];
    uint32_t d95 = sorted[(a->ring_count - 1) * 95 / 100];
    if (a->peak_ns && now_ns - a->peak_ns < NS_PER_S) {
        uint32_t *latest = &a->peaks[(a->peak_next + AUTOSCALER_PEAKS - 1) % AUTOSCALER_PEAKS];
        *latest = d95 > *latest ? d95 : *latest;
        return;
    }
    a->peaks[a->peak_next] = d95;
    a->peak_next = (a->peak_next + 1) % AUTOSCALER_PEAKS;
    a->peak_count += a->peak_count < AUTOSCALER_PEAKS;
    a->peak_ns = now_ns;
}

static uint32_t largest_peak(const struct autoscaler *a)
{
    uint32_t most = 0;
    uint32_t n = a->peak_count < a->opts.peak_s ? a->peak_count : a->opts.peak_s;
    for (uint32_t i = 1; i <= n; i++) {
        uint32_t v = a->peaks[(a->peak_next + AUTOSCALER_PEAKS - i) % AUTOSCALER_PEAKS];
        most = v > most ? v : most;
    }
    return most;
}

/* Workers that have that demand at three quarters of their slots. */
static uint32_t workers_for(const struct autoscaler *a, uint32_t demand)
{
    uint64_t per_worker = (uint64_t)a->opts.slots * TARGET_PERCENT;
    return (uint32_t)(((uint64_t)demand * 100 + per_worker - 1) / per_worker);
}

static uint32_t clamp(const struct autoscaler *a, uint32_t n)
{
    n = n < a->opts.max ? n : a->opts.max;
    return n > a->opts.min ? n : a->opts.min;
}

/* ---- steps ---- */

static uint32_t want_up(struct autoscaler *a, const struct autoscaler_sample *s, uint32_t d75,
                        enum autoscaler_reason *why)
{
    uint32_t n = s->workers, now = s->queued + s->running;
    uint32_t want = workers_for(a, s->queued && now > d75 ? now : d75);
    if (want > 2 * n + 2)
        want = 2 * n + 2;
    *why = AUTOSCALER_DEMAND;
    uint64_t slots = (uint64_t)n * a->opts.slots;
    bool late = s->queued && (s->oldest_ns > LATE_NS ||
                              (slots && s->queued * s->service_ns / slots > LATE_QUEUE_NS));
    uint32_t more = n + (n + 1) / 2 > n + 1 ? n + (n + 1) / 2 : n + 1;
    if (late && s->starting == 0 && more > want) {
        want = more;
        *why = AUTOSCALER_LATENCY;
    }
    return clamp(a, want);
}

static int step_up(struct autoscaler *a, const struct autoscaler_sample *s, uint32_t want,
                   uint64_t now_ns)
{
    uint32_t n = s->workers, most = n > 2 ? n : 2;
    if (s->starting && a->up_ns && now_ns - a->up_ns < UP_WAIT_NS)
        return 0;
    uint32_t k = want - n < most ? want - n : most;
    a->up_ns = a->tight_ns = now_ns;
    a->enough_ns = 0;
    return (int)k;
}

static int step_down(struct autoscaler *a, const struct autoscaler_sample *s, uint32_t want,
                     uint64_t now_ns)
{
    uint32_t n = s->workers;
    bool fewer = 100 * (uint64_t)want < (100 - DEAD_PERCENT) * (uint64_t)n;
    bool held = a->tight_ns && now_ns - a->tight_ns < a->opts.hold_s * NS_PER_S;
    if (!fewer || held) {
        a->enough_ns = 0;
        return 0;
    }
    if (!a->enough_ns)
        a->enough_ns = now_ns;
    if (now_ns - a->enough_ns < a->opts.stable_s * NS_PER_S ||
        (a->down_ns && now_ns - a->down_ns < a->opts.down_period_s * NS_PER_S))
        return 0;
    /* The last one stays until it has been idle for long. */
    if (want == 0 && now_ns - a->busy_ns < IDLE_NS)
        want = 1;
    if (want >= n)
        return 0;
    uint32_t k = n * a->opts.down_percent / 100;
    k = k ? k : 1;
    a->down_ns = now_ns;
    a->reason = want ? AUTOSCALER_QUIET : AUTOSCALER_IDLE;
    return -(int)(k < n - want ? k : n - want);
}

int autoscaler_tick(struct autoscaler *a, const struct autoscaler_sample *s, uint64_t now_ns)
{
    uint32_t demand = s->queued + s->running, n = s->workers, d75;
    enum autoscaler_reason why;
    remember(a, demand, now_ns, &d75);
    a->demand = d75;
    if (demand)
        a->busy_ns = now_ns;
    uint32_t up = want_up(a, s, d75, &why), down = clamp(a, workers_for(a, largest_peak(a)));
    /* A burst that all of them were needed for holds them as a step up would: the next may follow.
     */
    if (s->queued && workers_for(a, demand) >= n)
        a->tight_ns = now_ns;
    a->desired = up > n ? up : down < n ? down : n;
    if (n > a->opts.max || n < a->opts.min) {
        a->reason = AUTOSCALER_BOUNDS;
        return n > a->opts.max ? -(int)(n - a->opts.max) : (int)(a->opts.min - n);
    }
    if (100 * (uint64_t)up > (100 + DEAD_PERCENT) * (uint64_t)n) {
        int k = step_up(a, s, up, now_ns);
        a->reason = k ? why : a->reason;
        return k;
    }
    return step_down(a, s, down, now_ns);
}
