/* The limits of the room net/, each with what it bounds, why this number, and what a client sees.
 * What a listener's owner chooses (body size, timeouts, connections) is in net_listener_opts. */
#ifndef NET_NET_LIMITS_H
#define NET_NET_LIMITS_H

#include <assert.h>

/* Head of one HTTP/1.1 request. A query may be 128 KiB of text (Tempo's
 * max_query_expression_size_bytes), three times that when percent-encoded; Go's servers take 1 MiB.
 * It takes memory as it comes, and gives it back with the answer.
 * Hit: 414 or 431, and the connection is closed. */
#define LIMIT_HTTP1_HEAD_BYTES (1u << 20)
/* Headers of one request: browsers and proxies send some 30. Hit: 431. */
#define LIMIT_HTTP1_HEADERS 1000u

/* Headers of an answer: they are our own. Hit: those that do not fit are left out. */
#define LIMIT_ANSWER_HEADER_BYTES (16u << 10)
#define LIMIT_HTTP1_ANSWER_HEAD_BYTES (2 * LIMIT_ANSWER_HEADER_BYTES)

/* What one HTTP/1.1 connection may do (a read, a write, a handler's inline answer) before the
 * others get their turn. */
#define LIMIT_HTTP1_STEPS_PER_TURN 64u

/* After a last answer: how long a client that is still sending is read from, so that it sees the
 * answer rather than a reset. */
#define LIMIT_HTTP1_LINGER_MS 2000u

/* Head of a request that asks for an upgrade: ours have a line or two and a secret.
 * Hit: it is taken for any other request. */
#define LIMIT_UPGRADE_HEAD_BYTES 4096

/* Storage of all request bodies of a server, from their first byte to their answer: a client that
 * sends three quarters of a body and waits holds memory that nobody else counts.
 * Hit: the request whose body passes it is answered as overload, 503 or UNAVAILABLE. */
#define LIMIT_BODIES_BYTES (192u << 20)

/* Bytes of a body past its limit that are read and thrown away, so that a client that sends first
 * and reads later sees the answer rather than a reset. The read timeout bounds it as well.
 * Hit: the connection is closed without an answer. */
#define LIMIT_HTTP1_DISCARD_BYTES (32u << 20)

/* Header list of one HTTP/2 request, counted as RFC 9113 does (name + value + 32). grpc-go's
 * servers default to 16 MiB, grpc-core's to 16 KiB; metadata of an exporter is under 2 KiB.
 * Hit: the stream is answered with :status 431. */
#define LIMIT_HTTP2_HEADER_BYTES (16u << 10)
#define LIMIT_HTTP2_HEADER_OVERHEAD 32u

/* Streams at once on one connection, as in Tempo's gRPC server.
 * Hit: RST_STREAM REFUSED_STREAM, which clients retry; once the client has acknowledged the
 * setting it is a protocol error, and the connection ends with GOAWAY. */
#define LIMIT_HTTP2_STREAMS 100u

/* Receive windows. Bytes are consumed as they come, so a window costs no memory: it only has to
 * cover the way to a distant client and back. */
#define LIMIT_HTTP2_STREAM_WINDOW_BYTES (1u << 20)
#define LIMIT_HTTP2_CONNECTION_WINDOW_BYTES (4u << 20)

/* Floods (CVE-2019-9512, -9514, -9515, CVE-2023-44487): PING and SETTINGS answers waiting to be
 * sent, settings in one frame, RST_STREAMs of the client in a burst and a second.
 * Hit: the connection ends with GOAWAY. */
#define LIMIT_HTTP2_OUTBOUND_ACKS 1000u
#define LIMIT_HTTP2_SETTINGS_ENTRIES 32u
#define LIMIT_HTTP2_RESET_BURST 1000u
#define LIMIT_HTTP2_RESET_PER_S 33u

/* Bytes taken off one HTTP/2 socket, and bytes given to it, at a time. Bounds both the scratch
 * buffer and what one busy connection may do before the others get their turn. */
#define LIMIT_HTTP2_READ_BYTES (64u << 10)
#define LIMIT_HTTP2_READS_PER_TURN 4u
#define LIMIT_HTTP2_WRITE_BYTES (64u << 10)

/* Status text and details of a gRPC answer: grpc-core clients refuse trailers above 16 KiB (soft
 * 8 KiB), and a text grows threefold when it is percent-encoded.
 * Hit: the text is cut, details are left out. */
#define LIMIT_GRPC_MESSAGE_BYTES 2048u
#define LIMIT_GRPC_DETAILS_BYTES 3072u
static_assert(3 * LIMIT_GRPC_MESSAGE_BYTES + LIMIT_GRPC_DETAILS_BYTES * 4 / 3 < (16u << 10),
              "trailers must stay below what grpc-core clients take");

/* Bytes of gRPC messages that may wait for a client before net_stream_ready says that it does not
 * keep up: a few messages of the query API (2 MiB at most), so that a client on a slow line is
 * never without work. The message that passes it is still taken, so is the rest of an answer.
 * Hit: the query API leaves intermediate messages out. */
#define LIMIT_STREAM_WAITING_BYTES ((size_t)4 << 20)

/* Time for an answer, or one message of it, to leave: a fixed part and its size at the slowest rate
 * we serve. A client that takes its answer more slowly is cut, or its stream is reset. */
#define LIMIT_WRITE_TIMEOUT_MS 30000u
#define LIMIT_WRITE_BYTES_PER_S (64u << 10)

/* Connections accepted from one listening socket before the others get their turn. */
#define LIMIT_ACCEPTS_PER_TURN 64u
/* How long a listening socket rests when the process has run out of descriptors or memory. */
#define LIMIT_ACCEPT_PAUSE_MS 100u
#define LIMIT_LISTEN_BACKLOG 1024

/* Deadlines are looked for at most this often; a client is cut this much late at worst. */
#define LIMIT_SWEEP_INTERVAL_MS 20u

/* Defaults of net_listener_opts. */
#define LIMIT_READ_TIMEOUT_MS 30000u
#define LIMIT_IDLE_TIMEOUT_MS 120000u
#define LIMIT_CONNECTIONS 16384u

/* Answers are compressed from this size up (Tempo's number). */
#define LIMIT_GZIP_BYTES_MIN 1024u

/* Largest zstd window, as a power of two: 32 MiB, what klauspost's best level declares. The
 * decoder maps the window when a header claims it, but touches only what is decoded.
 * Hit: ERR_CORRUPT, "zstd: corrupt input". */
#define LIMIT_ZSTD_WINDOW_LOG 25

/* A snappy frame's chunk holds at most 64 KiB of data (framing format, section 4.2). */
#define LIMIT_SNAPPY_CHUNK_BYTES (64u << 10)

#endif
