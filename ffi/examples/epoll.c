/*
 * A proxy on Weir's engine with an epoll loop of its own: the host has the sockets, the thread and the clock.
 *
 *     cc -O2 epoll.c -lweir -o proxy && ./proxy config.yaml        (SIGTERM drains it)
 *
 * TLS and names are for hosts that have a TLS library and a resolver that does not block: this one has
 * neither, closes connections that need TLS, and serves clusters whose endpoints are addresses.
 */
#define _GNU_SOURCE 1
#include "weir.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct conn {
    int fd;             /* -1 once it is closed */
    uint64_t id;        /* the engine's; of what listens, the listener's */
    int listens, connecting, paused, ended;
    uint32_t then;      /* what to do once all is sent: an action */
    struct conn *next;  /* of those that listen, or that are closed */
};
static struct weir_engine *engine;
static struct conn *closed, *listeners;
static uint8_t block[65536];
static volatile sig_atomic_t stopping;
static int epoll;

static void on_signal(int signal) { (void)signal, stopping = 1; }
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static void must(enum weir_result result, const char *what) {
    char words[1024];
    if (result != WEIR_OK) weir_last_error(words, sizeof words), fprintf(stderr, "%s: %s\n", what, words), exit(1);
}
static struct weir_address end_of(int fd, int peer) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    struct weir_address end = {4, 0, {0}};
    if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&at, &len) == 0) weir_address_of(&at, len, &end);
    return end;
}

static void watch(struct conn *c, int change) { /* what is ready already is told again after a change */
    struct epoll_event event;
    event.events = c->listens ? EPOLLIN : EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, event.data.ptr = c;
    epoll_ctl(epoll, change, c->fd, &event);
}
static struct conn *add(int fd, uint64_t id, int listens) {
    struct conn *c = (struct conn *)calloc(1, sizeof *c);
    int one = 1;
    c->fd = fd, c->id = id, c->listens = listens;
    setsockopt(fd, SOL_TCP, TCP_NODELAY, &one, sizeof one);
    if (!listens) weir_engine_set_data(engine, id, (uint64_t)(uintptr_t)c);
    watch(c, EPOLL_CTL_ADD);
    return c;
}
static void forget(struct conn *c) { /* its memory lives on: an event of this turn may name it */
    close(c->fd);
    c->fd = -1, c->next = closed, closed = c;
}
static void lost(struct conn *c, uint32_t why) { weir_engine_closed(engine, c->id, why, now()), forget(c); }
static ssize_t receive(struct conn *c) {
    ssize_t count = read(c->fd, block, sizeof block);
    if (count > 0) weir_engine_recv(engine, c->id, block, (size_t)count, NULL, now());
    else if (count == 0) c->ended = 1, weir_engine_eof(engine, c->id, now());
    else if (errno != EAGAIN) lost(c, WEIR_RESET);
    return count;
}
static void send_all(struct conn *c) { /* as far as the socket takes it; and then ends, if that was asked for */
    struct weir_iovec slices[16];
    size_t count;
    while (weir_engine_transmit(engine, c->id, slices, 16, &count, now()) == WEIR_OK) {
        ssize_t sent = writev(c->fd, (struct iovec *)slices, (int)count);
        if (sent < 0 && errno != EAGAIN) lost(c, WEIR_RESET);
        if (sent < 0) return; /* EPOLLOUT comes */
        weir_engine_sent(engine, c->id, (size_t)sent);
    }
    uint32_t then = c->then;
    c->then = 0;
    if (then == WEIR_ACTION_SHUTDOWN_WRITE) shutdown(c->fd, SHUT_WR);
    else if (then == WEIR_ACTION_CLOSE) lost(c, WEIR_CLOSED);
    else if (then == WEIR_ACTION_CLOSE_IF_IDLE && receive(c) < 0 && c->fd >= 0) lost(c, WEIR_CLOSED);
}

