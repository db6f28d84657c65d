/* The local driver on real directories: layout, crashes, full disks, links, races. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "objstore/objstore.h"
#include "tests/support/objstore_support.h"

struct world {
    char dir[256];
    struct objstore *store;
    struct err err;
};

static const struct objstore_env env = {.clock = &clock_system};

static void open_store(struct world *w, const char *prefix)
{
    struct objstore_local_opts opts = {slice_cstr(w->dir), slice_cstr(prefix)};
    if (objstore_local_new(&opts, &env, &w->store, &w->err) < 0)
        fail_msg("%s", w->err.msg);
}

static int make_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    scratch_dir_make(w->dir);
    open_store(w, "");
    *state = w;
    return 0;
}

static int end_world(void **state)
{
    struct world *w = *state;
    objstore_free(w->store);
    scratch_dir_remove(w->dir);
    free(w);
    return 0;
}

static const char *path_of(struct world *w, const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    return path;
}

static bool is_file(struct world *w, const char *name)
{
    struct stat st;
    return lstat(path_of(w, name), &st) == 0;
}

static void write_file(struct world *w, const char *name, const char *text)
{
    FILE *f = fopen(path_of(w, name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int put(struct world *w, const char *key, const char *body)
{
    return objstore_put(w->store, slice_cstr(key), slice_cstr(body), 0, 0, &w->err);
}

static int get(struct world *w, const char *key)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    int rc = objstore_get(w->store, slice_cstr(key), 0, &out, &w->err);
    buf_clear(&out);
    return rc;
}

static int count_item(void *ctx, const struct objstore_list_item *item)
{
    (void)item;
    ++*(int *)ctx;
    return 0;
}

static int count_keys(struct world *w)
{
    int n = 0;
    assert_int_equal(
        objstore_list(w->store, SLICE(""), SLICE(""), false, count_item, &n, 0, &w->err), 0);
    return n;
}

/* Names of any kind below the directory, temporary files included. */
static int count_files(const char *dir)
{
    char command[600];
    snprintf(command, sizeof command, "find '%s' -type f | wc -l", dir);
    FILE *p = popen(command, "r");
    int n = -1;
    assert_int_equal(fscanf(p, "%d", &n), 1);
    pclose(p);
    return n;
}

/* ---- layout ---- */

static void keys_are_file_names_as_tempo_has_them(void **state)
{
    struct world *w = *state;
    assert_int_equal(put(w, "single-tenant/b7/meta.json", "{}"), 0);
    FILE *f = fopen(path_of(w, "single-tenant/b7/meta.json"), "r");
    assert_non_null(f);
    char text[8] = "";
    assert_int_equal(fread(text, 1, 7, f), 2);
    fclose(f);
    assert_string_equal(text, "{}");
    /* And a file that somebody else put there is an object. */
    write_file(w, "single-tenant/b7/bloom-0", "x");
    assert_int_equal(get(w, "single-tenant/b7/bloom-0"), 0);
    assert_int_equal(count_keys(w), 2);
}

static void the_prefix_is_a_directory_below_the_path(void **state)
{
    struct world *w = *state;
    objstore_free(w->store);
    open_store(w, "/a/b/");
    assert_int_equal(put(w, "k", "x"), 0);
    assert_true(is_file(w, "a/b/k"));
    assert_int_equal(count_keys(w), 1);
}

static void bad_settings_are_refused(void **state)
{
    struct world *w = *state;
    struct objstore *s;
    struct err err;
    struct objstore_local_opts none = {.path = SLICE("")};
    assert_int_equal(objstore_local_new(&none, &env, &s, &err), ERR_INVALID);
    struct objstore_local_opts up = {slice_cstr(w->dir), SLICE("../x")};
    assert_int_equal(objstore_local_new(&up, &env, &s, &err), ERR_INVALID);
    write_file(w, "file", "x");
    struct objstore_local_opts file = {slice_cstr(path_of(w, "file")), SLICE("")};
    assert_int_equal(objstore_local_new(&file, &env, &s, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "Not a directory"));
}

