/*
 * Many threads over the same handles: engines that are used, replaced and freed, and a proxy that is called while it is updated,
 * drained and freed. Whatever a call may answer then is right; a crash, a hang, or a handle that is freed twice is not.
 *
 *   threads CONFIG.yaml
 */
#include "weir.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 6, PLACES = 3, TURNS = 300 };

static struct weir_config *config;
static struct weir_proxy *proxy;
static _Atomic(struct weir_engine *) engines[PLACES];
static atomic_int made, freed, answered, ended;
static atomic_bool over;
static struct weir_str path;

static void expect(bool holds, const char *what, enum weir_result result) {
    char words[256];
    if (holds)
        return;
    weir_last_error(words, sizeof words);
    fprintf(stderr, "%s: %s (%s)\n", what, weir_result_name(result), words);
    abort();
}

static bool gone(enum weir_result result) {
    return result == WEIR_WRONG_HANDLE || result == WEIR_BUSY || result == WEIR_NULL_POINTER || result == WEIR_ENDED ||
           result == WEIR_DRAINING;
}

static void replace(unsigned place) {
    struct weir_engine_options options = WEIR_INIT(struct weir_engine_options);
    struct weir_engine *engine = NULL;
    enum weir_result result = weir_engine_new(config, &options, &engine);
    expect(result == WEIR_OK || result == WEIR_BUSY, "weir_engine_new", result);
    if (result != WEIR_OK)
        return;
    made++;
    engine = atomic_exchange(&engines[place], engine);
    while ((result = weir_engine_free(engine)) == WEIR_BUSY) {
    }
    if (result == WEIR_OK && engine)
        freed++;
}

static void *use_engines(void *number) {
    unsigned state = (unsigned) (size_t) number + 1;
    for (int turn = 0; turn < TURNS; turn++) {
        state = state * 1103515245 + 12345;
        unsigned place = state >> 16 & 0xffff;
        struct weir_engine *engine = engines[place % PLACES];
        struct weir_engine_state seen = WEIR_INIT(struct weir_engine_state);
        struct weir_bytes *stats = NULL;
        enum weir_result result;
        switch (state >> 24 & 7) {
        case 0:
            replace(place % PLACES);
            break;
        case 1:
            if (weir_engine_free(engine) == WEIR_OK && engine)
                freed++;
            break;
        case 2:
            result = weir_engine_stats(engine, &stats);
            expect(result == WEIR_OK || gone(result), "weir_engine_stats", result);
            result = weir_bytes_free(stats);
            expect(result == WEIR_OK, "weir_bytes_free", result);
            break;
        case 3:
            result = weir_engine_timeout(engine, 0);
            expect(result == WEIR_OK || gone(result), "weir_engine_timeout", result);
            break;
        default:
            result = weir_engine_get_state(engine, &seen);
            expect(result == WEIR_OK || gone(result), "weir_engine_get_state", result);
        }
    }
    return NULL;
}

static void on_end(void *data, enum weir_result result, uint32_t cut) {
    (void) cut;
    expect(result == WEIR_OK, "the end", result);
    ++*(atomic_int *) data;
}

static void ask(void) {
    struct weir_request request = WEIR_INIT(struct weir_request);
    struct weir_call *call = NULL;
    uint32_t status = 0;
    uint8_t body[64];
    size_t count = 0;
    request.authority = weir_text("a");
    enum weir_result result = weir_proxy_call(proxy, weir_text("main"), &request, &call);
    if (result != WEIR_OK) {
        expect(gone(result) || result == WEIR_CALL_REFUSED, "weir_proxy_call", result);
        return;
    }
    result = weir_call_response(call, WEIR_FOREVER, &status, NULL);
    if (result == WEIR_OK) {
        expect(status == 200, "the status", result);
        while (weir_call_read(call, body, sizeof body, &count, WEIR_FOREVER) == WEIR_OK) {
        }
        answered++;
    }
    result = weir_call_free(call);
    expect(result == WEIR_OK, "weir_call_free", result);
}

static void *use_proxy(void *number) {
    for (size_t turn = (size_t) number; !over; turn++) {
        struct weir_bytes *stats = NULL;
        struct weir_address address;
        enum weir_result result;
        switch (turn % 5) {
        case 0:
            result = weir_proxy_stats(proxy, &stats);
            expect(result == WEIR_OK || gone(result), "weir_proxy_stats", result);
            result = weir_bytes_free(stats);
            expect(result == WEIR_OK, "weir_bytes_free", result);
            break;
        case 1:
            result = weir_proxy_listener(proxy, weir_text("main"), &address);
            expect(result == WEIR_OK || gone(result), "weir_proxy_listener", result);
            break;
        default:
            ask();
        }
    }
    return NULL;
}

static void run(void *(*work)(void *), void (*meanwhile)(void)) {
    pthread_t threads[THREADS];
    for (size_t n = 0; n < THREADS; n++)
        expect(pthread_create(&threads[n], NULL, work, (void *) n) == 0, "pthread_create", WEIR_OK);
    if (meanwhile)
        meanwhile();
    for (size_t n = 0; n < THREADS; n++)
        pthread_join(threads[n], NULL);
}

static void end_the_proxy(void) {
    while (answered < 50) {
    }
    enum weir_result result = weir_proxy_on_end(proxy, on_end, &ended);
    expect(result == WEIR_OK, "weir_proxy_on_end", result);
    result = weir_proxy_drain(proxy);
    expect(result == WEIR_OK, "weir_proxy_drain", result);
    result = weir_proxy_free(proxy);
    expect(result == WEIR_OK, "weir_proxy_free", result);
    expect(ended == 1, "told of the end", result);
    over = true;
}

int main(int count, char **arguments) {
    if (count != 2)
        return 2;
    path = weir_text(arguments[1]);
    enum weir_result result = weir_config_load_file(path, 0, &config, NULL);
    expect(result == WEIR_OK, "weir_config_load_file", result);
    run(use_engines, NULL);
    for (size_t n = 0; n < PLACES; n++)
        if (engines[n] && weir_engine_free(engines[n]) == WEIR_OK)
            freed++;
    expect(freed == made && made > 0, "each is freed once", WEIR_OK);
    result = weir_config_free(config);
    expect(result == WEIR_OK, "weir_config_free", result);

    result = weir_proxy_start_file(path, NULL, &proxy, NULL);
    expect(result == WEIR_OK, "weir_proxy_start_file", result);
    run(use_proxy, end_the_proxy);
    printf("%d engines, %d answers\n", made, answered);
    return 0;
}
