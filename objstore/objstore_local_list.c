/* Walking the local driver's tree: listing in key order, and sweeping up what killed writers left.
 *
 * One directory's names are held at a time for each level, sorted the way their keys sort: a
 * directory "a" counts as "a/", so that "a-b" comes before what lies in it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/vec.h"
#include "objstore/objstore_local_priv.h"

#define NAMES_ARENA_BYTES ((size_t)512 << 20)
#define SWEEP_ENTRIES 4096 /* names looked at when a store is opened; lists sweep the rest */

struct name {
    struct slice text; /* a directory's with its '/'; NUL behind it */
    bool is_dir;
};

struct names {
    VEC(struct name) list;
    struct arena *arena;
};

struct walk {
    struct local_store *store;
    const struct objstore_list_query *query;
    struct buf key; /* of the directory that is walked, ending in '/' when not the root */
    unsigned shown;
    struct err *err;
};

/* ---- sweeping ---- */

void local_sweep_file(const struct local_store *s, int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return;
    /* A writer holds the lock. Without one, only age tells a file just created from an old one. */
    uint64_t now_s = clock_unix_ns(s->base.clock) / NS_PER_S;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        (uint64_t)st.st_mtim.tv_sec + LIMIT_LOCAL_STALE_S <= now_s &&
        flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(dir_fd, name, 0) == 0)
        LOG_INFO(s->base.log, "unfinished write removed", KV_STR("file", name),
                 KV_U64("bytes", (uint64_t)st.st_size));
    close(fd);
}

static bool is_tmp(const char *name)
{
    return strncmp(name, LOCAL_TMP_PREFIX, sizeof LOCAL_TMP_PREFIX - 1) == 0;
}

/* Directory, regular file or neither, without following links. */
static mode_t kind_of(int dir_fd, const struct dirent *e)
{
    struct stat st;
    if (e->d_type == DT_DIR)
        return S_IFDIR;
    if (e->d_type == DT_REG)
        return S_IFREG;
    if (e->d_type != DT_UNKNOWN || fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return st.st_mode & S_IFMT;
}

static DIR *open_below(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0)
        close(fd);
    return d;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void sweep_dir(struct local_store *s, DIR *d, unsigned depth, unsigned *budget)
{
    for (struct dirent *e; *budget && (e = readdir(d));) {
        if (is_dots(e->d_name))
            continue;
        --*budget;
        if (is_tmp(e->d_name)) {
            local_sweep_file(s, dirfd(d), e->d_name);
        } else if (depth < LIMIT_LOCAL_DEPTH && kind_of(dirfd(d), e) == S_IFDIR) {
            DIR *below = open_below(dirfd(d), e->d_name);
            if (below) {
                sweep_dir(s, below, depth + 1, budget);
                closedir(below);
            }
        }
    }
}

void local_sweep_tree(struct local_store *s)
{
    unsigned budget = SWEEP_ENTRIES;
    DIR *d = open_below(s->root_fd, ".");
    if (!d)
        return;
    sweep_dir(s, d, 0, &budget);
    closedir(d);
}

/* ---- one directory ---- */

static int name_cmp(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    return slice_cmp(x->text, y->text);
}

/* Slices of the walk's key without the store's prefix. */
static struct slice shown_key(const struct walk *w)
{
    return slice_from(buf_view(&w->key), strlen(w->store->prefix));
}

/* May the key, or a key below the directory, be in the answer? */
static bool is_wanted(const struct walk *w, struct slice key, bool is_dir)
{
    const struct objstore_list_query *q = w->query;
    if (!slice_starts(key, q->prefix) && !(is_dir && slice_starts(q->prefix, key)))
        return false;
    if (is_dir && slice_starts(q->start_after, key))
        return true;
    return slice_cmp(key, q->start_after) > 0;
}

static int add_name(struct walk *w, struct names *names, const char *text, bool is_dir)
{
    size_t n = strlen(text), was = w->key.len;
    bool wanted = false;
    int rc = buf_append(&w->key, text, n);
    if (rc == 0 && is_dir)
        rc = buf_u8(&w->key, '/');
    if (rc == 0)
        wanted = is_wanted(w, shown_key(w), is_dir);
    w->key.len = was;
    if (!wanted) /* rc < 0: longer than any key of ours */
        return 0;
    char *copy = arena_printf(names->arena, "%s%s", text, is_dir ? "/" : "");
    struct name name = {slice_cstr(copy), is_dir};
    if (!copy || names->list.count >= LIMIT_LOCAL_DIR_ENTRIES || !vec_push(&names->list, name))
        return err_set(w->err, ERR_LIMIT, "one directory has more than %u names",
                       names->list.count);
    return 0;
}

static int read_names(struct walk *w, DIR *d, struct names *names)
{
    int rc = 0;
    names->arena = arena_new(NAMES_ARENA_BYTES);
    if (!names->arena)
        return err_set(w->err, ERR_NOMEM, "no memory for a directory");
    while (rc == 0) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e)
            return errno ? local_error(errno, "reading a directory", w->err) : 0;
        if (is_dots(e->d_name))
            continue;
        if (is_tmp(e->d_name)) {
            if (!w->store->base.read_only)
                local_sweep_file(w->store, dirfd(d), e->d_name);
            continue;
        }
        mode_t kind = kind_of(dirfd(d), e);
        if ((kind == S_IFDIR || kind == S_IFREG) && objstore_key_is_valid(slice_cstr(e->d_name)))
            rc = add_name(w, names, e->d_name, kind == S_IFDIR);
    }
    return rc;
}