static void the_path_is_made_with_its_parents(void **state)
{
    struct world *w = *state;
    objstore_free(w->store);
    char path[600];
    snprintf(path, sizeof path, "%s/x//y/z/", w->dir);
    struct objstore_local_opts opts = {slice_cstr(path), SLICE("")};
    assert_int_equal(objstore_local_new(&opts, &env, &w->store, &w->err), 0);
    assert_int_equal(put(w, "k", "x"), 0);
    assert_true(is_file(w, "x/y/z/k"));
}

static void an_object_and_a_directory_do_not_share_a_name(void **state)
{
    struct world *w = *state;
    assert_int_equal(put(w, "a", "x"), 0);
    assert_int_equal(put(w, "a/b", "x"), ERR_INVALID);
    assert_int_equal(get(w, "a/b"), ERR_NOTFOUND);
    assert_int_equal(objstore_delete(w->store, SLICE("a/b"), 0, &w->err), 0);
    assert_int_equal(put(w, "d/x", "x"), 0);
    assert_int_equal(put(w, "d", "x"), ERR_INVALID);
    assert_int_equal(objstore_put(w->store, SLICE("d"), SLICE("x"), OBJSTORE_IF_ABSENT, 0, &w->err),
                     ERR_INVALID);
    assert_int_equal(get(w, "d"), ERR_NOTFOUND);
    assert_int_equal(count_files(w->dir), 2); /* nothing left of the attempts */
}

static void names_the_file_system_cannot_hold_are_invalid(void **state)
{
    struct world *w = *state;
    char key[300];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = 0;
    assert_int_equal(put(w, key, "x"), ERR_INVALID);
    memcpy(key + 280, "/x", 3);
    assert_int_equal(put(w, key, "x"), ERR_INVALID);
    assert_int_equal(count_files(w->dir), 0);
}

static void deletes_remove_emptied_directories_up_to_the_root(void **state)
{
    struct world *w = *state;
    assert_int_equal(put(w, "t/a/b/c", "x"), 0);
    assert_int_equal(put(w, "t/d", "x"), 0);
    assert_int_equal(objstore_delete(w->store, SLICE("t/a/b/c"), 0, &w->err), 0);
    assert_false(is_file(w, "t/a"));
    assert_true(is_file(w, "t/d"));
    assert_int_equal(objstore_delete(w->store, SLICE("t/d"), 0, &w->err), 0);
    assert_false(is_file(w, "t"));
    assert_true(is_file(w, "."));
}

static void names_that_are_no_keys_are_not_listed(void **state)
{
    struct world *w = *state;
    write_file(w, "bad-\xff", "x");
    write_file(w, "control-\x01", "x");
    assert_int_equal(mkfifo(path_of(w, "fifo"), 0600), 0);
    assert_int_equal(mkdir(path_of(w, "lost+found"), 0700), 0);
    assert_int_equal(put(w, "good", "x"), 0);
    assert_int_equal(count_keys(w), 1);
    int n = 0;
    assert_int_equal(
        objstore_list(w->store, SLICE(""), SLICE(""), true, count_item, &n, 0, &w->err), 0);
    assert_int_equal(n, 1);                         /* an empty directory is no prefix */
    assert_int_equal(get(w, "fifo"), ERR_NOTFOUND); /* and does not block */
}

/* ---- links ---- */

