/*
 * weir.h: Weir in any process.
 *
 * Weir is an L7 proxy that runs Envoy's v3 configuration. This library has it in two tiers:
 *
 *   Tier 1, weir_engine_*: all that a proxy decides, and the bytes of HTTP/1 and HTTP/2, without sockets, threads or a
 *   clock. The host feeds it what happened (weir_engine_accept, _recv, _closed, _timeout, ...) and does what it says
 *   (weir_engine_next_action, _transmit, _deadline). The same config, seed and inputs decide the same, always. TLS stays
 *   with the host: see weir_engine_opening.
 *
 *   Tier 2, weir_proxy_* and weir_call_*: a whole proxy in the host's process, with threads, sockets and TLS of its own.
 *   A library that was built for tier 1 alone (`ffi/install.sh --tier1`) does not have them.
 *
 * RESULTS    Functions that can fail return a weir_result. Its numbers never change their meaning; new ones may come.
 *            weir_last_error has the words of this thread's last failure. Out-parameters are written with WEIR_OK only,
 *            unless a function says otherwise. Nothing here aborts the process or unwinds into C: a panic inside, which
 *            is a bug of ours, becomes WEIR_PANICKED, after Rust's hook has written it to stderr.
 *
 * HANDLES    Pointers to weir_config, weir_engine, weir_proxy, ... are not addresses: never follow them. Whoever got one
 *            frees it, with the function of its kind; freeing NULL does nothing. A handle that was freed, is of another
 *            kind, or was made up is found out (WEIR_WRONG_HANDLE), also after its place is used again.
 *
 * THREADS    Any function may be called on any thread. A handle serves one call at a time: another one at the same time
 *            gets WEIR_BUSY (of a weir_proxy: all its functions may be called at once). Different handles do not wait for
 *            each other.
 *
 * IDS        Connections, listeners, queries and exchanges of an engine are numbers that are never given out twice. Late
 *            news about one that is gone gets WEIR_UNKNOWN_ID and changes nothing: that is no error of the host's.
 *
 * TEXTS      weir_str: UTF-8 with a length. Those given to a function are read before it returns, and copied.
 *
 * STRUCTS    Those that begin with `size` may grow at their end. Set it to sizeof before a call, as WEIR_INIT does:
 *            struct weir_action action = WEIR_INIT(struct weir_action);
 *
 * TIME       `now` is the host's monotonic clock, in nanoseconds from any origin. It must not go back.
 *
 * FORK       Tier 1 may be used on both sides of a fork, by the thread that called it. Tier 2 has threads, which a child
 *            does not get: in the child do not call anything on a proxy that its parent started, not even free it.
 *
 * This file is generated from Weir's crate `weir-ffi`.
 */

#ifndef WEIR_H
#define WEIR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// The ABI that this header describes. It grows when something that a compiled host relies on changes.
#define WEIR_ABI_VERSION 1

// For `weir_config_load`: take fields that Weir does not honour as warnings.
#define WEIR_ALLOW_UNSUPPORTED 1

// For timeouts: wait as long as it takes.
#define WEIR_FOREVER UINT64_MAX

// For `weir_proxy_options.workers`: as many as the hardware runs at once.
#define WEIR_ALL_PROCESSORS UINT32_MAX

// What a call came to. Numbers are never given another meaning. Out-parameters are written only with `WEIR_OK`, but
// where a function says otherwise.
typedef enum weir_result {
    // It worked.
    WEIR_OK = 0,
    // It worked, and there is nothing (more) to be had now.
    WEIR_NONE = 1,
    // A pointer that must not be NULL is NULL.
    WEIR_NULL_POINTER = 100,
    // A handle is not, or no longer, one of this kind: it was freed, belongs to another kind, or was made up.
    WEIR_WRONG_HANDLE = 101,
    // The handle is in use by another call: of another thread, or of this one if it was called back.
    WEIR_BUSY = 102,
    // A text is not UTF-8.
    WEIR_BAD_UTF8 = 103,
    // The buffer is too small; what is needed is written to the length.
    WEIR_TOO_SMALL = 104,
    // A struct's `size` field is not that of any version of it.
    WEIR_BAD_SIZE = 105,
    // The host was compiled against another ABI: see `weir_check_abi`.
    WEIR_WRONG_ABI = 106,
    // An argument is out of its range.
    WEIR_BAD_VALUE = 107,
    // `now` is earlier than that of a call before.
    WEIR_TIME_REVERSED = 108,
    // An id names nothing (any more): late news about a connection or query that is gone. Nothing was changed.
    WEIR_UNKNOWN_ID = 109,
    // Weir has panicked: a bug of ours. The handle can only be freed.
    WEIR_PANICKED = 110,
    // The config is refused: see the diagnostics.
    WEIR_CONFIG_REFUSED = 200,
    // There is no listener of that name or id.
    WEIR_NO_LISTENER = 201,
    // The listener has as many connections as it may.
    WEIR_LISTENER_LIMIT = 202,
    // There are as many connections as there may be.
    WEIR_GLOBAL_LIMIT = 203,
    // No filter chain is for the connection.
    WEIR_NO_FILTER_CHAIN = 204,
    // There is no stat of that name.
    WEIR_NO_STAT = 205,
    // It is no input log that this build can replay.
    WEIR_BAD_LOG = 206,
    // The replay decided something else than was recorded.
    WEIR_DIVERGED = 207,
    // The callback has no such part of the exchange, or may not change it.
    WEIR_NOT_HERE = 250,
    // A header field, or what stands for one, cannot be sent.
    WEIR_BAD_FIELD = 251,
    // An address cannot be listened on.
    WEIR_LISTEN_FAILED = 300,
    // A name of the config does not resolve.
    WEIR_RESOLVE_FAILED = 301,
    // A file or folder cannot be opened or made.
    WEIR_FILE_FAILED = 302,
    // The system refuses something else.
    WEIR_SYSTEM_FAILED = 303,
    // The proxy has drained, failed or was stopped: it does nothing more.
    WEIR_ENDED = 304,
    // The proxy drains: nothing new begins.
    WEIR_DRAINING = 305,
    // The call came from one of the proxy's own threads (a callback), which it would have waited for.
    WEIR_OWN_THREAD = 306,
    // It takes longer than was to be waited; it goes on.
    WEIR_TIMED_OUT = 307,
    // A worker of the proxy has panicked: a bug of ours. The proxy has ended.
    WEIR_FAILED = 308,
    // The exchange was broken off: by the upstream, a deadline of the config, a drain's deadline, or a stop.
    WEIR_CALL_RESET = 309,
    // The call was cancelled.
    WEIR_CANCELLED = 310,
    // The listener takes no call now.
    WEIR_CALL_REFUSED = 311,
    // Nobody takes more of the request's body: it was finished, or the response came first.
    WEIR_FINISHED = 312,
} weir_result;

// How bad a finding is.
typedef enum weir_severity {
    // The config is wrong, and refused.
    WEIR_ERROR = 0,
    // The config is right, but Weir does not do what it says: refused, unless `WEIR_ALLOW_UNSUPPORTED` is given.
    WEIR_UNSUPPORTED = 1,
    // It works, but perhaps not as meant.
    WEIR_WARNING = 2,
} weir_severity;

// Why a connection is gone.
typedef enum weir_close {
    // The host closed it, as an action asked.
    WEIR_CLOSED = 0,
    // The peer reset it, or reading or writing failed.
    WEIR_RESET = 1,
} weir_close;

// What a host has to do before it hands in a client's bytes.
typedef enum weir_opening {
    // Nothing.
    WEIR_OPENING_PLAIN = 0,
    // A TLS handshake, then `weir_engine_secured` or `weir_engine_handshake_failed`. From then on hand in what was
    // decrypted, and encrypt what is to be sent. A host without TLS closes the connection.
    WEIR_OPENING_TLS = 1,
    // Look at the first bytes without taking them, then call `weir_engine_client_hello`.
    WEIR_OPENING_INSPECT = 2,
    // Close it: no filter chain is for it. Its id means nothing any more.
    WEIR_OPENING_REFUSED = 3,
} weir_opening;