/* Does any key lie below? A store has no empty directories, so neither has its listing. */
static bool has_key(DIR *d, unsigned depth)
{
    bool found = false;
    for (struct dirent *e; !found && (e = readdir(d));) {
        if (is_dots(e->d_name) || is_tmp(e->d_name))
            continue;
        mode_t kind = kind_of(dirfd(d), e);
        if (kind == S_IFREG)
            found = objstore_key_is_valid(slice_cstr(e->d_name));
        if (kind != S_IFDIR || depth >= LIMIT_LOCAL_DEPTH)
            continue;
        DIR *below = open_below(dirfd(d), e->d_name);
        if (below) {
            found = has_key(below, depth + 1);
            closedir(below);
        }
    }
    return found;
}

/* ---- the walk ---- */

/* 1: the caller wants no more. */
static int show(struct walk *w, const struct objstore_list_item *item)
{
    if (slice_cmp(item->key, w->query->start_after) <= 0)
        return 0;
    if (++w->shown % 256 == 0 && clock_mono_ns(w->store->base.clock) >= w->query->deadline_ns)
        return err_set(w->err, ERR_TIMEOUT, "the deadline passed after %u keys", w->shown);
    return w->query->fn(w->query->ctx, item) != 0;
}

static int show_file(struct walk *w, int dir_fd, const struct name *name)
{
    struct stat st;
    if (fstatat(dir_fd, (const char *)name->text.ptr, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0; /* deleted since */
    struct objstore_list_item item = {
        .key = shown_key(w),
        .bytes = (uint64_t)st.st_size,
        .modified_unix_ns = (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec,
    };
    return show(w, &item);
}

static int walk_dir(struct walk *w, DIR *d, unsigned depth);

static int walk_below(struct walk *w, DIR *parent, const struct name *name, unsigned depth)
{
    char plain[256];
    size_t n = name->text.len - 1;
    if (n >= sizeof plain)
        return 0;
    memcpy(plain, name->text.ptr, n);
    plain[n] = 0;
    DIR *d = open_below(dirfd(parent), plain);
    if (!d)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? 0 /* gone since */
                   : local_error(errno, "opening a directory", w->err);
    int rc = 0;
    struct slice key = shown_key(w);
    bool fold = w->query->delimiter_slash && key.len > w->query->prefix.len;
    if (!fold) {
        rc = walk_dir(w, d, depth + 1);
    } else if (has_key(d, depth + 1)) {
        struct objstore_list_item item = {.key = key, .is_prefix = true};
        rc = show(w, &item);
    }
    closedir(d);
    return rc;
}

static int walk_dir(struct walk *w, DIR *d, unsigned depth)
{
    if (depth >= LIMIT_LOCAL_DEPTH)
        return 0;
    if (clock_mono_ns(w->store->base.clock) >= w->query->deadline_ns)
        return err_set(w->err, ERR_TIMEOUT, "the deadline passed after %u keys", w->shown);
    struct names names = {.arena = NULL};
    int rc = read_names(w, d, &names);
    if (names.list.count)
        qsort(names.list.at, names.list.count, sizeof names.list.at[0], name_cmp);
    size_t was = w->key.len;
    for (uint32_t i = 0; i < names.list.count && rc == 0; i++) {
        const struct name *name = &names.list.at[i];
        rc = buf_slice(&w->key, name->text);
        if (rc == 0)
            rc = name->is_dir ? walk_below(w, d, name, depth) : show_file(w, dirfd(d), name);
        w->key.len = was;
    }
    vec_free(&names.list);
    arena_free(names.arena);
    return rc;
}

/* The walk begins in the deepest directory that the prefix names. */
int local_list(struct objstore *store, const struct objstore_list_query *query, struct err *err)
{
    struct local_store *s = (struct local_store *)store;
    struct local_path p;
    int fd;
    int rc = local_path_set(&p, s, query->prefix, err);
    if (rc < 0)
        return rc;
    const char *slash = strrchr(p.text, '/');
    size_t bytes = slash ? (size_t)(slash - p.text) : 0;
    rc = local_open_dir(s, &p, bytes, false, &fd, err);
    if (rc < 0)
        return rc == ERR_NOTFOUND ? 0 : rc;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return err_set(err, ERR_NOMEM, "no memory for a directory");
    }
    struct walk w = {.store = s, .query = query, .err = err};
    buf_init(&w.key, LIMIT_KEY_BYTES + strlen(s->prefix));
    rc = buf_append(&w.key, p.text, slash ? bytes + 1 : 0);
    if (rc == 0)
        rc = walk_dir(&w, d, 0);
    buf_clear(&w.key);
    closedir(d);
    return rc < 0 ? rc : 0;
}
