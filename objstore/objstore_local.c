/* The local driver: a directory, keys as file names, Tempo's layout on disk.
 *
 * A write goes to a hidden file beside its target, is fsynced, and then takes its name by rename,
 * or by link where the key must be new; then the directory is fsynced, and the parents that were
 * made on the way were before. A reader sees the old object, the new one, or none.
 *
 * Paths are walked segment by segment with O_NOFOLLOW: a symbolic link below the root is refused,
 * so no key leads out of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "base/text.h"
#include "objstore/objstore_local_priv.h"

static struct local_store *local_of(struct objstore *s)
{
    return (struct local_store *)s;
}

int local_error(int e, const char *doing, struct err *err)
{
    enum err_code code = ERR_IO;
    switch (e) {
    case ENOENT:
        code = ERR_NOTFOUND;
        break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* a limit on file sizes */
    case EMFILE:
    case ENFILE:
        code = ERR_UNAVAILABLE;
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        code = ERR_DENIED;
        break;
    case ENAMETOOLONG:
    case EISDIR:
    case ENOTDIR:
        code = ERR_INVALID;
        break;
    case ENOMEM:
        code = ERR_NOMEM;
        break;
    default:
        break;
    }
    return err_set(err, code, "%s: %s", doing, strerror(e));
}

static bool is_late(const struct local_store *s, uint64_t deadline_ns)
{
    return clock_mono_ns(s->base.clock) >= deadline_ns;
}

static int late(struct err *err)
{
    return err_set(err, ERR_TIMEOUT, "the deadline has passed");
}

/* ---- paths ---- */

int local_path_set(struct local_path *p, const struct local_store *s, struct slice key,
                   struct err *err)
{
    for (struct slice rest = key; rest.len;) {
        if (slice_starts(rest, SLICE(LOCAL_TMP_PREFIX)))
            return err_set(err, ERR_INVALID, "names that begin with %s are not keys",
                           LOCAL_TMP_PREFIX);
        rest = slice_from(rest, slice_find(rest, '/') + 1);
    }
    p->len = (size_t)snprintf(p->text, sizeof p->text, "%s%.*s", s->prefix, SLICE_ARGS(key));
    return 0;
}

/* Length of the directory part, without its '/'. */
static size_t dir_bytes(const struct local_path *p)
{
    const char *slash = strrchr(p->text, '/');
    return slash ? (size_t)(slash - p->text) : 0;
}

static const char *last_name(const struct local_path *p)
{
    const char *slash = strrchr(p->text, '/');
    return slash ? slash + 1 : p->text;
}

static uint64_t hash_path(const char *text, size_t bytes)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    return h | 1;
}

/* Makes the entry of the directory `path` (its first `bytes` bytes) in parent_fd durable. One that
 * another process has just made may not be yet, so the first use by this process syncs as well. */
static int make_durable(struct local_store *s, int parent_fd, const char *path, size_t bytes,
                        bool made, struct err *err)
{
    uint64_t h = hash_path(path, bytes);
    _Atomic uint64_t *place = &s->durable[h % LIMIT_LOCAL_DURABLE];
    if (!made && atomic_load_explicit(place, memory_order_acquire) == h)
        return 0;
    if (fsync(parent_fd) < 0)
        return local_error(errno, "syncing a directory", err);
    atomic_store_explicit(place, h, memory_order_release);
    return 0;
}

static int open_failed(int parent_fd, const char *name, bool make, int e, struct err *err)
{
    struct stat st;
    if ((e == ELOOP || e == ENOTDIR) && fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISLNK(st.st_mode))
            return err_set(err, ERR_DENIED, "'%s' is a symbolic link, which is not followed", name);
        if (!make)
            return err_set(err, ERR_NOTFOUND, "'%s' is not a directory", name);
        return err_set(err, ERR_INVALID, "'%s' is an object, so no key can lie below it", name);
    }
    return local_error(e, "opening a directory", err);
}