static void dial(const struct weir_action *action) {
    struct sockaddr_storage to;
    size_t len = sizeof to;
    must(weir_address_to(&action->address, &to, &len), "address");
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (!action->tls && (connect(fd, (struct sockaddr *)&to, (socklen_t)len) == 0 || errno == EINPROGRESS))
        add(fd, action->conn, 0)->connecting = 1;
    else { /* WEIR_TLS_PROTOCOL: this host has no TLS */
        weir_engine_connect_failed(engine, action->conn, weir_text(strerror(errno)), action->tls ? WEIR_TLS_PROTOCOL : 0, now());
        close(fd);
    }
}
static void perform(void) {
    struct weir_action action = WEIR_INIT(struct weir_action);
    struct linger at_once = {1, 0};
    while (weir_engine_next_action(engine, &action) == WEIR_OK) {
        struct conn *c = (struct conn *)(uintptr_t)action.data;
        if (action.kind == WEIR_ACTION_CONNECT) dial(&action);
        else if (action.kind == WEIR_ACTION_RESOLVE) weir_engine_resolve_failed(engine, action.query, weir_text(""), now());
        else if (action.kind == WEIR_ACTION_NUDGE) weir_engine_nudge(engine, now());
        else if (!c) continue; /* it has just been lost */
        else if (action.kind == WEIR_ACTION_READ) c->paused = 0, watch(c, EPOLL_CTL_MOD);
        else if (action.kind == WEIR_ACTION_PAUSE) c->paused = 1;
        else if (action.kind == WEIR_ACTION_DROP) forget(c);
        else if (action.kind == WEIR_ACTION_RESET) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), forget(c);
        else if (action.kind == WEIR_ACTION_TRANSMIT) send_all(c);
        else c->then = action.kind, send_all(c); /* WEIR_ACTION_SHUTDOWN_WRITE, _CLOSE and _CLOSE_IF_IDLE */
    }
}
static int accept_one(struct conn *listener) { /* whether there was somebody */
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct weir_address local = end_of(fd, 0), remote = end_of(fd, 1);
    uint32_t opening = WEIR_OPENING_REFUSED;
    uint64_t id;
    if (fd < 0) return 0;
    if (weir_engine_accept(engine, listener->id, &local, &remote, now(), &id) != WEIR_OK) return close(fd) == 0;
    struct conn *c = add(fd, id, 0);
    weir_engine_opening(engine, id, &opening);
    if (opening != WEIR_OPENING_PLAIN) lost(c, WEIR_RESET);
    return 1;
}
static void connected(struct conn *c) { /* or not */
    struct weir_address local = end_of(c->fd, 0), remote = end_of(c->fd, 1);
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    c->connecting = 0;
    if (error) weir_engine_connect_failed(engine, c->id, weir_text(strerror(error)), 0, now()), forget(c);
    else weir_engine_connected(engine, c->id, &local, &remote, NULL, now());
}
static void on_event(struct conn *c, uint32_t events) {
    if (c->fd < 0) return;
    if (c->listens) accept_one(c);
    else if (c->connecting) connected(c);
    else if (events & EPOLLOUT) send_all(c);
    perform();
    for (int more = 1; more && c->fd >= 0 && !c->listens && !c->paused && !c->ended; perform())
        more = receive(c) == sizeof block || events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
}
static void listen_on(const struct weir_listener *listener) {
    struct sockaddr_storage at;
    size_t len = sizeof at;
    int one = 1, fd = socket(listener->address.family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    uint64_t id;
    must(weir_address_to(&listener->address, &at, &len), "address");
    must(weir_engine_listener(engine, listener->name, &id), "listener");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, (socklen_t)len) || listen(fd, (int)listener->backlog)) perror("listen"), exit(1);
    printf("%.*s listens on port %d\n", (int)listener->name.len, listener->name.data, end_of(fd, 0).port), fflush(stdout);
    struct conn *c = add(fd, id, 1);
    c->next = listeners, listeners = c;
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: %s config.yaml\n", argv[0]), 2;
    struct weir_config *config;
    struct weir_listener listener = WEIR_INIT(struct weir_listener);
    struct weir_event event = WEIR_INIT(struct weir_event);
    struct weir_engine_options options = WEIR_INIT(struct weir_engine_options);
    options.now = now(), options.seed = options.wall = (uint64_t)time(NULL) * 1000000000u;
    must(weir_check_abi(WEIR_ABI_VERSION), "libweir");
    must(weir_config_load_file(weir_text(argv[1]), 0, &config, NULL), "config");
    must(weir_engine_new(config, &options, &engine), "engine");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    signal(SIGPIPE, SIG_IGN), signal(SIGTERM, on_signal);
    for (size_t i = 0; weir_config_listener(config, i, &listener) == WEIR_OK; i++) listen_on(&listener);
    for (int drained = 0; !drained;) {
        weir_engine_timeout(engine, now());
        perform();
        uint64_t due = UINT64_MAX, at = now();
        weir_engine_deadline(engine, &due);
        struct epoll_event events[256]; /* a signal that comes before the wait is seen after it, a second later at most */
        int count = epoll_wait(epoll, events, 256, due < at ? 0 : due - at < 999999999 ? (int)((due - at) / 1000000) + 1 : 1000);
        for (int i = 0; i < count; i++) on_event((struct conn *)events[i].data.ptr, events[i].events);
        if (stopping == 1) { /* accept what the kernel has queued; then what is under way has ten seconds */
            for (struct conn *c; (c = listeners); forget(c)) for (listeners = c->next; accept_one(c);) {}
            stopping = 2, weir_engine_drain(engine, now() + 10000000000u, now());
        }
        while (weir_engine_next_event(engine, &event) == WEIR_OK) {
            if (event.kind == WEIR_EVENT_ACCESS_LOG) fwrite(event.text.data, 1, event.text.len, stdout);
            if (event.kind == WEIR_EVENT_DRAINED) drained = 1;
        }
        for (struct conn *c; (c = closed); free(c)) closed = c->next;
    }
    return weir_engine_free(engine) != WEIR_OK || weir_config_free(config) != WEIR_OK;
}
