/*
 * A filter: requests need a token, and whose it is is looked up on another thread while the request waits.
 *
 * As a module, for any process that runs Weir, `weir run` among them:
 *
 *     cc -shared -fPIC filter.c -o libgate.so -lpthread
 *
 *     http_filters:
 *     - name: gate
 *       typed_config:
 *         "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
 *         dynamic_module_config: { name: gate }
 *         filter_name: gate
 *         filter_config: { "@type": type.googleapis.com/google.protobuf.Struct, value: { token: secret } }
 *
 * In a program of its own, for `typed_config: { "@type": example.Gate, token: secret }`:
 *
 *     cc -DPROGRAM filter.c -lweir -lpthread
 */
#define _POSIX_C_SOURCE 200809L
#include "weir.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Who waits to be looked up. */
struct question {
    struct weir_filter_id id;
    struct question *next;
};
/* What there is for each place in a config: the token, and a thread that looks up. */
struct gate {
    const struct weir_filter_host *weir;
    char token[64];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t asked;
    struct question *first;
    int ends;
};

static void *look_up(void *data) {
    struct gate *gate = (struct gate *)data;
    pthread_mutex_lock(&gate->lock);
    while (gate->first || !gate->ends) {
        struct question *question = gate->first;
        if (!question) {
            pthread_cond_wait(&gate->asked, &gate->lock);
            continue;
        }
        gate->first = question->next;
        pthread_mutex_unlock(&gate->lock);
        /* A database would be asked here. Who has left meanwhile is not found, which is no error. */
        gate->weir->resume(&question->id, (const uint8_t *)"ann", 3);
        free(question);
        pthread_mutex_lock(&gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
    return NULL;
}

static uint32_t configure(const struct weir_filter_host *weir, void *data, struct weir_str name, struct weir_str config, void **made) {
    struct gate *gate = (struct gate *)calloc(1, sizeof *gate);
    char json[256];
    (void)data, (void)name;
    snprintf(json, sizeof json, "%.*s", (int)config.len, config.data);
    gate->weir = weir, *made = gate;
    pthread_mutex_init(&gate->lock, NULL), pthread_cond_init(&gate->asked, NULL);
    if (sscanf(json, "{\"token\":\"%63[^\"]\"}", gate->token) != 1) weir->refuse(weir_text("`token` is needed, and nothing else"));
    else if (pthread_create(&gate->thread, NULL, look_up, gate) != 0) weir->refuse(weir_text("no thread can be had"));
    else return 0;
    free(gate);
    return 1;
}
static void forget(void *made) {
    struct gate *gate = (struct gate *)made;
    pthread_mutex_lock(&gate->lock);
    gate->ends = 1;
    pthread_cond_signal(&gate->asked);
    pthread_mutex_unlock(&gate->lock);
    pthread_join(gate->thread, NULL);
    free(gate);
}

static uint32_t request_head(const struct weir_filter_host *weir, struct weir_exchange *exchange, void *filter) {
    struct gate *gate = (struct gate *)filter;
    struct weir_str token = {NULL, 0};
    weir->get(exchange, WEIR_REQUEST_HEAD, weir_text("x-token"), 0, &token);
    if (token.len != strlen(gate->token) || memcmp(token.data, gate->token, token.len) != 0) {
        struct weir_answer answer = WEIR_INIT(struct weir_answer);
        answer.status = 403, answer.body = weir_text("no token, no entry\n"), answer.details = weir_text("gate_closed");
        weir->answer(exchange, &answer);
        return WEIR_RESPOND;
    }
    weir->remove(exchange, WEIR_REQUEST_HEAD, weir_text("x-token"));
    struct question *question = (struct question *)calloc(1, sizeof *question);
    weir->id(exchange, &question->id);
    pthread_mutex_lock(&gate->lock);
    question->next = gate->first, gate->first = question;
    pthread_cond_signal(&gate->asked);
    pthread_mutex_unlock(&gate->lock);
    return WEIR_PAUSE;
}
static uint32_t resumed(const struct weir_filter_host *weir, struct weir_exchange *exchange, void *filter, const uint8_t *learned, size_t len) {
    struct weir_str user = {(const char *)learned, len};
    (void)filter;
    weir->set(exchange, WEIR_REQUEST_HEAD, weir_text("x-user"), user);
    return WEIR_CONTINUE;
}
static uint32_t response_head(const struct weir_filter_host *weir, struct weir_exchange *exchange, void *filter) {
    (void)filter;
    weir->set(exchange, WEIR_RESPONSE_HEAD, weir_text("x-gate"), weir_text("passed"));
    return WEIR_CONTINUE;
}

static const struct weir_filter *gate_filter(void) {
    static struct weir_filter filter;
    filter.size = sizeof filter;
    filter.configure = configure, filter.forget = forget;
    filter.request_head = request_head, filter.resumed = resumed, filter.response_head = response_head;
    return &filter;
}

#ifndef PROGRAM
uint32_t weir_module_init(const struct weir_filter_host *weir, struct weir_module *module) {
    static struct weir_module_filter filters[1];
    (void)weir;
    filters[0].name = weir_text("gate"), filters[0].filter = gate_filter();
    module->filters = filters, module->filter_count = 1;
    return WEIR_ABI_VERSION;
}
#else
static int fail(const char *what) {
    char words[1024];
    weir_last_error(words, sizeof words);
    return fprintf(stderr, "%s: %s\n", what, words), 1;
}

int main(int argc, char **argv) {
    struct weir_filters *filters;
    struct weir_proxy *proxy;
    struct weir_address at;
    struct weir_proxy_options options = WEIR_INIT(struct weir_proxy_options);
    if (argc != 2) return fprintf(stderr, "usage: %s config.yaml\n", argv[0]), 2;
    if (weir_filters_new(&filters) != WEIR_OK) return fail("filters");
    if (weir_filters_register(filters, weir_text("example.Gate"), gate_filter()) != WEIR_OK) return fail("example.Gate");
    options.filters = filters;
    enum weir_result started = weir_proxy_start_file(weir_text(argv[1]), &options, &proxy, NULL);
    weir_filters_free(filters); /* the proxy has what it needs of them */
    if (started != WEIR_OK) return fail(argv[1]);
    if (weir_proxy_listener(proxy, weir_text(""), &at) == WEIR_OK) printf("listening on port %u\n", at.port);
    fflush(stdout);
    while (getchar() != EOF) {} /* serves until its input ends */
    weir_proxy_drain(proxy);
    if (weir_proxy_wait(proxy, WEIR_FOREVER, NULL) != WEIR_OK) return fail("the proxy");
    return weir_proxy_free(proxy) != WEIR_OK;
}
#endif
