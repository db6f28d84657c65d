/* The snappy framing format: a stream identifier, then chunks with a masked CRC-32C each. */
#ifndef NET_SNAPPY_FRAME_H
#define NET_SNAPPY_FRAME_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* Appends what the stream holds to out, whose max bounds it (ERR_LIMIT). ERR_CORRUPT with a text
 * that starts "snappy: ". */
int snappy_frame_decode(struct slice in, struct buf *out, struct err *err);

/* CRC-32C (Castagnoli), masked as the framing format wants it. */
uint32_t snappy_frame_crc(struct slice data);

#endif