// How a TLS handshake failed.
typedef enum weir_tls_fault {
    // The peer spoke no TLS, or no version or cipher that we have, or sent an alert.
    WEIR_TLS_PROTOCOL = 1,
    // The client showed no certificate and must.
    WEIR_TLS_NO_CERTIFICATE = 2,
    // The peer's certificate is not trusted, expired or revoked.
    WEIR_TLS_UNTRUSTED = 3,
    // It has none of the names that it must have.
    WEIR_TLS_NAME = 4,
    // It is none of those that are pinned.
    WEIR_TLS_PIN = 5,
} weir_tls_fault;

// What to do.
typedef enum weir_action_kind {
    // Connect to `address`, and say so with `weir_engine_connected` or `weir_engine_connect_failed`. If `tls` is not 0, the
    // connection is there once its TLS handshake is done: `name` is the server name to send (may be empty), `alpn` the
    // protocols to offer. What the config says of certificates and checks is the host's to do.
    WEIR_ACTION_CONNECT = 1,
    // There is something to send: call `weir_engine_transmit` until it has nothing.
    WEIR_ACTION_TRANSMIT = 2,
    // Read (again), and first offer what was left (if the host keeps it: see `weir_engine_recv`).
    WEIR_ACTION_READ = 3,
    // Stop reading.
    WEIR_ACTION_PAUSE = 4,
    // Send what is left, then shut down the sending side.
    WEIR_ACTION_SHUTDOWN_WRITE = 5,
    // Send what is left, close, and call `weir_engine_closed`.
    WEIR_ACTION_CLOSE = 6,
    // Close now, whatever is left, and call nothing: the id is gone already.
    WEIR_ACTION_DROP = 7,
    // As `WEIR_ACTION_DROP`, but so that the peer sees an error: a TCP reset (`SO_LINGER` of 0).
    WEIR_ACTION_RESET = 8,
    // Send what is left, then read once. If something is there, hand it in as usual; if not, close, and call
    // `weir_engine_closed`.
    WEIR_ACTION_CLOSE_IF_IDLE = 9,
    // Resolve `name` for `query`, and say so with `weir_engine_resolved` or `weir_engine_resolve_failed`. `family` says which
    // addresses: one of `weir_family`. Do not block: an answer may come at any time later.
    WEIR_ACTION_RESOLVE = 10,
    // What is known of a client's first bytes must do: ask `weir_engine_opening` again.
    WEIR_ACTION_OPEN = 11,
    // Call `weir_engine_nudge` on all engines that limits are shared with, and on this one.
    WEIR_ACTION_NUDGE = 12,
} weir_action_kind;

// Which addresses a name is resolved to (`dns_lookup_family`).
typedef enum weir_family {
    // IPv6, and IPv4 if there is none.
    WEIR_FAMILY_AUTO = 0,
    // IPv4 only.
    WEIR_FAMILY_V4 = 1,
    // IPv6 only.
    WEIR_FAMILY_V6 = 2,
    // IPv4, and IPv6 if there is none.
    WEIR_FAMILY_V4_PREFERRED = 3,
    // Both.
    WEIR_FAMILY_ALL = 4,
} weir_family;

// What to tell.
typedef enum weir_event_kind {
    // `text` is a line for the access log `number`, with its end; see `weir_engine_log_path`.
    WEIR_EVENT_ACCESS_LOG = 1,
    // The drain of everything has ended; `number` exchanges were cut at the deadline.
    WEIR_EVENT_DRAINED = 2,
    // The drain of a listener that left the config has ended; `text` is its name.
    WEIR_EVENT_LISTENER_DRAINED = 3,
    // `text` says what was decided at `at` for the exchange `exchange`, and why. Only if options asked for it. If that ended
    // it, `ended` is 1 and `number` the status.
    WEIR_EVENT_STEP = 4,
} weir_event_kind;

// What a filter says of what it was shown.
typedef enum weir_verdict {
    // It goes on to the next filter.
    WEIR_CONTINUE = 0,
    // It waits here until the filter is resumed (`weir_filter_host.resume`), and what comes behind it waits unseen.
    WEIR_PAUSE = 1,
    // It waits here, and what comes behind it is shown to this filter, but goes no further: until the filter says
    // `WEIR_CONTINUE` to the end of the message, or is resumed. Too much of it is answered with 413 (requests) or 500.
    WEIR_GATHER = 2,
    // The client gets the answer that the filter has given to `weir_filter_host.answer`.
    WEIR_RESPOND = 3,
} weir_verdict;

// Parts of an exchange that have header fields.
typedef enum weir_part {
    // The request head. Besides its fields it has `:method`, `:path` (with the query), `:authority` and `:scheme`.
    WEIR_REQUEST_HEAD = 0,
    // The response head, with `:status`.
    WEIR_RESPONSE_HEAD = 1,
    // The trailers of the message whose end is shown.
    WEIR_TRAILERS = 2,
} weir_part;

// How bad a line of the log is.
typedef enum weir_level {
    // The default: what an operator wants to know.
    WEIR_LEVEL_DEFAULT = 0,
    // Everything.
    WEIR_LEVEL_TRACE = 1,
    // What a developer wants to know.
    WEIR_LEVEL_DEBUG = 2,
    // What an operator wants to know.
    WEIR_LEVEL_INFO = 3,
    // What may become a problem.
    WEIR_LEVEL_WARN = 4,
    // What is one.
    WEIR_LEVEL_ERROR = 5,
    // Nothing.
    WEIR_LEVEL_OFF = 6,
} weir_level;

// Bytes that Weir made for the host: a log, a page of stats. To be freed with `weir_bytes_free`.
typedef struct weir_bytes weir_bytes;

// A call under way. One thread may send while another reads.
typedef struct weir_call weir_call;

// A config that was loaded: Envoy's v3 bootstrap. It never changes; engines may outlive it.
typedef struct weir_config weir_config;

// What loading a config has found.
typedef struct weir_diagnostics weir_diagnostics;

// An engine: all that a proxy decides, without sockets, threads or a clock. It serves one thread at a time, any thread.
typedef struct weir_engine weir_engine;

// An exchange, in a callback that was given it: it means nothing afterwards, nor on another thread.
typedef struct weir_exchange weir_exchange;

// Filters of the host's own. What is made with them keeps what it needs.
typedef struct weir_filters weir_filters;

// A whole proxy. All its functions may be called on any thread, several at once.
typedef struct weir_proxy weir_proxy;

// An input log and an engine that lives through it again.
typedef struct weir_replay weir_replay;

// An IP address and a port.
typedef struct weir_address {
    // 4 for IPv4, 6 for IPv6.
    uint16_t family;
    // In the order of the host, not of the network.
    uint16_t port;
    // In the order of the network; IPv4 has the first four.
    uint8_t ip[16];
} weir_address;

// A text: UTF-8, with its length. It needs no zero byte at its end. NULL with length 0 is the empty text.
//
// Given to a function, it must live until that returns. Given by one, it lives as long as that says.
typedef struct weir_str {
    // Where it begins.
    const char *data;
    // How many bytes it has.
    size_t len;
} weir_str;

// A listener of a config. Its texts live until the config is freed.
typedef struct weir_listener {
    // `sizeof(struct weir_listener)`, set by the host.
    size_t size;
    // Its name: for `weir_engine_listener`.
    struct weir_str name;
    // Where to listen.
    struct weir_address address;
    // How many connections the kernel may queue.
    uint32_t backlog;
    // 1 if each of several engines may have a socket of its own (`SO_REUSEPORT`).
    uint32_t reuse_port;
} weir_listener;

// One finding. Its texts live until the diagnostics are freed.
typedef struct weir_diagnostic {
    // `sizeof(struct weir_diagnostic)`, set by the host.
    size_t size;
    // A `weir_severity`.
    uint32_t severity;
    // Line, from 1.
    uint32_t line;
    // Column, from 1, in characters.
    uint32_t column;
    // The name of the file.
    struct weir_str file;
    // The field: `static_resources.clusters[0].name`.
    struct weir_str field;
    // What is wrong.
    struct weir_str message;
    // What would be right; empty if nobody knows.
    struct weir_str help;
} weir_diagnostic;

