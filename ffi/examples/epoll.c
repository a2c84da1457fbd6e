/*
 * A proxy on Weir's engine, with an epoll loop of its own: the host has the sockets, the thread and the clock.
 *
 *     cc -O2 epoll.c -lweir -o proxy && ./proxy config.yaml
 *
 * SIGTERM drains it. Listeners with TLS are for hosts that have TLS: this one closes their connections.
 */
#define _GNU_SOURCE
#include "weir.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct conn {
    int fd, listens, connecting, paused, eof, queued;
    uint32_t ending;        /* an action to do once all is sent */
    uint64_t id;            /* the engine's; of what listens, the listener's */
    uint8_t *rest;          /* what the engine did not take yet */
    size_t rest_len;
    struct conn *next;      /* of those to read again, or of those to free */
};

static struct weir_engine *engine;
static int epoll;
static struct conn *again, *dead;
static volatile sig_atomic_t stopping;
static uint8_t block[65536];

static uint64_t clock_ns(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static uint64_t now(void) { return clock_ns(CLOCK_MONOTONIC); }
static void stop(int signal) { (void)signal; stopping = 1; }

static void die(const char *what) {
    char words[1024];
    weir_last_error(words, sizeof words);
    fprintf(stderr, "%s: %s\n", what, words);
    exit(1);
}

static socklen_t to_sockaddr(const struct weir_address *from, struct sockaddr_storage *to) {
    memset(to, 0, sizeof *to);
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    to->ss_family = from->family == 4 ? AF_INET : AF_INET6;
    v4->sin_port = htons(from->port); /* at the same place in both */
    if (from->family == 4) memcpy(&v4->sin_addr, from->ip, 4);
    else memcpy(&v6->sin6_addr, from->ip, 16);
    return from->family == 4 ? sizeof *v4 : sizeof *v6;
}
static struct weir_address of_sockaddr(const struct sockaddr *from) {
    struct weir_address to = {from->sa_family == AF_INET ? 4 : 6, ntohs(((const struct sockaddr_in *)from)->sin_port), {0}};
    if (to.family == 4) memcpy(to.ip, &((const struct sockaddr_in *)from)->sin_addr, 4);
    else memcpy(to.ip, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
    return to;
}
static void ends(int fd, struct weir_address *local, struct weir_address *remote) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &len) == 0) *local = of_sockaddr((struct sockaddr *)&at);
    len = sizeof at;
    if (getpeername(fd, (struct sockaddr *)&at, &len) == 0) *remote = of_sockaddr((struct sockaddr *)&at);
}

static struct conn *watch(int fd, uint64_t id, int listens) {
    struct conn *c = calloc(1, sizeof *c);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (listens ? 0 : EPOLLOUT | EPOLLET), .data.ptr = c};
    c->fd = fd, c->id = id, c->listens = listens;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    if (!listens) weir_engine_set_data(engine, id, (uint64_t)(uintptr_t)c);
    return c;
}
static void forget(struct conn *c) {
    close(c->fd);
    c->fd = -1;
    if (!c->queued) c->next = dead, dead = c; /* events of this turn may still name it */
}
static void lost(struct conn *c, uint32_t why) {
    weir_engine_closed(engine, c->id, why, now());
    forget(c);
}
static void read_again(struct conn *c) {
    if (!c->queued) c->queued = 1, c->next = again, again = c;
}