static void links_lead_nowhere(void **state)
{
    struct world *w = *state;
    char outside[256], target[300];
    struct objstore_info info;
    scratch_dir_make(outside);
    snprintf(target, sizeof target, "%s/secret", outside);
    FILE *f = fopen(target, "w");
    fputs("secret", f);
    fclose(f);
    assert_int_equal(symlink(outside, path_of(w, "dir")), 0);
    assert_int_equal(symlink(target, path_of(w, "file")), 0);
    assert_int_equal(put(w, "in/x", "x"), 0);
    assert_int_equal(symlink("../..", path_of(w, "in/up")), 0);

    assert_int_equal(get(w, "dir/secret"), ERR_DENIED);
    assert_non_null(strstr(w->err.msg, "symbolic link"));
    assert_int_equal(get(w, "file"), ERR_DENIED);
    assert_int_equal(objstore_head(w->store, SLICE("file"), 0, &info, &w->err), ERR_DENIED);
    assert_int_equal(put(w, "dir/new", "x"), ERR_DENIED);
    assert_int_equal(put(w, "in/up/new", "x"), ERR_DENIED);
    assert_true(objstore_delete(w->store, SLICE("dir/secret"), 0, &w->err) < 0);
    assert_int_equal(count_keys(w), 1);
    assert_int_equal(count_files(outside), 1);
    /* A PUT over a link replaces the link, not what it points to. */
    assert_int_equal(put(w, "file", "mine"), 0);
    assert_int_equal(get(w, "file"), 0);
    assert_int_equal(count_files(outside), 1);
    struct stat st;
    assert_int_equal(stat(target, &st), 0);
    assert_int_equal(st.st_size, 6);
    scratch_dir_remove(outside);
}

/* ---- unfinished writes ---- */

static void make_old(struct world *w, const char *name)
{
    struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, path_of(w, name), old, 0), 0);
}

static void what_a_killed_writer_left_is_removed_at_open(void **state)
{
    struct world *w = *state;
    assert_int_equal(put(w, "t/b/data", "x"), 0);
    write_file(w, "t/b/.rubato-tmp-0011223344556677", "half");
    write_file(w, "t/b/.rubato-tmp-held", "half");
    write_file(w, "t/b/.rubato-tmp-young", "half");
    make_old(w, "t/b/.rubato-tmp-0011223344556677");
    make_old(w, "t/b/.rubato-tmp-held");
    int fd = open(path_of(w, "t/b/.rubato-tmp-held"), O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0);

    objstore_free(w->store);
    open_store(w, "");
    assert_false(is_file(w, "t/b/.rubato-tmp-0011223344556677"));
    assert_true(is_file(w, "t/b/.rubato-tmp-held"));
    assert_true(is_file(w, "t/b/.rubato-tmp-young"));
    close(fd);
    assert_int_equal(count_keys(w), 1); /* and by lists */
    assert_false(is_file(w, "t/b/.rubato-tmp-held"));
    assert_true(is_file(w, "t/b/.rubato-tmp-young"));
}

static void temporary_names_are_no_keys(void **state)
{
    struct world *w = *state;
    write_file(w, ".rubato-tmp-x", "half");
    assert_int_equal(get(w, ".rubato-tmp-x"), ERR_INVALID);
    assert_int_equal(put(w, "a/.rubato-tmp-x", "x"), ERR_INVALID);
    assert_int_equal(count_keys(w), 0);
}