// Wakes a host: see `weir_engine_options.wake`.
typedef void (*weir_wake_fn)(void *data);

// How an engine begins.
typedef struct weir_engine_options {
    // `sizeof(struct weir_engine_options)`, set by the host.
    size_t size;
    // All that is drawn is drawn from this: the same seed and inputs decide the same.
    uint64_t seed;
    // The host's monotonic clock, in nanoseconds from an origin of its choice.
    uint64_t now;
    // The calendar, in nanoseconds since 1970: for `date` fields and access logs.
    uint64_t wall;
    // Limits are shared with this engine and those that it shares with; NULL for limits of its own. If it is given, call
    // `weir_engine_nudge` on all of them when one has `WEIR_ACTION_NUDGE`.
    const struct weir_engine *shared_with;
    // Not 0: record an input log from here on, see `weir_engine_recorded`.
    uint32_t record;
    // Not 0: with the bytes of bodies, not only their lengths and digests.
    uint32_t record_bodies;
    // Not 0: tell each decision about each exchange as `WEIR_EVENT_STEP`. It changes none of them.
    uint32_t explain;
    // Called when a filter was resumed from elsewhere (`weir_filter_resume`, `weir_filter_host.resume`), on that thread: have
    // `weir_engine_timeout` called soon, which lets the filter know. It must not call Weir. NULL if nobody is to be woken.
    weir_wake_fn wake;
    // Given to `wake`. It must live until the engine is freed.
    void *wake_data;
} weir_engine_options;

// How much is under way.
typedef struct weir_engine_state {
    // `sizeof(struct weir_engine_state)`, set by the host.
    size_t size;
    // Open connections of clients.
    uint64_t clients;
    // Exchanges: requests that are not over.
    uint64_t exchanges;
    // 1 once a drain of all has ended.
    uint32_t drained;
    // Size of what was recorded, in bytes.
    uint64_t recorded;
    // What was decided since recording began, as a number: the same for the same inputs.
    uint64_t digest;
} weir_engine_state;

// What a TLS handshake came to. Fields may be empty.
typedef struct weir_tls_info {
    // `sizeof(struct weir_tls_info)`, set by the host.
    size_t size;
    // `TLSv1.3` or `TLSv1.2`.
    struct weir_str version;
    // The cipher, by OpenSSL's name.
    struct weir_str cipher;
    // The protocol that was agreed on (ALPN): `h2` or `http/1.1`. It decides which HTTP is spoken.
    struct weir_str alpn;
    // The server that the client asked for (SNI).
    struct weir_str server_name;
    // Not 0: an earlier session was resumed.
    uint32_t resumed;
} weir_tls_info;

// Something to do. Fields that the kind does not speak of are 0. Texts live until the next call of
// `weir_engine_next_action` on this engine.
typedef struct weir_action {
    // `sizeof(struct weir_action)`, set by the host.
    size_t size;
    // What to do: one of `weir_action_kind`.
    uint32_t kind;
    // `WEIR_ACTION_CONNECT`: not 0 if TLS is to be spoken.
    uint32_t tls;
    // The connection.
    uint64_t conn;
    // What `weir_engine_set_data` gave the connection.
    uint64_t data;
    // `WEIR_ACTION_RESOLVE`: the query.
    uint64_t query;
    // `WEIR_ACTION_CONNECT`: where to.
    struct weir_address address;
    // `WEIR_ACTION_RESOLVE`: one of `weir_family`.
    uint32_t family;
    // `WEIR_ACTION_RESOLVE`: the name to resolve. `WEIR_ACTION_CONNECT` with TLS: the server name to send.
    struct weir_str name;
    // `WEIR_ACTION_CONNECT` with TLS: the protocols to offer, as `SSL_set_alpn_protos` takes them (each after a byte with its
    // length).
    struct weir_str alpn;
    // `WEIR_ACTION_CONNECT` with TLS: a name or address that the certificate must be for, whatever the config says of names; empty
    // for none.
    struct weir_str certificate_name;
} weir_action;

// Something to tell. `text` lives until the next call of `weir_engine_next_event` on this engine.
typedef struct weir_event {
    // `sizeof(struct weir_event)`, set by the host.
    size_t size;
    // What it is: one of `weir_event_kind`.
    uint32_t kind;
    // See the kind.
    uint32_t number;
    // See the kind.
    uint32_t ended;
    // See the kind.
    uint64_t exchange;
    // See the kind.
    uint64_t at;
    // See the kind. Lines of access logs need not be UTF-8.
    struct weir_str text;
} weir_event;

// Bytes to be written, in the shape of `struct iovec`: an array of them can be cast and given to `writev`.
typedef struct weir_iovec {
    // Where they begin.
    const uint8_t *data;
    // How many there are.
    size_t len;
} weir_iovec;

// A header field or a trailer.
typedef struct weir_header {
    // Its name.
    struct weir_str name;
    // Its value: any bytes that a field may have.
    struct weir_str value;
} weir_header;

// An answer to a client, in place of the upstream's. Its texts are copied.
typedef struct weir_answer {
    // `sizeof(struct weir_answer)`, set by the filter.
    size_t size;
    // Status, 200 to 599.
    uint32_t status;
    // Body. It is `text/plain` unless a header says what it is.
    struct weir_str body;
    // Header fields. Those that frame a message, or concern only a connection, are left out.
    const struct weir_header *headers;
    // How many.
    size_t header_count;
    // For access logs: `%RESPONSE_CODE_DETAILS%`.
    struct weir_str details;
} weir_answer;

// What is known of an exchange so far. Its texts live until the callback returns.
typedef struct weir_facts {
    // `sizeof(struct weir_facts)`, set by the filter.
    size_t size;
    // Status that was sent to the client; 0 if none was.
    uint32_t status;
    // How many times it was tried upstream.
    uint32_t attempts;
    // When the request head was complete, in nanoseconds since 1970.
    uint64_t start;
    // From then to its end, in nanoseconds; 0 until it has ended.
    uint64_t duration;
    // Body bytes from the client.
    uint64_t bytes_received;
    // Body bytes to the client.
    uint64_t bytes_sent;
    // The client, by the connection or by a trusted `x-forwarded-for`.
    struct weir_address client;
    // The cluster that it went to; empty if to none.
    struct weir_str cluster;
    // `%RESPONSE_CODE_DETAILS%`.
    struct weir_str details;
} weir_facts;

// Names one wait of one filter, for whoever resumes it: plain numbers, which may be copied, and kept as long as anybody likes.
// Once the wait is over they name nothing.
typedef struct weir_filter_id {
    // The engine, of all in this process. For `weir_engine_resume` 0 stands for the engine that it is given.
    uint64_t engine;
    // The exchange.
    uint64_t exchange;
    // The filter's place in the chain, from 0.
    uint32_t index;
    // 0 for the request, 1 for the response.
    uint32_t side;
    // Which wait it is.
    uint32_t turn;
    // 0.
    uint32_t reserved;
} weir_filter_id;

