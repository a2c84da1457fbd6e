/*
 * A whole proxy in this process.
 *
 *     cc proxy.c -lweir -o proxy && ./proxy config.yaml
 *
 * It serves until SIGINT or SIGTERM, then drains: what it has accepted is answered.
 */
#define _POSIX_C_SOURCE 200809L
#include "weir.h"
#include <signal.h>
#include <stdio.h>

static int fail(const char *what) {
    char words[1024];
    weir_last_error(words, sizeof words);
    fprintf(stderr, "%s: %s\n", what, words);
    return 1;
}

static void log_line(void *data, uint32_t level, struct weir_str line) {
    (void)data, (void)level;
    fprintf(stderr, "%.*s\n", (int)line.len, line.data);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s config.yaml\n", argv[0]);
        return 2;
    }
    if (weir_check_abi(WEIR_ABI_VERSION) != WEIR_OK) return fail("libweir");

    /* Signals are the host's: block them before the proxy's threads start, and wait for one. */
    sigset_t stop;
    int signal;
    sigemptyset(&stop), sigaddset(&stop, SIGINT), sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);

    struct weir_proxy_options options = WEIR_INIT(struct weir_proxy_options);
    options.log = log_line;
    options.drain_time = 10 * 1000000000ull;
    struct weir_proxy *proxy;
    if (weir_proxy_start_file(weir_text(argv[1]), &options, &proxy, NULL) != WEIR_OK) return fail(argv[1]);

    struct weir_address at;
    if (weir_proxy_listener(proxy, weir_text(""), &at) == WEIR_OK) printf("listening on port %u\n", at.port);
    fflush(stdout);

    sigwait(&stop, &signal);
    uint32_t cut = 0;
    weir_proxy_drain(proxy);
    if (weir_proxy_wait(proxy, WEIR_FOREVER, &cut) != WEIR_OK) return fail("the proxy");
    printf("drained, %u cut\n", cut);
    weir_proxy_free(proxy);
    return 0;
}