static void a_writer_killed_midway_leaves_the_old_object(void **state)
{
    struct world *w = *state;
    assert_int_equal(put(w, "k", "old"), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct objstore_upload *u;
        if (objstore_upload_begin(w->store, SLICE("k"), 0, &u, NULL) == 0 &&
            objstore_upload_write(u, SLICE("new"), NULL) == 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(objstore_get(w->store, SLICE("k"), 0, &out, NULL), 0);
    assert_true(slice_eq(buf_view(&out), SLICE("old")));
    buf_clear(&out);
    assert_int_equal(count_keys(w), 1);
    assert_int_equal(put(w, "k", "newer"), 0);
}

/* ---- reading only ---- */

static void a_store_open_for_reading_leaves_the_directory_as_it_is(void **state)
{
    struct world *w = *state;
    const struct objstore_env reading = {.clock = &clock_system, .read_only = true};
    struct objstore_local_opts opts = {slice_cstr(w->dir), SLICE("")};
    struct objstore_upload *u;
    assert_int_equal(put(w, "k", "x"), 0);
    write_file(w, ".rubato-tmp-0011223344556677", "half");
    make_old(w, ".rubato-tmp-0011223344556677");
    objstore_free(w->store);
    assert_int_equal(objstore_local_new(&opts, &reading, &w->store, &w->err), 0);
    assert_int_equal(get(w, "k"), 0);
    assert_int_equal(count_keys(w), 1);
    assert_int_equal(put(w, "k", "y"), ERR_DENIED);
    assert_int_equal(objstore_upload_begin(w->store, SLICE("k2"), 0, &u, &w->err), ERR_DENIED);
    assert_int_equal(objstore_delete(w->store, SLICE("k"), 0, &w->err), ERR_DENIED);
    assert_non_null(strstr(w->err.msg, "reading only"));
    assert_int_equal(get(w, "k"), 0);
    assert_int_equal(count_files(w->dir), 2);
}

static void a_store_open_for_reading_is_not_made(void **state)
{
    struct world *w = *state;
    const struct objstore_env reading = {.clock = &clock_system, .read_only = true};
    char path[300];
    struct objstore *s = NULL;
    struct stat st;
    snprintf(path, sizeof path, "%s/none", w->dir);
    struct objstore_local_opts opts = {slice_cstr(path), SLICE("")};
    assert_true(objstore_local_new(&opts, &reading, &s, &w->err) < 0);
    assert_null(s);
    assert_int_equal(stat(path, &st), -1);
}

/* ---- a full disk ---- */

/* What must hold when writes of more than 64 KiB fail. Called in a child; 0 is success. */
static int live_on_a_full_disk(const char *dir)
{
    struct objstore_local_opts opts = {slice_cstr(dir), SLICE("")};
    struct objstore *s;
    struct err err = {.msg = ""};
    struct objstore_upload *u;
    struct buf out;
    static uint8_t large[300000];
    int n = 0;
    buf_init(&out, 100);
#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition, err.msg);                  \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)
    NEED(objstore_local_new(&opts, &env, &s, &err) == 0);
    NEED(objstore_put(s, SLICE("t/a"), SLICE("kept"), 0, 0, &err) == 0);
    struct slice body = slice_of(large, sizeof large);
    NEED(objstore_put(s, SLICE("t/a"), body, 0, 0, &err) == ERR_UNAVAILABLE);
    NEED(strstr(err.msg, "writing") && strstr(err.msg, "t/a"));
    NEED(objstore_put(s, SLICE("t/b"), body, OBJSTORE_IF_ABSENT, 0, &err) == ERR_UNAVAILABLE);
    NEED(objstore_upload_begin(s, SLICE("t/c"), 0, &u, &err) == 0);
    NEED(objstore_upload_write(u, body, &err) == ERR_UNAVAILABLE);
    objstore_upload_abort(u);
    NEED(objstore_get(s, SLICE("t/a"), 0, &out, &err) == 0);
    NEED(slice_eq(buf_view(&out), SLICE("kept")));
    NEED(objstore_list(s, SLICE(""), SLICE(""), false, count_item, &n, 0, &err) == 0 && n == 1);
    /* What did not fit is gone again: small writes go on. */
    NEED(objstore_put(s, SLICE("t/d"), SLICE("small"), 0, 0, &err) == 0);
    objstore_free(s);
    buf_clear(&out);
    return count_files(dir) == 2 ? 0 : 1;
}

static bool limit_file_size(const char *dir)
{
    (void)dir;
    struct rlimit limit = {65536, 65536};
    signal(SIGXFSZ, SIG_IGN);
    return setrlimit(RLIMIT_FSIZE, &limit) == 0;
}

/* A small tmpfs in a mount namespace of the child's own; where that is not allowed, the other limit
 * brings the same error path. */
static bool make_disk_small(const char *dir)
{
    if ((unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("tmpfs", dir, "tmpfs", 0, "size=128k") == 0)
        return true;
    return limit_file_size(dir);
}

static void run_full_disk(bool (*make_small)(const char *dir))
{
    char dir[256];
    scratch_dir_make(dir);
    pid_t pid = fork();
    if (pid == 0)
        _exit(make_small(dir) ? live_on_a_full_disk(dir) : 2);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    scratch_dir_remove(dir);
}

static void a_full_disk_is_unavailable_and_loses_nothing(void **state)
{
    (void)state;
    run_full_disk(make_disk_small);
}

static void a_file_size_limit_is_unavailable_and_loses_nothing(void **state)
{
    (void)state;
    run_full_disk(limit_file_size);
}

/* ---- races ---- */

struct worker {
    struct world *w;
    pthread_t thread;
    int failures;
    const char *body;
};

static void *put_and_delete(void *ctx)
{
    struct worker *k = ctx;
    for (int i = 0; i < 150; i++) {
        if (objstore_put(k->w->store, SLICE("r/s/t"), SLICE("x"), 0, 0, NULL) < 0)
            k->failures++;
        if (objstore_delete(k->w->store, SLICE("r/s/t"), 0, NULL) < 0)
            k->failures++;
    }
    return NULL;
}

static void puts_survive_their_directory_being_removed(void **state)
{
    struct world *w = *state;
    struct worker workers[4];
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){.w = w};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, put_and_delete, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failures, 0);
    }
    assert_int_equal(count_files(w->dir), 0);
}