// What a filter can call. It lives as long as the process. Functions with an `exchange` are for the callback that was given it;
// the others may be called on any thread, at any time.
typedef struct weir_filter_host {
    // The struct's size: a later version has more at its end.
    size_t size;
    // Weir's `WEIR_ABI_VERSION`.
    uint32_t abi_version;
    // The value of the field called `name`, the one at `index` (from 0) if there are several. `WEIR_NONE` if there are not
    // so many. It lives until the part is changed, or the callback returns. `WEIR_NOT_HERE` if the callback has no such part.
    enum weir_result (*get)(const struct weir_exchange *exchange,
                            uint32_t part,
                            struct weir_str name,
                            size_t index,
                            struct weir_str *value);
    // The field at `index` in the order of the message; `WEIR_NONE` if there are not so many. As `get`.
    enum weir_result (*field)(const struct weir_exchange *exchange,
                              uint32_t part,
                              size_t index,
                              struct weir_header *field);
    // Gives the part one field of this name, with this value, in place of those that it has. `WEIR_BAD_FIELD`, and nothing is
    // changed, if such a field cannot be sent; `WEIR_NOT_HERE` if the callback has no such part, or may not change it.
    enum weir_result (*set)(struct weir_exchange *exchange,
                            uint32_t part,
                            struct weir_str name,
                            struct weir_str value);
    // Adds a field behind the others. As `set`.
    enum weir_result (*add)(struct weir_exchange *exchange,
                            uint32_t part,
                            struct weir_str name,
                            struct weir_str value);
    // Takes all fields of this name away; `WEIR_NONE` if there are none.
    enum weir_result (*remove)(struct weir_exchange *exchange, uint32_t part, struct weir_str name);
    // Answers the client, if the callback returns `WEIR_RESPOND`.
    enum weir_result (*answer)(struct weir_exchange *exchange, const struct weir_answer *answer);
    // What is known of the exchange.
    enum weir_result (*facts)(const struct weir_exchange *exchange, struct weir_facts *facts);
    // A random number, drawn from the engine's seed: a replay draws the same. `WEIR_NOT_HERE` in `finished`.
    enum weir_result (*random)(struct weir_exchange *exchange, uint64_t *number);
    // The filter's id, to resume it with if the callback returns `WEIR_PAUSE` or `WEIR_GATHER`. `WEIR_NOT_HERE` in `finished`.
    enum weir_result (*id)(const struct weir_exchange *exchange, struct weir_filter_id *id);
    // Resumes a filter, on any thread: its `resumed` is given what was `learned`, of which a copy is made. `WEIR_UNKNOWN_ID`
    // if its engine is gone. If nothing waits there (any more) nothing happens. The host of an engine of tier 1 is woken for it.
    enum weir_result (*resume)(const struct weir_filter_id *id, const uint8_t *learned, size_t len);
    // As `resume`, with an answer for the client.
    enum weir_result (*resume_answer)(const struct weir_filter_id *id, const struct weir_answer *answer);
    // In `configure`: why the config is refused.
    enum weir_result (*refuse)(struct weir_str words);
    // The words of this thread's last failure, as `weir_last_error` has them.
    size_t (*last_error)(char *buffer, size_t size);
} weir_filter_host;

// A filter in C: what it does when. Any of the functions may be NULL, for nothing (`WEIR_CONTINUE`). They are called on the
// threads of workers, on several at once for different exchanges, for one exchange never at once; they must not block, nor
// wait for the proxy, nor throw exceptions. What crashes in them crashes the process.
//
// `docs/filters.md` says what is shown when, and what becomes of it.
typedef struct weir_filter {
    // `sizeof(struct weir_filter)`, set by the host.
    size_t size;
    // Given to `configure`. It must live as long as configs and engines that use the filter.
    void *data;
    // Not 0: bodies, ends and trailers are shown too, not only heads.
    uint32_t wants_bodies;
    // Once for each place in a config: reads `config`, and makes of it what `begin` is given. `config` is the JSON of the
    // message with the registered `@type`, without that; for a module it is its `filter_config`. Answer 0; anything else
    // refuses the config, with the words that `weir->refuse` was given. Without it there must be no config, and `made` is `data`.
    uint32_t (*configure)(const struct weir_filter_host *weir,
                          void *data,
                          struct weir_str name,
                          struct weir_str config,
                          void **made);
    // Frees what `configure` made: nothing uses it any more.
    void (*forget)(void *made);
    // An exchange begins: makes what the other functions are given. Without it they are given what `configure` made.
    void *(*begin)(void *made);
    // Frees what `begin` made; the last call of an exchange.
    void (*end)(void *filter);
    // The request head: can be edited here, and where it is resumed.
    uint32_t (*request_head)(const struct weir_filter_host *weir, struct weir_exchange *exchange, void *filter);
    // A piece of the request body, never empty.
    uint32_t (*request_body)(const struct weir_filter_host *weir,
                             struct weir_exchange *exchange,
                             void *filter,
                             const uint8_t *piece,
                             size_t len);
    // The request is whole. Its trailers can be edited.
    uint32_t (*request_end)(const struct weir_filter_host *weir, struct weir_exchange *exchange, void *filter);
    // The response head, of local replies too: can be edited here, and where it is resumed.
    uint32_t (*response_head)(const struct weir_filter_host *weir,
                              struct weir_exchange *exchange,
                              void *filter);
    // A piece of the response body.
    uint32_t (*response_body)(const struct weir_filter_host *weir,
                              struct weir_exchange *exchange,
                              void *filter,
                              const uint8_t *piece,
                              size_t len);
    // The response is whole. Its trailers can be edited.
    uint32_t (*response_end)(const struct weir_filter_host *weir, struct weir_exchange *exchange, void *filter);
    // The filter was resumed, with what was `learned`. `WEIR_CONTINUE` lets what waits go on, `WEIR_PAUSE` leaves it.
    uint32_t (*resumed)(const struct weir_filter_host *weir,
                        struct weir_exchange *exchange,
                        void *filter,
                        const uint8_t *learned,
                        size_t len);
    // The exchange has ended, in whatever way: for `weir->facts`.
    void (*finished)(const struct weir_filter_host *weir, struct weir_exchange *exchange, void *filter);
} weir_filter;

// A request.
typedef struct weir_request {
    // `sizeof(struct weir_request)`, set by the host.
    size_t size;
    // Its method; empty for GET.
    struct weir_str method;
    // `http` or `https`; empty for what the listener's transport would make of it.
    struct weir_str scheme;
    // The host, and the port if it has one: what routes call the domain.
    struct weir_str authority;
    // Path and query; empty for `/`.
    struct weir_str path;
    // Header fields.
    const struct weir_header *headers;
    // How many.
    size_t header_count;
    // Not 0: a body follows, by `weir_call_send` and `weir_call_finish`.
    uint32_t has_body;
} weir_request;

// Told of a proxy's end: `result` is `WEIR_OK`, with how many exchanges were cut, or `WEIR_FAILED`.
typedef void (*weir_end_fn)(void *data, enum weir_result result, uint32_t cut);

// Takes a line of the log, without its end. It is called on the proxy's threads, on several at once, and should be quick.
// The line lives until it returns.
typedef void (*weir_log_fn)(void *data, uint32_t level, struct weir_str line);

// What a host chooses for a proxy. All zero is the default.
typedef struct weir_proxy_options {
    // `sizeof(struct weir_proxy_options)`, set by the host.
    size_t size;
    // Worker threads, up to 1024; 0 for one, `WEIR_ALL_PROCESSORS` for as many as the hardware runs at once.
    uint32_t workers;
    // `WEIR_ALLOW_UNSUPPORTED`, or 0.
    uint32_t flags;
    // Nanoseconds that a drain may take before what is left is cut; 0 for ten minutes.
    uint64_t drain_time;
    // How much is logged: one of `weir_level`.
    uint32_t log_level;
    // Not 0: all that is drawn is drawn from `seed`, not from one of the system's.
    uint32_t has_seed;
    // See `has_seed`.
    uint64_t seed;
    // Takes the lines of the log; NULL for nobody. Nothing is ever written to stdout or stderr instead.
    weir_log_fn log;
    // Given to `log`. It must live until the proxy is freed.
    void *log_data;
    // For `%HOSTNAME%` in access logs; empty for the system's.
    struct weir_str hostname;
    // A folder: what decides everything is recorded, to be written there by `weir_proxy_write_input_logs` and when a worker
    // panics. Empty for no recording.
    struct weir_str record_folder;
    // MiB of the past that each worker keeps; 0 for 64.
    uint32_t record_mib;
    // Not 0: with the bytes of bodies, not only their lengths and digests.
    uint32_t record_bodies;
    // The host's own filters, for configs that name them, updates too; NULL for none.
    const struct weir_filters *filters;
} weir_proxy_options;

// What a replay came to so far.
typedef struct weir_replay_summary {
    // `sizeof(struct weir_replay_summary)`, set by the host.
    size_t size;
    // Entries that were fed to the engine.
    uint64_t entries;
    // From the beginning to the last of them, in nanoseconds.
    uint64_t time;
    // The engine's digest after them.
    uint64_t digest;
    // 1 if that is the whole log, and the digest is the one that was recorded.
    uint32_t whole;
} weir_replay_summary;