/* One step down; takes over parent_fd and closes it. */
static int step_down(struct local_store *s, const struct local_path *p, size_t from, size_t to,
                     bool make, int *fd, struct err *err)
{
    char name[256];
    int parent_fd = *fd, rc = 0;
    bool made = false;
    if (to - from >= sizeof name)
        return local_error(ENAMETOOLONG, "a segment of the key", err);
    memcpy(name, p->text + from, to - from);
    name[to - from] = 0;
    int down = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (down < 0 && errno == ENOENT && make) {
        made = mkdirat(parent_fd, name, 0777) == 0;
        if (!made && errno != EEXIST)
            return local_error(errno, "making a directory", err);
        down = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (down < 0)
        return open_failed(parent_fd, name, make, errno, err);
    if (make)
        rc = make_durable(s, parent_fd, p->text, to, made, err);
    if (rc < 0) {
        close(down);
        return rc;
    }
    close(parent_fd);
    *fd = down;
    return 0;
}

int local_open_dir(struct local_store *s, const struct local_path *p, size_t bytes, bool make,
                   int *fd, struct err *err)
{
    /* Opened anew: a dup would share the offset of whoever else reads the directory. */
    int at = openat(s->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return local_error(errno, "opening the root", err);
    for (size_t from = 0; from < bytes;) {
        const char *slash = memchr(p->text + from, '/', bytes - from);
        size_t to = slash ? (size_t)(slash - p->text) : bytes;
        int rc = step_down(s, p, from, to, make, &at, err);
        if (rc < 0) {
            close(at);
            return rc;
        }
        from = to + 1;
    }
    *fd = at;
    return 0;
}

/* ---- reading ---- */

/* Opens the object's file. O_NONBLOCK, so that a FIFO somebody put there does not hold us. */
static int open_object(struct local_store *s, const struct local_path *p, int *fd, struct stat *st,
                       struct err *err)
{
    int dir_fd;
    int rc = local_open_dir(s, p, dir_bytes(p), false, &dir_fd, err);
    if (rc < 0)
        return rc;
    *fd = openat(dir_fd, last_name(p), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0)
        rc = errno == ENOENT ? err_set(err, ERR_NOTFOUND, "no such object")
                             : open_failed(dir_fd, last_name(p), false, errno, err);
    close(dir_fd);
    if (rc == 0 && fstat(*fd, st) < 0)
        rc = local_error(errno, "looking at a file", err);
    else if (rc == 0 && !S_ISREG(st->st_mode))
        rc = err_set(err, ERR_NOTFOUND, "no such object: not a regular file");
    if (rc < 0 && *fd >= 0)
        close(*fd);
    return rc;
}

/* Exactly [from, to) of the file. */
static int read_range(int fd, uint64_t from, uint64_t to, struct buf *out, struct err *err)
{
    uint64_t want = to - from;
    int rc = want > SIZE_MAX ? ERR_LIMIT : buf_reserve(out, (size_t)want);
    if (rc < 0)
        return err_set(err, rc, "%llu bytes do not fit %zu", (unsigned long long)want, out->max);
    while (from < to) {
        ssize_t n = pread(fd, out->ptr + out->len, (size_t)(to - from), (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return local_error(errno, "reading", err);
        if (n == 0)
            return err_set(err, ERR_IO, "the file became shorter while it was read");
        out->len += (size_t)n;
        from += (uint64_t)n;
    }
    return 0;
}

static int read_one(int fd, const struct stat *st, struct objstore_get *g)
{
    uint64_t from, to;
    g->object_bytes = (uint64_t)st->st_size;
    objstore_resolve_range(g, g->object_bytes, &from, &to);
    return read_range(fd, from, to, &g->out, &g->err);
}

/* The kernel begins to read all ranges of a run before we wait for the first. */
static void announce(int fd, const struct stat *st, const struct objstore_get *gets, size_t count)
{
    for (size_t i = 0; i < count && count > 1; i++) {
        uint64_t from, to;
        objstore_resolve_range(&gets[i], (uint64_t)st->st_size, &from, &to);
        if (to > from)
            (void)posix_fadvise(fd, (off_t)from, (off_t)(to - from), POSIX_FADV_WILLNEED);
    }
}

/* A run of gets of one key: the file is opened once. */
static void get_run(struct local_store *s, struct objstore_get *gets, size_t count,
                    uint64_t deadline_ns)
{
    struct local_path p;
    struct stat st;
    struct err err;
    int fd = -1;
    int rc = is_late(s, deadline_ns) ? late(&err) : local_path_set(&p, s, gets[0].key, &err);
    if (rc == 0)
        rc = open_object(s, &p, &fd, &st, &err);
    if (rc < 0) {
        for (size_t i = 0; i < count; i++)
            gets[i].rc = err_set(&gets[i].err, rc, "%s", err.msg);
        return;
    }
    announce(fd, &st, gets, count);
    for (size_t i = 0; i < count; i++)
        gets[i].rc = is_late(s, deadline_ns) ? late(&gets[i].err) : read_one(fd, &st, &gets[i]);
    close(fd);
}

static void local_get_many(struct objstore *store, struct objstore_get *gets, size_t count,
                           uint64_t deadline_ns)
{
    for (size_t i = 0; i < count;) {
        size_t n = 1;
        while (i + n < count && gets[i + n].rc == 0 && slice_eq(gets[i + n].key, gets[i].key))
            n++;
        if (gets[i].rc == 0)
            get_run(local_of(store), &gets[i], n, deadline_ns);
        i += n;
    }
}

static int local_head(struct objstore *store, struct slice key, uint64_t deadline_ns,
                      struct objstore_info *info, struct err *err)
{
    struct local_store *s = local_of(store);
    struct local_path p;
    struct stat st;
    int fd = -1;
    int rc = is_late(s, deadline_ns) ? late(err) : local_path_set(&p, s, key, err);
    if (rc == 0)
        rc = open_object(s, &p, &fd, &st, err);
    if (rc < 0)
        return rc;
    info->bytes = (uint64_t)st.st_size;
    info->modified_unix_ns = (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
    close(fd);
    return 0;
}

/* ---- writing ---- */

/* A write under way. */
struct draft {
    struct local_store *store;
    struct local_path path;
    int dir_fd;
    int fd;
    char tmp[sizeof LOCAL_TMP_PREFIX + 16];
};

static void name_tmp(struct draft *d)
{
    uint8_t id[8];
    memcpy(d->tmp, LOCAL_TMP_PREFIX, sizeof LOCAL_TMP_PREFIX - 1);
    random_bytes(id, sizeof id);
    hex_encode(slice_of(id, sizeof id), d->tmp + sizeof LOCAL_TMP_PREFIX - 1);
    d->tmp[sizeof LOCAL_TMP_PREFIX - 1 + 16] = 0;
}

static int draft_begin(struct draft *d, struct local_store *s, struct slice key, struct err *err)
{
    d->store = s;
    int rc = local_path_set(&d->path, s, key, err);
    if (rc < 0)
        return rc;
    /* An emptied directory may be removed between our opening it and our writing to it. */
    for (unsigned i = 0; i < LIMIT_LOCAL_TRIES; i++) {
        rc = local_open_dir(s, &d->path, dir_bytes(&d->path), true, &d->dir_fd, err);
        if (rc == ERR_NOTFOUND)
            continue;
        if (rc < 0)
            return rc;
        name_tmp(d);
        d->fd = openat(d->dir_fd, d->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (d->fd >= 0) {
            (void)flock(d->fd, LOCK_EX | LOCK_NB); /* says that it is being written */
            return 0;
        }
        rc = local_error(errno, "creating a file", err);
        close(d->dir_fd);
        if (rc != ERR_NOTFOUND)
            return rc;
    }
    return err_set(err, ERR_IO, "the directory vanished %u times while it was written to",
                   LIMIT_LOCAL_TRIES);
}

static int draft_write(struct draft *d, struct slice bytes, struct err *err)
{
    while (bytes.len) {
        ssize_t n = write(d->fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return local_error(errno, "writing", err);
        bytes = slice_from(bytes, (size_t)n);
    }
    return 0;
}

static void draft_drop(struct draft *d)
{
    (void)unlinkat(d->dir_fd, d->tmp, 0);
    close(d->fd);
    close(d->dir_fd);
}

/* Does the file there hold these bytes? If so, it is made durable: its writer may not be done. */
static int same_content(struct draft *d, struct slice body, struct err *err)
{
    struct stat st;
    int fd;
    int rc = open_object(d->store, &d->path, &fd, &st, err);
    if (rc < 0)
        return rc;
    struct buf there;
    buf_init(&there, body.len);
    if ((uint64_t)st.st_size == body.len)
        rc = read_range(fd, 0, body.len, &there, err);
    if (rc == 0 && !slice_eq(buf_view(&there), body))
        rc = err_set(err, ERR_EXISTS, "the key exists with other content");
    if (rc == 0 && fsync(fd) < 0)
        rc = local_error(errno, "syncing a file", err);
    buf_clear(&there);
    close(fd);
    return rc;
}

static int take_name(struct draft *d, struct err *err)
{
    const char *name = last_name(&d->path);
    if (renameat(d->dir_fd, d->tmp, d->dir_fd, name) == 0)
        return 0;
    if (errno == EISDIR || errno == ENOTEMPTY || errno == EEXIST)
        return err_set(err, ERR_INVALID, "'%s' is a directory: keys lie below it", name);
    return local_error(errno, "renaming", err);
}

static int take_new_name(struct draft *d, struct slice body, struct err *err)
{
    const char *name = last_name(&d->path);
    int failed = linkat(d->dir_fd, d->tmp, d->dir_fd, name, 0);
    if (failed && (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK))
        /* A file system without hard links. */
        failed = renameat2(d->dir_fd, d->tmp, d->dir_fd, name, RENAME_NOREPLACE);
    if (!failed)
        return 0;
    if (errno != EEXIST)
        return local_error(errno, "linking", err);
    struct stat st;
    if (fstatat(d->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "'%s' is a directory: keys lie below it", name);
    return same_content(d, body, err);
}

/* Frees the draft in every case. body is needed for if_absent alone. */
static int draft_commit(struct draft *d, bool if_absent, struct slice body, struct err *err)
{
    int rc = fsync(d->fd) < 0 ? local_error(errno, "syncing a file", err) : 0;
    if (rc == 0)
        rc = if_absent ? take_new_name(d, body, err) : take_name(d, err);
    if (rc < 0 || if_absent)
        (void)unlinkat(d->dir_fd, d->tmp, 0);
    if (rc == 0 && fsync(d->dir_fd) < 0)
        rc = local_error(errno, "syncing a directory", err);
    close(d->fd);
    close(d->dir_fd);
    return rc;
}

static int local_put(struct objstore *store, struct slice key, struct slice body, unsigned flags,
                     uint64_t deadline_ns, struct err *err)
{
    struct local_store *s = local_of(store);
    struct draft d;
    if (is_late(s, deadline_ns))
        return late(err);
    int rc = draft_begin(&d, s, key, err);
    if (rc < 0)
        return rc;
    rc = draft_write(&d, body, err);
    if (rc < 0) {
        draft_drop(&d);
        return rc;
    }
    return draft_commit(&d, flags & OBJSTORE_IF_ABSENT, body, err);
}

/* Removes directories that a delete has emptied, up to the root. Best effort. */
static void remove_empty_dirs(struct local_store *s, struct local_path *p)
{
    for (;;) {
        size_t bytes = dir_bytes(p);
        if (bytes == 0)
            return;
        p->text[bytes] = 0;
        p->len = bytes;
        int parent_fd;
        if (local_open_dir(s, p, dir_bytes(p), false, &parent_fd, NULL) < 0)
            return;
        int failed = unlinkat(parent_fd, last_name(p), AT_REMOVEDIR);
        close(parent_fd);
        if (failed)
            return;
    }
}

static int local_remove(struct objstore *store, struct slice key, uint64_t deadline_ns,
                        struct err *err)
{
    struct local_store *s = local_of(store);
    struct local_path p;
    int dir_fd;
    int rc = is_late(s, deadline_ns) ? late(err) : local_path_set(&p, s, key, err);
    if (rc == 0)
        rc = local_open_dir(s, &p, dir_bytes(&p), false, &dir_fd, err);
    if (rc < 0)
        return rc == ERR_NOTFOUND ? 0 : rc;
    if (unlinkat(dir_fd, last_name(&p), 0) == 0)
        rc = fsync(dir_fd) < 0 ? local_error(errno, "syncing a directory", err) : 0;
    else if (errno != ENOENT && errno != EISDIR)
        rc = local_error(errno, "removing", err);
    close(dir_fd);
    if (rc == 0)
        remove_empty_dirs(s, &p);
    return rc;
}

/* ---- uploads ---- */

struct local_upload {
    struct objstore_upload base;
    struct draft draft;
    uint64_t deadline_ns;
};

static int local_upload_begin(struct objstore *store, struct slice key, uint64_t deadline_ns,
                              struct objstore_upload **out, struct err *err)
{
    struct local_upload *u = calloc(1, sizeof *u);
    if (!u)
        return err_set(err, ERR_NOMEM, "no memory for an upload");
    u->deadline_ns = deadline_ns;
    int rc = is_late(local_of(store), deadline_ns)
                 ? late(err)
                 : draft_begin(&u->draft, local_of(store), key, err);
    if (rc < 0) {
        free(u);
        return rc;
    }
    *out = &u->base;
    return 0;
}

static int local_upload_write(struct objstore_upload *base, struct slice bytes, struct err *err)
{
    struct local_upload *u = (struct local_upload *)base;
    if (is_late(u->draft.store, u->deadline_ns))
        return late(err);
    return draft_write(&u->draft, bytes, err);
}

static void local_upload_abort(struct objstore_upload *base)
{
    struct local_upload *u = (struct local_upload *)base;
    draft_drop(&u->draft);
    free(u);
}

static int local_upload_finish(struct objstore_upload *base, struct err *err)
{
    struct local_upload *u = (struct local_upload *)base;
    if (is_late(u->draft.store, u->deadline_ns)) {
        local_upload_abort(base);
        return late(err);
    }
    int rc = draft_commit(&u->draft, false, slice_of(NULL, 0), err);
    free(u);
    return rc;
}

/* ---- making and freeing ---- */

static void local_free(struct objstore *store)
{
    struct local_store *s = local_of(store);
    if (s->root_fd >= 0)
        close(s->root_fd);
    free(s);
}

static const struct objstore_ops local_ops = {
    .free = local_free,
    .get_many = local_get_many,
    .head = local_head,
    .put = local_put,
    .remove = local_remove,
    .list = local_list,
    .upload_begin = local_upload_begin,
    .upload_write = local_upload_write,
    .upload_finish = local_upload_finish,
    .upload_abort = local_upload_abort,
};

/* fsyncs the directory that holds path (its first `bytes` bytes). */
static int sync_parent(const char *path, size_t bytes)
{
    char parent[4096];
    size_t n = bytes;
    while (n > 0 && path[n - 1] != '/')
        n--;
    snprintf(parent, sizeof parent, "%.*s", n ? (int)n : 1, n ? path : ".");
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? -1 : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* mkdir -p, each new directory durable in its parent. */
static int make_root(char *path, struct err *err)
{
    size_t len = strlen(path);
    for (size_t i = 1; i <= len; i++) {
        if (i < len && path[i] != '/')
            continue;
        char was = path[i];
        path[i] = 0;
        bool made = mkdir(path, 0777) == 0;
        int e = errno;
        bool synced = !made || sync_parent(path, i) == 0;
        path[i] = was;
        /* What is there, or cannot be made, shows when it is opened. */
        if (!made && e != EEXIST && e != EACCES && e != EROFS && e != EPERM && e != EISDIR)
            return local_error(e, "making the store's directory", err);
        if (!synced)
            return local_error(errno, "syncing the store's parent directory", err);
    }
    return 0;
}

static int set_up(struct local_store *s, const struct objstore_local_opts *opts, struct err *err)
{
    char path[4096];
    struct slice prefix;
    if (opts->path.len == 0 || opts->path.len >= sizeof path ||
        memchr(opts->path.ptr, 0, opts->path.len))
        return err_set(err, ERR_INVALID, "local path: expected 1 to %zu bytes without NUL",
                       sizeof path - 1);
    memcpy(path, opts->path.ptr, opts->path.len);
    path[opts->path.len] = 0;
    int rc = objstore_check_prefix(opts->prefix, &prefix, err);
    if (rc < 0)
        return err_wrap(err, "local prefix"), rc;
    if (prefix.len)
        snprintf(s->prefix, sizeof s->prefix, "%.*s/", SLICE_ARGS(prefix));
    rc = s->base.read_only ? 0 : make_root(path, err);
    if (rc == 0) {
        s->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->root_fd < 0)
            rc = local_error(errno, "opening the store's directory", err);
    }
    if (rc < 0)
        return err_wrap(err, "local path '%.200s'", path), rc;
    snprintf(s->base.describe, sizeof s->base.describe, "local %.200s%s%.200s", path,
             s->prefix[0] ? " prefix " : "", s->prefix);
    return 0;
}

int objstore_local_new(const struct objstore_local_opts *opts, const struct objstore_env *env,
                       struct objstore **out, struct err *err)
{
    struct local_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for a store");
    objstore_init(&s->base, &local_ops, env);
    s->root_fd = -1;
    int rc = set_up(s, opts, err);
    if (rc < 0) {
        local_free(&s->base);
        return rc;
    }
    if (!s->base.read_only)
        local_sweep_tree(s);
    *out = &s->base;
    return 0;
}
