/* The control law under five loads, half an hour each, and at its edges. Time and workers are made
 * here: 4 slots each, jobs of half a second, give or take half of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "base/random.h"
#include "frontend/autoscaler.h"

#define STEP_NS (50 * NS_PER_MS)
#define STEPS (30 * 60 * 20) /* half an hour */
#define WORKERS 64
#define SLOTS 4
#define JOBS 400000

struct world {
    struct autoscaler scaler;
    struct rng rng;
    uint64_t start_delay_ns;
    uint64_t ready_ns[WORKERS + 1]; /* per worker; those of the first `workers` count */
    uint32_t workers;
    uint64_t *ends; /* of running jobs */
    uint32_t running;
    uint64_t *queue; /* when they came */
    uint32_t head, tail;
    double *waits; /* seconds */
    uint32_t done;
    int reversals, direction;
    uint64_t worker_steps; /* sum over time */
    uint32_t most;
};

static void world_new(struct world *w, const struct autoscaler_opts *opts, uint64_t delay_ns)
{
    *w = (struct world){.rng = {42}, .start_delay_ns = delay_ns};
    w->ends = calloc(WORKERS * SLOTS + SLOTS, sizeof *w->ends);
    w->queue = calloc(JOBS, sizeof *w->queue);
    w->waits = calloc(JOBS, sizeof *w->waits);
    autoscaler_init(&w->scaler, opts, 0);
}

static void world_free(struct world *w)
{
    free(w->ends);
    free(w->queue);
    free(w->waits);
}

static uint32_t ready(const struct world *w, uint64_t now)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->workers; i++)
        n += w->ready_ns[i] <= now;
    return n;
}

static void run_jobs(struct world *w, uint64_t now)
{
    for (uint32_t i = w->running; i-- > 0;) {
        if (w->ends[i] <= now)
            w->ends[i] = w->ends[--w->running];
    }
    /* With no worker the frontend runs jobs itself, two at once. */
    uint32_t n = ready(w, now);
    uint32_t room = n ? n * SLOTS : 2;
    while (w->head < w->tail && w->running < room) {
        double service = 0.25 + 0.5 * (double)rng_below(&w->rng, 1000) / 1000;
        w->waits[w->done++] = (double)(now - w->queue[w->head]) / 1e9;
        w->ends[w->running++] = now + (uint64_t)(service * 1e9);
        w->head++;
    }
}

static void scale(struct world *w, uint64_t now)
{
    const struct autoscaler_sample s = {.queued = w->tail - w->head,
                                        .running = w->running,
                                        .workers = w->workers,
                                        .starting = w->workers - ready(w, now),
                                        .oldest_ns =
                                            w->head < w->tail ? now - w->queue[w->head] : 0,
                                        .service_ns = NS_PER_S / 2};
    int k = autoscaler_tick(&w->scaler, &s, now);
    assert_true((int)w->workers + k >= 0 && (int)w->workers + k <= WORKERS);
    for (int i = 0; i < k; i++)
        w->ready_ns[w->workers++] = now + w->start_delay_ns;
    if (k < 0)
        w->workers -= (uint32_t)-k;
    int direction = (k > 0) - (k < 0);
    w->reversals += direction && w->direction && direction != w->direction;
    w->direction = direction ? direction : w->direction;
    w->most = w->workers > w->most ? w->workers : w->most;
}

/* Jobs that come in the step at that second. */
typedef double(load_fn)(double s, uint32_t step);

static void run(struct world *w, load_fn *load, uint32_t steps)
{
    double owed = 0;
    for (uint32_t i = 1; i <= steps; i++) {
        uint64_t now = i * STEP_NS;
        owed += load((double)now / 1e9, i);
        for (; owed >= 1; owed--) {
            assert_true(w->tail < JOBS);
            w->queue[w->tail++] = now;
        }
        run_jobs(w, now);
        if (now % AUTOSCALER_TICK_NS == 0)
            scale(w, now);
        run_jobs(w, now);
        w->worker_steps += w->workers;
    }
}