// A filter of a module, by the name that configs use (`filter_name`).
typedef struct weir_module_filter {
    // Its name.
    struct weir_str name;
    // What it does.
    const struct weir_filter *filter;
} weir_module_filter;

// What a module has. It lives as long as the module.
typedef struct weir_module {
    // `sizeof(struct weir_module)`, set by Weir.
    size_t size;
    // Its filters.
    const struct weir_module_filter *filters;
    // How many.
    size_t filter_count;
} weir_module;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Reads a `struct sockaddr` of the system's, `len` bytes long, as `accept` and `getaddrinfo` give them. `WEIR_BAD_VALUE` if it
// is none of IPv4 or IPv6.
//
// Any thread.
//
// Not checked, and undefined if it is not so:
// `sockaddr` must have `len` bytes, and `out` be valid for writing, or NULL.
enum weir_result weir_address_of(const void *sockaddr,
                                 size_t len,
                                 struct weir_address *out);

// Writes an address as a `struct sockaddr` of the system's, for `bind` and `connect`. `len` has how many bytes of room there are
// (a `struct sockaddr_storage` is enough for any), and gets how many are used; also with `WEIR_TOO_SMALL`.
//
// Any thread.
//
// Not checked, and undefined if it is not so:
// `address` must be valid for reading, `len` for reading and writing, or NULL; `sockaddr` must have `*len` bytes.
enum weir_result weir_address_to(const struct weir_address *address,
                                 void *sockaddr,
                                 size_t *len);

// Loads Envoy's v3 bootstrap from YAML or JSON. `file` is the name that findings use. `flags` is 0 or
// `WEIR_ALLOW_UNSUPPORTED`.
//
// `diagnostics`, unless NULL, gets what was found, both with `WEIR_OK` and with `WEIR_CONFIG_REFUSED`; free it with
// `weir_diagnostics_free`. The words of `weir_last_error` have the first error. TLS is the host's in tier 1: the files
// that TLS settings name are not looked at.
//
// Any thread. The config is freed with `weir_config_free`.
//
// Not checked, and undefined if it is not so:
// The texts must have the bytes that they say; `out` and `diagnostics` must be valid for writing, or NULL.
enum weir_result weir_config_load(struct weir_str text,
                                  struct weir_str file,
                                  uint32_t flags,
                                  struct weir_config **out,
                                  struct weir_diagnostics **diagnostics);

// As `weir_config_load`, for a config that may name these filters of the host's; NULL for none.
//
// Not checked, and undefined if it is not so:
// As for `weir_config_load`.
enum weir_result weir_config_load_with(const struct weir_filters *filters,
                                       struct weir_str text,
                                       struct weir_str file,
                                       uint32_t flags,
                                       struct weir_config **out,
                                       struct weir_diagnostics **diagnostics);

// As `weir_config_load`, with the config in the file at `path`.
//
// Not checked, and undefined if it is not so:
// As for `weir_config_load`.
enum weir_result weir_config_load_file(struct weir_str path,
                                       uint32_t flags,
                                       struct weir_config **out,
                                       struct weir_diagnostics **diagnostics);

// Frees a config. NULL is allowed and does nothing. Engines that run it keep what they need.
enum weir_result weir_config_free(struct weir_config *config);

// The listener at `index`, from 0, in the order of the config. `WEIR_NONE` if there are not so many.
//
// Not checked, and undefined if it is not so:
// `out` must be a struct of the size that its first field says, or NULL.
enum weir_result weir_config_listener(const struct weir_config *config,
                                      size_t index,
                                      struct weir_listener *out);

// How many findings there are; 0 for NULL and for what are no diagnostics.
//
// One thread at a time.
size_t weir_diagnostics_count(const struct weir_diagnostics *diagnostics);

// The finding at `index`, from 0, in the order of the file. `WEIR_NONE` if there are not so many.
//
// One thread at a time.
//
// Not checked, and undefined if it is not so:
// `out` must be a struct of the size that its first field says, or NULL.
enum weir_result weir_diagnostics_get(const struct weir_diagnostics *diagnostics,
                                      size_t index,
                                      struct weir_diagnostic *out);

// Frees diagnostics and their texts. NULL is allowed and does nothing.
enum weir_result weir_diagnostics_free(struct weir_diagnostics *diagnostics);

// An engine that runs a config. Ask for actions at once: names may be to resolve.
//
// Any thread. Free it with `weir_engine_free`. The config may be freed before it.
//
// Not checked, and undefined if it is not so:
// `options` must be a struct of the size that it says, `out` valid for writing, or NULL.
enum weir_result weir_engine_new(const struct weir_config *config,
                                 const struct weir_engine_options *options,
                                 struct weir_engine **out);

// Frees an engine. NULL is allowed and does nothing. What it still had to send is dropped: drain it first.
enum weir_result weir_engine_free(struct weir_engine *engine);

// The id of the listener called `name`: for `weir_engine_accept`.
//
// Not checked, and undefined if it is not so:
// `name` must have the bytes that it says; `out` must be valid for writing, or NULL.
enum weir_result weir_engine_listener(const struct weir_engine *engine, struct weir_str name, uint64_t *out);

// Gives a connection a number (or pointer) of the host's own, which `weir_action.data` has from then on. 0 at first.
enum weir_result weir_engine_set_data(struct weir_engine *engine,
                                      uint64_t conn,
                                      uint64_t data);

// A stat, by Envoy's name: `cluster.backend.upstream_rq_total`. Slow: it adds up all stats.
//
// Not checked, and undefined if it is not so:
// `name` must have the bytes that it says; `out` must be valid for writing, or NULL.
enum weir_result weir_engine_stat(const struct weir_engine *engine, struct weir_str name, uint64_t *out);

// All counters and gauges, a line `name: value` each, as Envoy's `/stats` has them. Free them with `weir_bytes_free`.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_engine_stats(const struct weir_engine *engine,
                                   struct weir_bytes **out);

// How much is under way.
//
// Not checked, and undefined if it is not so:
// `out` must be a struct of the size that its first field says, or NULL.
enum weir_result weir_engine_get_state(const struct weir_engine *engine, struct weir_engine_state *out);

// The input log so far: a file that `weir replay` and `weir_replay_open` take. `WEIR_NONE` if nothing is recorded.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_engine_recorded(struct weir_engine *engine,
                                      struct weir_bytes **out);

// A client has connected to a listener: `local` is our end, `remote` the client's. `conn` gets the connection's id.
// Ask `weir_engine_opening` what comes before its first byte. Anything but `WEIR_OK` means: close it.
//
// Not checked, and undefined if it is not so:
// `local` and `remote` must be valid for reading and `conn` for writing, or NULL.
enum weir_result weir_engine_accept(struct weir_engine *engine,
                                    uint64_t listener,
                                    const struct weir_address *local,
                                    const struct weir_address *remote,
                                    uint64_t now,
                                    uint64_t *conn);

// A connection that `WEIR_ACTION_CONNECT` asked for is there. `tls` is what the handshake came to, if the action asked for
// one, and NULL otherwise.
//
// Not checked, and undefined if it is not so:
// The pointers must be valid for reading, or NULL; `tls` of the size that it says.
enum weir_result weir_engine_connected(struct weir_engine *engine,
                                       uint64_t conn,
                                       const struct weir_address *local,
                                       const struct weir_address *remote,
                                       const struct weir_tls_info *tls,
                                       uint64_t now);

// A connection that `WEIR_ACTION_CONNECT` asked for could not be made. `reason` goes to access logs. If it is the TLS
// handshake that failed, `tls_fault` is one of `weir_tls_fault`; 0 otherwise. The id means nothing from now on.
//
// Not checked, and undefined if it is not so:
// `reason` must have the bytes that it says.
enum weir_result weir_engine_connect_failed(struct weir_engine *engine,
                                            uint64_t conn,
                                            struct weir_str reason,
                                            uint32_t tls_fault,
                                            uint64_t now);

