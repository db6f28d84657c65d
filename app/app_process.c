/* The process as Prometheus knows processes: memory, processor time, descriptors, threads. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/app_priv.h"

struct app_process {
    struct gauge *rss, *fds, *threads;
    struct counter *cpu;
    pthread_mutex_t mu;
    uint64_t cpu_told_ns; /* hold mu: several scrapers may read at once */
};

static int64_t resident_bytes(void)
{
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%*d %lld", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Entries of a directory of /proc, without "." and "..". */
static int64_t count_entries(const char *path)
{
    DIR *d = opendir(path);
    int64_t count = 0;
    if (!d)
        return 0;
    for (const struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static uint64_t cpu_ns(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) < 0)
        return 0;
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NS_PER_S +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

static void collect(void *ctx)
{
    struct app_process *p = ctx;
    gauge_set(p->rss, resident_bytes());
    /* The directory that is being read is one of the descriptors. */
    gauge_set(p->fds, count_entries("/proc/self/fd") - 1);
    gauge_set(p->threads, count_entries("/proc/self/task"));
    pthread_mutex_lock(&p->mu);
    uint64_t now = cpu_ns();
    if (now > p->cpu_told_ns) {
        counter_add(p->cpu, now - p->cpu_told_ns);
        p->cpu_told_ns = now;
    }
    pthread_mutex_unlock(&p->mu);
}

int app_process_new(struct metrics *m, uint64_t start_unix_ns, struct app_process **out)
{
    struct app_process *p = calloc(1, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    pthread_mutex_init(&p->mu, NULL);
    p->cpu = metrics_counter_ns(m, "process_cpu_seconds_total",
                                "Total user and system CPU time spent in seconds.");
    p->rss = metrics_gauge(m, "process_resident_memory_bytes", "Resident memory size in bytes.");
    p->fds = metrics_gauge(m, "process_open_fds", "Number of open file descriptors.");
    p->threads = metrics_gauge(m, "process_threads", "Number of threads.");
    gauge_set(metrics_gauge_ns(m, "process_start_time_seconds",
                               "Start time of the process since unix epoch in seconds."),
              (int64_t)start_unix_ns);
    *out = p;
    return metrics_on_collect(m, collect, p);
}

void app_process_free(struct app_process *p)
{
    if (!p)
        return;
    pthread_mutex_destroy(&p->mu);
    free(p);
}