/* Hands bytes in; what the engine leaves is kept. 0 if it left something. */
static int hand_in(struct conn *c, const uint8_t *data, size_t len) {
    size_t taken = 0;
    weir_engine_recv(engine, c->id, data, len, &taken, now());
    if (taken == len) return 1;
    uint8_t *rest = malloc(len - taken);
    memcpy(rest, data + taken, len - taken);
    free(c->rest);
    c->rest = rest, c->rest_len = len - taken;
    return 0;
}
/* Reads once; whether to go on. */
static int receive(struct conn *c) {
    if (c->rest) {
        uint8_t *rest = c->rest;
        size_t len = c->rest_len;
        c->rest = NULL;
        int all = hand_in(c, rest, len);
        free(rest);
        return all;
    }
    ssize_t count = read(c->fd, block, sizeof block);
    if (count > 0) return hand_in(c, block, (size_t)count);
    if (count == 0 && !c->eof) c->eof = 1, weir_engine_eof(engine, c->id, now());
    else if (count < 0 && errno != EAGAIN) lost(c, WEIR_RESET);
    return 0;
}
/* Sends what there is, as far as the socket takes it; then ends as the engine wants it. */
static void flush(struct conn *c) {
    struct weir_iovec slices[16];
    size_t count;
    while (weir_engine_transmit(engine, c->id, slices, 16, &count, now()) == WEIR_OK) {
        ssize_t sent = writev(c->fd, (struct iovec *)slices, (int)count);
        if (sent < 0 && errno == EAGAIN) return; /* EPOLLOUT comes */
        if (sent < 0) { lost(c, WEIR_RESET); return; }
        weir_engine_sent(engine, c->id, (size_t)sent);
    }
    uint32_t ending = c->ending;
    c->ending = 0;
    if (ending == WEIR_ACTION_SHUTDOWN_WRITE) shutdown(c->fd, SHUT_WR);
    if (ending == WEIR_ACTION_CLOSE) lost(c, WEIR_CLOSED);
    if (ending == WEIR_ACTION_CLOSE_IF_IDLE) {
        ssize_t got = c->rest ? 0 : read(c->fd, block, sizeof block);
        if (got > 0) { hand_in(c, block, (size_t)got); read_again(c); }
        else if (!c->rest) lost(c, WEIR_CLOSED);
    }
}

static void dial(const struct weir_action *action) {
    struct sockaddr_storage to;
    socklen_t len = to_sockaddr(&action->address, &to);
    int one = 1, fd = action->tls ? -1 : socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS)) {
        const char *why = action->tls ? "this host has no TLS" : strerror(errno);
        weir_engine_connect_failed(engine, action->conn, weir_text(why), action->tls ? WEIR_TLS_PROTOCOL : 0, now());
        if (fd >= 0) close(fd);
        return;
    }
    watch(fd, action->conn, 0)->connecting = 1;
}
static void resolve(const struct weir_action *action) { /* a real host would not block here */
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    struct weir_address list[16];
    size_t count = 0;
    char *name = strndup(action->name.data, action->name.len);
    int failed = getaddrinfo(name, NULL, &hints, &found);
    for (struct addrinfo *one = found; one && count < 16; one = one->ai_next) list[count++] = of_sockaddr(one->ai_addr);
    if (failed) weir_engine_resolve_failed(engine, action->query, weir_text(gai_strerror(failed)), now());
    else weir_engine_resolved(engine, action->query, list, count, 0, now());
    if (found) freeaddrinfo(found);
    free(name);
}
static void perform(void) {
    struct weir_action action = WEIR_INIT(struct weir_action);
    while (weir_engine_next_action(engine, &action) == WEIR_OK) {
        struct conn *c = (struct conn *)(uintptr_t)action.data;
        switch (action.kind) {
        case WEIR_ACTION_CONNECT: dial(&action); break;
        case WEIR_ACTION_RESOLVE: resolve(&action); break;
        case WEIR_ACTION_NUDGE: weir_engine_nudge(engine, now()); break;
        case WEIR_ACTION_TRANSMIT: if (c && !c->connecting) flush(c); break;
        case WEIR_ACTION_READ: if (c) c->paused = 0, read_again(c); break;
        case WEIR_ACTION_PAUSE: if (c) c->paused = 1; break;
        case WEIR_ACTION_RESET: if (c) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger)); /* fall through */
        case WEIR_ACTION_DROP: if (c) forget(c); break;
        default: if (c) c->ending = action.kind, flush(c); break;
        }
    }
}
static void go_on(struct conn *c) {
    while (c->fd >= 0 && !c->paused && !c->eof && receive(c)) perform();
    perform();
}
static void on_event(struct conn *c, uint32_t events) {
    if (c->fd < 0) return;
    if (c->listens) {
        struct weir_address local = {0}, remote = {0};
        uint64_t id;
        uint32_t opening;
        int one = 1, fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        ends(fd, &local, &remote);
        if (weir_engine_accept(engine, c->id, &local, &remote, now(), &id) != WEIR_OK) { close(fd); return; }
        c = watch(fd, id, 0);
        if (weir_engine_opening(engine, id, &opening) != WEIR_OK || opening != WEIR_OPENING_PLAIN) lost(c, WEIR_RESET);
        return perform();
    }
    if (c->connecting) {
        struct weir_address local = {0}, remote = {0};
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        c->connecting = 0;
        ends(c->fd, &local, &remote);
        if (!error) weir_engine_connected(engine, c->id, &local, &remote, NULL, now());
        else { weir_engine_connect_failed(engine, c->id, weir_text(strerror(error)), 0, now()); forget(c); }
        return perform();
    }
    if (events & EPOLLOUT) flush(c);
    go_on(c);
}