// Bytes have arrived. `taken` gets how many of them the engine took. The rest is back-pressure: keep it, stop reading,
// and offer it again when `WEIR_ACTION_READ` comes. If `taken` is NULL, the rest is kept for the host, who is told with
// `WEIR_ACTION_PAUSE` to stop reading: the simple way, for a copy of what is left.
//
// The bytes are copied once; `data` is the host's again when the call returns.
//
// Not checked, and undefined if it is not so:
// `data` must have `len` bytes, and `taken` be valid for writing, or NULL.
enum weir_result weir_engine_recv(struct weir_engine *engine,
                                  uint64_t conn,
                                  const uint8_t *data,
                                  size_t len,
                                  size_t *taken,
                                  uint64_t now);

// The peer has sent its last byte, and the engine has taken all that came before, or it is kept (`weir_engine_recv`). Bytes can
// still be sent to it.
enum weir_result weir_engine_eof(struct weir_engine *engine,
                                 uint64_t conn,
                                 uint64_t now);

// The connection is gone: it failed (`WEIR_RESET`), or was closed as `WEIR_ACTION_CLOSE` asked (`WEIR_CLOSED`). Its id means
// nothing from now on, and what was lent to be sent on it is taken back.
enum weir_result weir_engine_closed(struct weir_engine *engine,
                                    uint64_t conn,
                                    uint32_t why,
                                    uint64_t now);

// The name that `WEIR_ACTION_RESOLVE` asked for has these addresses (their ports do not matter), which are good for `ttl`
// nanoseconds; 0 if the answer does not say how long.
//
// Not checked, and undefined if it is not so:
// `found` must have `count` addresses.
enum weir_result weir_engine_resolved(struct weir_engine *engine,
                                      uint64_t query,
                                      const struct weir_address *found,
                                      size_t count,
                                      uint64_t ttl,
                                      uint64_t now);

// The name that `WEIR_ACTION_RESOLVE` asked for could not be resolved. It is asked for again later.
//
// Not checked, and undefined if it is not so:
// `reason` must have the bytes that it says.
enum weir_result weir_engine_resolve_failed(struct weir_engine *engine,
                                            uint64_t query,
                                            struct weir_str reason,
                                            uint64_t now);

// There is a new config. Exchanges under way keep the one that they began with; listeners that left drain.
enum weir_result weir_engine_set_config(struct weir_engine *engine,
                                        const struct weir_config *config,
                                        uint64_t now);

// Everything is to be drained: accept no more, and go on until `WEIR_EVENT_DRAINED`. At `deadline` what is left is cut.
enum weir_result weir_engine_drain(struct weir_engine *engine,
                                   uint64_t deadline,
                                   uint64_t now);

// One listener is to be drained. `WEIR_NO_LISTENER` if it is gone already.
enum weir_result weir_engine_drain_listener(struct weir_engine *engine, uint64_t listener, uint64_t now);

// Time has passed. Early and needless calls change nothing. Filters that were resumed from elsewhere go on.
enum weir_result weir_engine_timeout(struct weir_engine *engine, uint64_t now);

// The calendar shows `wall`, in nanoseconds since 1970. Tell it now and then: clocks are set and drift.
enum weir_result weir_engine_set_wall(struct weir_engine *engine, uint64_t wall, uint64_t now);

// An engine that limits are shared with has `WEIR_ACTION_NUDGE`: look whether there is room now. Also for that engine
// itself.
enum weir_result weir_engine_nudge(struct weir_engine *engine,
                                   uint64_t now);

// What has to be done before a client's bytes can be handed in: one of `weir_opening`.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_engine_opening(const struct weir_engine *engine, uint64_t conn, uint32_t *out);

// A client's first bytes are this: `tls` is not 0 if they are a TLS client hello, with the name that it asks for and the
// protocols that it offers, best first. `out` gets what to do now: one of `weir_opening`.
//
// Not checked, and undefined if it is not so:
// The texts must have the bytes that they say, `protocols` must be `count` texts, `out` valid for writing, or NULL.
enum weir_result weir_engine_client_hello(struct weir_engine *engine,
                                          uint64_t conn,
                                          uint32_t tls,
                                          struct weir_str server_name,
                                          const struct weir_str *protocols,
                                          size_t count,
                                          uint64_t now,
                                          uint32_t *out);

// A client's TLS handshake is done: its bytes can be handed in, decrypted.
//
// Not checked, and undefined if it is not so:
// `tls` must be of the size that it says, with texts that have the bytes that they say, or NULL.
enum weir_result weir_engine_secured(struct weir_engine *engine,
                                     uint64_t conn,
                                     const struct weir_tls_info *tls,
                                     uint64_t now);

// A client's TLS handshake has failed, for one of `weir_tls_fault`. Close the connection: its id means nothing from now on.
enum weir_result weir_engine_handshake_failed(struct weir_engine *engine,
                                              uint64_t conn,
                                              uint32_t why,
                                              uint64_t now);

// The next thing to do; `WEIR_NONE` if there is nothing. Ask until then after everything that was fed.
//
// Not checked, and undefined if it is not so:
// `out` must be a struct of the size that its first field says, or NULL.
enum weir_result weir_engine_next_action(struct weir_engine *engine, struct weir_action *out);

// The next thing to tell; `WEIR_NONE` if there is nothing. Ask now and then: events wait in memory.
//
// Not checked, and undefined if it is not so:
// `out` must be a struct of the size that its first field says, or NULL.
enum weir_result weir_engine_next_event(struct weir_engine *engine, struct weir_event *out);

// Where lines of the access log `number` are to go, as the config says: a path, `/dev/stdout` or `/dev/stderr`. The text
// lives until the engine gets another config or is freed. `WEIR_NONE` if there is no such log.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_engine_log_path(const struct weir_engine *engine,
                                      uint32_t number,
                                      struct weir_str *out);

// When to call `weir_engine_timeout`; `WEIR_NONE` if nothing is due ever. It may be earlier than anything is due, and may
// change with everything that is fed.
//
// Not checked, and undefined if it is not so:
// `at` must be valid for writing, or NULL.
enum weir_result weir_engine_deadline(const struct weir_engine *engine,
                                      uint64_t *at);

// Why the engine has that deadline, for people: `Exchange(ConnId(1v1), Route)`. Copied to `buffer`, cut to `size`, with a zero
// byte; `WEIR_NONE` if there is no deadline.
//
// Not checked, and undefined if it is not so:
// `buffer` must have room for `size` bytes, or be NULL.
enum weir_result weir_engine_deadline_reason(const struct weir_engine *engine,
                                             char *buffer,
                                             size_t size);

// What to send on a connection: up to `max` slices of the engine's own memory are written to `slices`, and how many to
// `count`. `WEIR_NONE` if there is nothing. Write them, and say with `weir_engine_sent` how many bytes went out; what did
// not is lent again. Ask until `WEIR_NONE`, or until the socket would block.
//
// The slices live until the next call of `weir_engine_transmit`, `weir_engine_sent` or `weir_engine_closed` for this
// connection, or until `WEIR_ACTION_DROP` or `WEIR_ACTION_RESET` for it was told.
//
// Not checked, and undefined if it is not so:
// `slices` must have room for `max`, `count` be valid for writing, or NULL.
enum weir_result weir_engine_transmit(struct weir_engine *engine,
                                      uint64_t conn,
                                      struct weir_iovec *slices,
                                      size_t max,
                                      size_t *count,
                                      uint64_t now);

// So many bytes of what `weir_engine_transmit` lent were sent.
enum weir_result weir_engine_sent(struct weir_engine *engine, uint64_t conn, size_t bytes);

// What to send on a connection, copied: up to `size` bytes to `buffer`, and how many to `written`. `WEIR_NONE` if there is
// nothing. They count as sent: the host has to send them all. For hosts without pointers; others save the copy with
// `weir_engine_transmit`.
//
// Not checked, and undefined if it is not so:
// `buffer` must have room for `size` bytes, `written` be valid for writing, or NULL.
enum weir_result weir_engine_transmit_copy(struct weir_engine *engine,
                                           uint64_t conn,
                                           uint8_t *buffer,
                                           size_t size,
                                           size_t *written,
                                           uint64_t now);

