/* Reading files, whole, and the frames in them. */
#include "rubato/frames.h"

#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

static int unzstd(struct slice in, struct buf *out, struct err *err)
{
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer src = {in.ptr, in.len, 0};
    size_t left = 0; /* of the frame that is open */
    int rc = d ? 0 : ERR_NOMEM;
    while (rc == 0 && (src.pos < src.size || left)) {
        rc = buf_reserve(out, ZSTD_DStreamOutSize());
        if (rc < 0)
            break;
        ZSTD_outBuffer dst = {out->ptr + out->len, out->cap - out->len, 0};
        size_t before = src.pos;
        left = ZSTD_decompressStream(d, &dst, &src);
        out->len += dst.pos;
        if (ZSTD_isError(left))
            rc = err_set(err, ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(left));
        else if (dst.pos == 0 && src.pos == before)
            rc = err_set(err, ERR_CORRUPT, "zstd: it breaks off at byte %zu", src.pos);
    }
    ZSTD_freeDCtx(d);
    return rc == 0 || rc == ERR_CORRUPT ? rc
                                        : err_set(err, rc, "no memory for %zu bytes", out->len);
}

int frames_read_file(const char *path, struct buf *out, struct err *err)
{
    struct buf raw;
    buf_init(&raw, FRAMES_BYTES_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? err_set(err, ERR_IO, "%s: %m", path) : 0;
    for (ssize_t n = 1; rc == 0 && n > 0;) {
        if (buf_reserve(&raw, (size_t)1 << 20) < 0) {
            rc = err_set(err, ERR_NOMEM, "%s: no memory", path);
            break;
        }
        n = read(fd, raw.ptr + raw.len, raw.cap - raw.len);
        if (n < 0)
            rc = err_set(err, ERR_IO, "%s: %m", path);
        else
            raw.len += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    if (rc == 0 && slice_ends(slice_cstr(path), SLICE(".zst"))) {
        rc = unzstd(buf_view(&raw), out, err);
        if (rc < 0)
            err_wrap(err, "%s", path);
    } else if (rc == 0 && buf_slice(out, buf_view(&raw)) < 0) {
        rc = err_set(err, ERR_NOMEM, "%s: no memory", path);
    }
    buf_clear(&raw);
    return rc;
}

int frames_next(struct cursor *c, struct slice *request, struct err *err)
{
    uint32_t len;
    size_t at = cursor_offset(c);
    if (cursor_left(c) == 0)
        return 1;
    if (!cursor_u32be(c, &len) || !cursor_bytes(c, len, request))
        return err_set(err, ERR_CORRUPT, "the frames break off at byte %zu", at);
    return 0;
}