#define BODY_BYTES 50000

static void *overwrite(void *ctx)
{
    struct worker *k = ctx;
    for (int i = 0; i < 60; i++) {
        if (objstore_put(k->w->store, SLICE("o"), slice_of(k->body, BODY_BYTES), 0, 0, NULL) < 0)
            k->failures++;
    }
    return NULL;
}

static void a_reader_sees_one_object_or_the_other(void **state)
{
    struct world *w = *state;
    static char bodies[2][BODY_BYTES];
    struct worker workers[2];
    memset(bodies[0], 'a', BODY_BYTES);
    memset(bodies[1], 'b', BODY_BYTES);
    assert_int_equal(
        objstore_put(w->store, SLICE("o"), slice_of(bodies[0], BODY_BYTES), 0, 0, NULL), 0);
    for (int i = 0; i < 2; i++) {
        workers[i] = (struct worker){.w = w, .body = bodies[i]};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, overwrite, &workers[i]), 0);
    }
    for (int i = 0; i < 300; i++) {
        struct buf out;
        buf_init(&out, BODY_BYTES);
        assert_int_equal(objstore_get(w->store, SLICE("o"), 0, &out, &w->err), 0);
        assert_true(slice_eq(buf_view(&out), slice_of(bodies[0], BODY_BYTES)) ||
                    slice_eq(buf_view(&out), slice_of(bodies[1], BODY_BYTES)));
        buf_clear(&out);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failures, 0);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_world, end_world)
    const struct CMUnitTest tests[] = {
        TEST(keys_are_file_names_as_tempo_has_them),
        TEST(the_prefix_is_a_directory_below_the_path),
        TEST(bad_settings_are_refused),
        TEST(the_path_is_made_with_its_parents),
        TEST(an_object_and_a_directory_do_not_share_a_name),
        TEST(names_the_file_system_cannot_hold_are_invalid),
        TEST(deletes_remove_emptied_directories_up_to_the_root),
        TEST(names_that_are_no_keys_are_not_listed),
        TEST(links_lead_nowhere),
        TEST(what_a_killed_writer_left_is_removed_at_open),
        TEST(temporary_names_are_no_keys),
        TEST(a_writer_killed_midway_leaves_the_old_object),
        TEST(a_store_open_for_reading_leaves_the_directory_as_it_is),
        TEST(a_store_open_for_reading_is_not_made),
        TEST(a_full_disk_is_unavailable_and_loses_nothing),
        TEST(a_file_size_limit_is_unavailable_and_loses_nothing),
        TEST(puts_survive_their_directory_being_removed),
        TEST(a_reader_sees_one_object_or_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