// No filters yet. For `weir_proxy_options.filters`, `weir_config_load_with` and `weir_replay_open_with`.
//
// Any thread; afterwards one at a time. Free it with `weir_filters_free`, whenever nothing more is to be made with it.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_filters_new(struct weir_filters **out);

// Lets configs name a filter: an entry of `http_filters` whose `typed_config` has this `@type`, of which what stands behind the
// last slash counts, or is a `TypedStruct` with this `type_url`. `filter` is copied. A second one of the same type takes the
// place of the first.
//
// Not checked, and undefined if it is not so:
// `type` must have the bytes that it says; `filter` must be of the size that it says, with functions that are as
// `struct weir_filter` says, or NULL.
enum weir_result weir_filters_register(struct weir_filters *filters,
                                       struct weir_str type,
                                       const struct weir_filter *filter);

// Lets configs name filters of shared objects, as they name Envoy's dynamic modules (`dynamic_module_config`). The module `x` is
// the file `libx.so` in `folder`; if that is empty, wherever the system's loader finds it. It exports `weir_module_init`.
//
// Not checked, and undefined if it is not so:
// `folder` must have the bytes that it says.
enum weir_result weir_filters_allow_modules(struct weir_filters *filters,
                                            struct weir_str folder);

// Frees a set of filters. NULL is allowed and does nothing. What was made with them keeps what it needs: the functions and data
// of a registered filter must stay until the last config, engine and proxy is gone that knows them.
enum weir_result weir_filters_free(struct weir_filters *filters);

// What filters can call. They are given it; this is for code that resumes them and was not.
const struct weir_filter_host *weir_filter_functions(void);

// Resumes a filter of any proxy or engine of this process, on any thread: its `resumed` is given what was `learned`, of which a
// copy is made. `WEIR_UNKNOWN_ID` if its engine is gone. If nothing waits there (any more) nothing happens. The host of an engine of
// tier 1 is woken for it (`weir_engine_options.wake`).
//
// Not checked, and undefined if it is not so:
// `id` must be valid for reading, or NULL; `learned` must have `len` bytes.
enum weir_result weir_filter_resume(const struct weir_filter_id *id,
                                    const uint8_t *learned,
                                    size_t len);

// As `weir_filter_resume`, with an answer for the client.
//
// Not checked, and undefined if it is not so:
// `id` must be valid for reading, or NULL; `answer` of the size that it says, with texts and fields that are as they say.
enum weir_result weir_filter_resume_answer(const struct weir_filter_id *id,
                                           const struct weir_answer *answer);

// A filter of this engine that waits is told at once what was `learned`. If nothing waits there (any more) nothing happens. The input log
// has it.
//
// Not checked, and undefined if it is not so:
// As for `weir_filter_resume`.
enum weir_result weir_engine_resume(struct weir_engine *engine,
                                    const struct weir_filter_id *id,
                                    const uint8_t *learned,
                                    size_t len,
                                    uint64_t now);

// As `weir_engine_resume`, with an answer for the client.
//
// Not checked, and undefined if it is not so:
// As for `weir_filter_resume_answer`.
enum weir_result weir_engine_resume_answer(struct weir_engine *engine,
                                           const struct weir_filter_id *id,
                                           const struct weir_answer *answer,
                                           uint64_t now);

// Where the bytes are and how many. They live until `bytes` is freed.
//
// One thread at a time.
//
// Not checked, and undefined if it is not so:
// `data` and `len` must be valid for writing, or NULL, which is an error.
enum weir_result weir_bytes_get(const struct weir_bytes *bytes, const uint8_t **data, size_t *len);

// Frees bytes. NULL is allowed and does nothing.
enum weir_result weir_bytes_free(struct weir_bytes *bytes);

// Sends a request through a listener, as if a client on this machine had connected to it, but without a socket: the same
// filters, routes, clusters, limits, stats and access logs. The listener's TLS is taken as done. With an empty name it is
// the first listener of the config.
//
// Free the call with `weir_call_free`. `WEIR_DRAINING` once a drain has begun; calls under way end well.
//
// Not checked, and undefined if it is not so:
// `listener` must have the bytes that it says, `request` be as its fields say, `out` valid for writing, or NULL.
enum weir_result weir_proxy_call(struct weir_proxy *proxy,
                                 struct weir_str listener,
                                 const struct weir_request *request,
                                 struct weir_call **out);

// Says step by step, a line each, where a request would go and why. Nothing is sent, and nothing is counted. Free the text
// with `weir_bytes_free`.
//
// Not checked, and undefined if it is not so:
// As for `weir_proxy_call`.
enum weir_result weir_proxy_explain(struct weir_proxy *proxy,
                                    struct weir_str listener,
                                    const struct weir_request *request,
                                    struct weir_bytes **out);

// Sends a piece of the request's body. Waits while the proxy takes no more. `WEIR_FINISHED` if nobody takes it: see
// `weir_call_response`.
//
// Not checked, and undefined if it is not so:
// `data` must have `len` bytes.
enum weir_result weir_call_send(struct weir_call *call,
                                const uint8_t *data,
                                size_t len);

// The request's body is whole, with `count` trailers.
//
// Not checked, and undefined if it is not so:
// `trailers` must have `count` fields, with texts that have the bytes that they say.
enum weir_result weir_call_finish(struct weir_call *call, const struct weir_header *trailers, size_t count);

// Waits up to `nanos` nanoseconds, or `WEIR_FOREVER`, for the response's head: its status and how many header fields it has,
// which `weir_call_header` tells. Either may be NULL. Again, the same.
//
// Not checked, and undefined if it is not so:
// `status` and `headers` must be valid for writing, or NULL.
enum weir_result weir_call_response(struct weir_call *call,
                                    uint64_t nanos,
                                    uint32_t *status,
                                    size_t *headers);

// The header field at `index` of a response whose head has come; `WEIR_NONE` if there are not so many. Its texts live until
// the call is freed.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_call_header(const struct weir_call *call,
                                  size_t index,
                                  struct weir_header *out);

// Reads up to `size` bytes of the response's body to `buffer`, and how many to `count`: waits up to `nanos` nanoseconds, or
// `WEIR_FOREVER`, for the first of them. `WEIR_NONE` when the body is whole. What is not read waits, and lets the upstream wait.
//
// Not checked, and undefined if it is not so:
// `buffer` must have room for `size` bytes, `count` be valid for writing, or NULL.
enum weir_result weir_call_read(struct weir_call *call,
                                uint8_t *buffer,
                                size_t size,
                                size_t *count,
                                uint64_t nanos);

// The trailer at `index` of a response whose body is whole; `WEIR_NONE` if there are not so many. Its texts live until the
// call is freed.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_call_trailer(const struct weir_call *call,
                                   size_t index,
                                   struct weir_header *out);

// Gives a call up: what is under way is broken off, and whoever waits for it gets `WEIR_CANCELLED`.
enum weir_result weir_call_cancel(struct weir_call *call);

// Frees a call, and gives it up if it has not ended. NULL is allowed and does nothing.
enum weir_result weir_call_free(struct weir_call *call);

// Where a listener listens; with an empty name, the first of the config.
//
// Not checked, and undefined if it is not so:
// `name` must have the bytes that it says; `out` must be valid for writing, or NULL.
enum weir_result weir_proxy_listener(const struct weir_proxy *proxy,
                                     struct weir_str name,
                                     struct weir_address *out);

// Where the admin page listens; `WEIR_NONE` if the config has none.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_proxy_admin(const struct weir_proxy *proxy, struct weir_address *out);

// A stat, by Envoy's name: `cluster.backend.upstream_rq_total`. Slow: it adds up all stats.
//
// Not checked, and undefined if it is not so:
// `name` must have the bytes that it says; `out` must be valid for writing, or NULL.
enum weir_result weir_proxy_stat(const struct weir_proxy *proxy, struct weir_str name, uint64_t *out);