static void open_listeners(const struct weir_config *config) {
    struct weir_listener listener = WEIR_INIT(struct weir_listener);
    for (size_t i = 0; weir_config_listener(config, i, &listener) == WEIR_OK; i++) {
        struct sockaddr_storage at;
        socklen_t len = to_sockaddr(&listener.address, &at);
        int one = 1, fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        uint64_t id;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, (int)listener.backlog) < 0) { perror("listen"); exit(1); }
        if (weir_engine_listener(engine, listener.name, &id) != WEIR_OK) die("listener");
        getsockname(fd, (struct sockaddr *)&at, &len);
        printf("%.*s listens on port %d\n", (int)listener.name.len, listener.name.data, of_sockaddr((struct sockaddr *)&at).port);
        fflush(stdout);
        watch(fd, id, 1);
    }
}

int main(int argc, char **argv) {
    static char text[1 << 20];
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!file) { fprintf(stderr, "usage: %s config.yaml\n", argv[0]); return 2; }
    struct weir_str yaml = {text, fread(text, 1, sizeof text, file)};
    struct weir_config *config;
    if (weir_check_abi(WEIR_ABI_VERSION) != WEIR_OK) die("libweir");
    if (weir_config_load(yaml, weir_text(argv[1]), 0, &config, NULL) != WEIR_OK) die("config");
    struct weir_engine_options options = WEIR_INIT(struct weir_engine_options);
    options.seed = clock_ns(CLOCK_REALTIME), options.now = now(), options.wall = clock_ns(CLOCK_REALTIME);
    if (weir_engine_new(config, &options, &engine) != WEIR_OK) die("engine");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    open_listeners(config);
    perform();
    for (int drained = 0; !drained;) {
        uint64_t due;
        int wait = -1;
        if (weir_engine_deadline(engine, &due) == WEIR_OK) wait = due > now() ? (int)((due - now()) / 1000000 % 60000) + 1 : 0;
        struct epoll_event events[256];
        int count = epoll_wait(epoll, events, 256, again || stopping == 1 ? 0 : wait);
        for (int i = 0; i < count; i++) on_event(events[i].data.ptr, events[i].events);
        while (again) {
            struct conn *c = again;
            again = c->next, c->queued = 0;
            if (c->fd >= 0) go_on(c);
            else c->next = dead, dead = c;
        }
        if (stopping == 1) stopping = 2, weir_engine_drain(engine, now() + 10000000000u, now()), perform();
        if (wait >= 0) weir_engine_timeout(engine, now()), perform();
        struct weir_event event = WEIR_INIT(struct weir_event);
        while (weir_engine_next_event(engine, &event) == WEIR_OK) {
            if (event.kind == WEIR_EVENT_ACCESS_LOG) fwrite(event.text.data, 1, event.text.len, stdout);
            if (event.kind == WEIR_EVENT_DRAINED) drained = 1;
        }
        for (struct conn *c; (c = dead);) { dead = c->next; free(c->rest); free(c); }
    }
    weir_engine_free(engine);
    weir_config_free(config);
    return 0;
}