static int by_wait(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double wait_at(struct world *w, double quantile)
{
    qsort(w->waits, w->done, sizeof *w->waits, by_wait);
    return w->waits[(uint32_t)((w->done - 1) * quantile)];
}

static void tell(struct world *w, const char *name)
{
    print_message("%-22s wait p50 %.2f p95 %.2f p99 %.2f max %.2f s, %d reversals, mean %.1f, most "
                  "%u workers\n",
                  name, wait_at(w, .5), wait_at(w, .95), wait_at(w, .99), wait_at(w, 1),
                  w->reversals, (double)w->worker_steps / STEPS, w->most);
}

/* ---- the five loads ---- */

static double constant(double s, uint32_t step)
{
    (void)s;
    (void)step;
    return 1; /* 20 a second */
}

static double leap(double s, uint32_t step)
{
    (void)step;
    return s < 600 ? 0.5 : s < 1200 ? 10 : 0.5; /* 10 a second, 200, 10 */
}

static double bursts(double s, uint32_t step)
{
    (void)s;
    return step % 600 == 0 ? 500 : 0; /* every 30 s */
}

static double rare_bursts(double s, uint32_t step)
{
    (void)s;
    return step % 12000 == 6000 ? 1000 : 0; /* every 10 min */
}

static double sine(double s, uint32_t step)
{
    (void)step;
    return 3 + 2.5 * sin(s * 2 * M_PI / 300); /* 10 to 110 a second, five minutes */
}

struct expected {
    const char *name;
    load_fn *load;
    const struct autoscaler_opts *opts;
    uint64_t delay_ns;
    double p95, max; /* of the waits, seconds */
    int reversals;
    double mean; /* workers at most */
};

static void the_law_keeps_its_promises_under_five_loads(void **state)
{
    (void)state;
    const uint64_t soon = 50 * NS_PER_MS, late = 5 * NS_PER_S;
    const struct expected all[] = {
        {"constant", constant, &autoscaler_remote, soon, 0, 0.2, 3, 5},
        {"step", leap, &autoscaler_remote, soon, 0, 0.5, 2, 32},
        {"bursts", bursts, &autoscaler_remote, soon, 0.8, 2, 2, 64},
        {"rare bursts", rare_bursts, &autoscaler_remote, soon, 2.75, 3, 5, 55},
        {"sine", sine, &autoscaler_remote, soon, 0, 0.5, 2, 22},
        {"step, 5 s start", leap, &autoscaler_remote, late, 0.1, 6, 3, 40},
        {"constant, local", constant, &autoscaler_local, soon, 0, 0.2, 3, 5},
        {"step, local", leap, &autoscaler_local, soon, 0, 0.5, 2, 24},
        {"bursts, local", bursts, &autoscaler_local, soon, 0.8, 2, 2, 64},
        {"rare bursts, local", rare_bursts, &autoscaler_local, soon, 2.8, 3, 6, 28},
        {"sine, local", sine, &autoscaler_local, soon, 0, 0.5, 12, 22},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const struct expected *e = &all[i];
        struct world w;
        world_new(&w, e->opts, e->delay_ns);
        run(&w, e->load, STEPS);
        tell(&w, e->name);
        assert_true(wait_at(&w, .95) <= e->p95);
        assert_true(wait_at(&w, 1) <= e->max);
        assert_true(w.reversals <= e->reversals);
        assert_true((double)w.worker_steps / STEPS <= e->mean);
        world_free(&w);
    }
}

/* ---- edges ---- */

static double one_minute(double s, uint32_t step)
{
    (void)step;
    return s < 60 ? 1 : 0;
}

static double silence(double s, uint32_t step)
{
    (void)step;
    return s > 100 && s < 101 ? 1 : 0;
}

static void without_jobs_the_last_worker_goes_and_with_one_it_comes_back(void **state)
{
    (void)state;
    struct world w;
    world_new(&w, &autoscaler_local, 50 * NS_PER_MS);
    run(&w, one_minute, 340 * 20);
    assert_true(w.workers >= 1); /* not yet five minutes since the last job */
    world_free(&w);
    world_new(&w, &autoscaler_local, 50 * NS_PER_MS);
    run(&w, one_minute, 600 * 20);
    assert_int_equal(w.workers, 0);
    world_free(&w);
    world_new(&w, &autoscaler_local, 50 * NS_PER_MS);
    run(&w, silence, 100 * 20);
    assert_int_equal(w.workers, 0);
    world_free(&w);
    world_new(&w, &autoscaler_local, 50 * NS_PER_MS);
    run(&w, silence, 105 * 20);
    assert_true(w.workers > 0);
    assert_true(wait_at(&w, 1) < 1.5);
    world_free(&w);
}

static void bounds_hold_whatever_the_load(void **state)
{
    (void)state;
    struct autoscaler_opts opts = autoscaler_local;
    struct world w;
    opts.min = 3;
    opts.max = 5;
    world_new(&w, &opts, 50 * NS_PER_MS);
    run(&w, leap, STEPS / 3 - 20);
    assert_true(w.workers >= 3 && w.most <= 5);
    world_free(&w);
    world_new(&w, &opts, 50 * NS_PER_MS);
    run(&w, silence, 20);
    assert_int_equal(w.workers, 3); /* there from the start */
    world_free(&w);
}

static void a_restart_with_fewer_allowed_stops_the_rest(void **state)
{
    (void)state;
    struct autoscaler a;
    struct autoscaler_opts opts = autoscaler_local;
    opts.max = 2;
    autoscaler_init(&a, &opts, 0);
    assert_int_equal(autoscaler_tick(&a, &(struct autoscaler_sample){.workers = 9}, 1), -7);
    assert_int_equal(a.reason, AUTOSCALER_BOUNDS);
}

static void starting_workers_count_so_a_slow_start_does_not_run_away(void **state)
{
    (void)state;
    struct autoscaler a;
    uint32_t workers = 0;
    autoscaler_init(&a, &autoscaler_local, 0);
    for (uint64_t t = 1; t < 40; t++) { /* ten seconds in which nothing gets ready */
        const struct autoscaler_sample s = {.queued = 12,
                                            .workers = workers,
                                            .starting = workers,
                                            .oldest_ns = t * AUTOSCALER_TICK_NS,
                                            .service_ns = NS_PER_S};
        int k = autoscaler_tick(&a, &s, t * AUTOSCALER_TICK_NS);
        assert_true(k >= 0);
        workers += (uint32_t)k;
    }
    assert_int_equal(workers, 4); /* 12 jobs at three quarters of four slots */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_law_keeps_its_promises_under_five_loads),
        cmocka_unit_test(without_jobs_the_last_worker_goes_and_with_one_it_comes_back),
        cmocka_unit_test(bounds_hold_whatever_the_load),
        cmocka_unit_test(a_restart_with_fewer_allowed_stops_the_rest),
        cmocka_unit_test(starting_workers_count_so_a_slow_start_does_not_run_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