// All stats, a line each, as Envoy's `/stats` has them. Free them with `weir_bytes_free`.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_proxy_stats(const struct weir_proxy *proxy, struct weir_bytes **out);

// The config in force as JSON, in the shape of Envoy's `/config_dump`. Free it with `weir_bytes_free`.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_proxy_config_dump(const struct weir_proxy *proxy, struct weir_bytes **out);

// Writes what was recorded (`options.record_folder`) to files, and says which, a path a line. Free that with
// `weir_bytes_free`. `weir replay` and `weir_replay_open` take the files. Credentials of requests are in them.
//
// Not checked, and undefined if it is not so:
// `out` must be valid for writing, or NULL.
enum weir_result weir_proxy_write_input_logs(struct weir_proxy *proxy,
                                             struct weir_bytes **out);

// Begins a drain and returns at once: listeners take what the kernel has queued for them and close, what is under way ends,
// and after `options.drain_time` what is left is cut. See `weir_proxy_wait` and `weir_proxy_on_end`. Again, it changes
// nothing.
enum weir_result weir_proxy_drain(struct weir_proxy *proxy);

// Waits up to `nanos` nanoseconds, or `WEIR_FOREVER`, until the proxy has ended, by a drain or a stop. `cut`, unless NULL,
// gets how many exchanges were cut. `WEIR_TIMED_OUT` if it has not; `WEIR_FAILED` if it ended by a bug of ours.
//
// Not checked, and undefined if it is not so:
// `cut` must be valid for writing, or NULL.
enum weir_result weir_proxy_wait(struct weir_proxy *proxy,
                                 uint64_t nanos,
                                 uint32_t *cut);

// Calls `call` once, when the proxy has ended: on the proxy's thread, or on this one if it has ended already. From it, functions
// that would wait for the proxy get `WEIR_OWN_THREAD`; do not free the proxy there.
//
// Not checked, and undefined if it is not so:
// `call` must be callable with `data` on another thread until then.
enum weir_result weir_proxy_on_end(struct weir_proxy *proxy,
                                   weir_end_fn call,
                                   void *data);

// Ends the proxy now: what is under way is cut. Returns when all its threads have ended. The handle is still to be freed.
enum weir_result weir_proxy_stop(struct weir_proxy *proxy);

// Stops the proxy if it has not ended, and frees it. NULL is allowed and does nothing. Calls that other threads are in end
// first; calls through it (`weir_call`) are to be freed on their own.
enum weir_result weir_proxy_free(struct weir_proxy *proxy);

// Starts a proxy from Envoy's v3 bootstrap, as YAML or JSON. When it returns, everything listens; a port of 0 takes any
// that is free: see `weir_proxy_listener`. `file` is the name that findings use. `options` may be NULL.
//
// `diagnostics`, unless NULL, gets what was found in the config, with `WEIR_OK` and with `WEIR_CONFIG_REFUSED`; it is NULL
// otherwise. On any failure nothing is left open.
//
// The proxy never touches signals, the environment, stdout or stderr; only access logs that the config sends there. Access
// logs aside, it says what it has to say to `options.log`. Any thread. End it with `weir_proxy_free`.
//
// Not checked, and undefined if it is not so:
// The texts must have the bytes that they say; `options` must be of the size that it says; `out` and `diagnostics` must be
// valid for writing, or NULL.
enum weir_result weir_proxy_start(struct weir_str config,
                                  struct weir_str file,
                                  const struct weir_proxy_options *options,
                                  struct weir_proxy **out,
                                  struct weir_diagnostics **diagnostics);

// As `weir_proxy_start`, with the config in the file at `path`.
//
// Not checked, and undefined if it is not so:
// As for `weir_proxy_start`.
enum weir_result weir_proxy_start_file(struct weir_str path,
                                       const struct weir_proxy_options *options,
                                       struct weir_proxy **out,
                                       struct weir_diagnostics **diagnostics);

// Goes on with another config. Returns once it is in force. Exchanges under way keep the one that they began with; listeners
// that leave take what the kernel has accepted for them. On any failure nothing has changed. `diagnostics` as for
// `weir_proxy_start`.
//
// Not checked, and undefined if it is not so:
// The texts must have the bytes that they say; `diagnostics` must be valid for writing, or NULL.
enum weir_result weir_proxy_update(struct weir_proxy *proxy,
                                   struct weir_str config,
                                   struct weir_str file,
                                   struct weir_diagnostics **diagnostics);

// Reads the head of an input log, which is copied, and makes the engine that it begins with. If `explain` is not 0, each
// decision is told as `WEIR_EVENT_STEP`.
//
// Any thread; afterwards one at a time. Free it with `weir_replay_free`.
//
// Not checked, and undefined if it is not so:
// `log` must have `len` bytes, `out` be valid for writing, or NULL.
enum weir_result weir_replay_open(const uint8_t *log,
                                  size_t len,
                                  uint32_t explain,
                                  struct weir_replay **out);

// As `weir_replay_open`, for the log of an engine that had these filters of the host's; NULL for none.
//
// Not checked, and undefined if it is not so:
// As for `weir_replay_open`.
enum weir_result weir_replay_open_with(const struct weir_filters *filters,
                                       const uint8_t *log,
                                       size_t len,
                                       uint32_t explain,
                                       struct weir_replay **out);

// Feeds the next entry; `WEIR_NONE` if the log has ended as it was recorded. `WEIR_DIVERGED` if the engine decides something
// else than it did, `WEIR_BAD_LOG` if the log is damaged or cut off: `weir_last_error` says where.
enum weir_result weir_replay_step(struct weir_replay *replay);

// The next thing that the engine told; `WEIR_NONE` if there is nothing. As `weir_engine_next_event`.
//
// Not checked, and undefined if it is not so:
// `out` must be a struct of the size that its first field says, or NULL.
enum weir_result weir_replay_next_event(struct weir_replay *replay, struct weir_event *out);

// What it has come to so far.
//
// Not checked, and undefined if it is not so:
// `out` must be a struct of the size that its first field says, or NULL.
enum weir_result weir_replay_get_summary(const struct weir_replay *replay, struct weir_replay_summary *out);

// Frees a replay. NULL is allowed and does nothing.
enum weir_result weir_replay_free(struct weir_replay *replay);

// The version of the ABI that this library has.
//
// Any thread. Compare it with `WEIR_ABI_VERSION`, or call `weir_check_abi`.
uint32_t weir_abi_version(void);

// Whether a host that was compiled against version `compiled` (`WEIR_ABI_VERSION` of its header) can use this library.
//
// Any thread. `WEIR_WRONG_ABI` if not: then call nothing else but `weir_last_error`.
enum weir_result weir_check_abi(uint32_t compiled);

// The version of Weir, as a C string that lives for ever.
const char *weir_version(void);

// A short name for a result, `WEIR_OK` to itself, as a C string that lives for ever.
const char *weir_result_name(uint32_t result);

// Copies the words of this thread's last call that failed into `buffer`, cut to `size` and ended by a zero byte, and
// answers their whole length without that. Calls that work leave them as they are.
//
// Any thread. `buffer` may be NULL if `size` is 0: to ask for the length.
//
// Not checked, and undefined if it is not so:
// `buffer` must have room for `size` bytes.
size_t weir_last_error(char *buffer,
                       size_t size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* A struct that begins with its size, and zero otherwise. */
#ifdef __cplusplus
template <typename T> static inline T weir_init() { T value = T(); value.size = sizeof(T); return value; }
#define WEIR_INIT(type) weir_init<type>()
#else
#define WEIR_INIT(type) (type){.size = sizeof(type)}
#endif

/* What a module exports: it fills in `module`, and answers WEIR_ABI_VERSION. 0 refuses to begin. It is called once for each
 * place in a config that names the module. See weir_filters_allow_modules. */
#ifdef __cplusplus
extern "C"
#endif
uint32_t weir_module_init(const struct weir_filter_host *weir, struct weir_module *module);

/* The text of a C string, without its zero byte. */
static inline struct weir_str weir_text(const char *text) {
    struct weir_str made;
    made.data = text;
    made.len = text ? strlen(text) : 0;
    return made;
}

#endif /* WEIR_H */
