/*
 * Misuse of the C ABI: each call here is wrong in one way, and must say so and do nothing. misuse.rs makes most of them
 * of weir.h (misuse_calls.h); here is what a type does not tell.
 *
 *   misuse CONFIG.yaml
 */
#include "misuse.h"
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

struct live live;
struct freed freed, reused;
int refusals, failures;

static struct weir_str text_of_config, path_of_config, words;
static struct weir_header field_of_words;
static const struct weir_address no_address = {.family = 5};
/* Some hold an address of the system's. */
static union { uint8_t bytes[64]; struct sockaddr_in address; } some;
static uint8_t *const some_bytes = some.bytes;
static unsigned char some_room[1024], room_before[sizeof some_room];

static void on_end(void *data, enum weir_result result, uint32_t cut) {
    (void) result, (void) cut;
    if (data)
        ++*(atomic_int *) data;
}

void forget_words(void) {
    struct weir_config *out = NULL;
    (void) weir_config_load_file(weir_text("/nowhere/forgotten"), 0, &out, NULL);
}

void check(const char *what, int wanted, const char *hint, int got, bool untouched) {
    char said[1024] = "";
    size_t length = weir_last_error(said, sizeof said);
    const char *fault = NULL;
    refusals++;
    if (got != wanted)
        fault = "another result";
    else if (strstr(said, "forgotten") || length == 0)
        fault = "no words of its own";
    else if (!strstr(said, hint))
        fault = "words that do not help";
    else if (!untouched)
        fault = "something was written";
    if (fault) {
        failures++;
        printf("%s: %s: wanted %s with `%s`, got %s: %s\n", what, fault, weir_result_name((uint32_t) wanted), hint,
               weir_result_name((uint32_t) got), said);
    }
}

/* A call that is refused. What it is made with is looked at after the outs are new. */
#define REFUSED(what, wanted, hint, call)                                                                              \
    do {                                                                                                               \
        before();                                                                                                      \
        memset(some_room, 0x5a, sizeof some_room);                                                                     \
        int got = (int) (call);                                                                                        \
        sizes_back();                                                                                                  \
        check(what, (int) wanted, hint, got,                                                                           \
              memcmp(&outs, &outs_before, sizeof outs) == 0 && memcmp(some_room, room_before, sizeof some_room) == 0); \
    } while (0)

#define MUST(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            char said[512];                                                                                            \
            weir_last_error(said, sizeof said);                                                                        \
            printf("line %d: not so: %s (%s)\n", __LINE__, #what, said);                                               \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

#define OK(call) MUST((call) == WEIR_OK)

#include "misuse_calls.h"

/* A config with a client to serve, a host to connect to, and a name to resolve. */
static const char ROUTED[] =
    "static_resources:\n"
    "  listeners:\n"
    "  - name: main\n"
    "    address: { socket_address: { address: 127.0.0.1, port_value: 80 } }\n"
    "    filter_chains:\n"
    "    - filters:\n"
    "      - name: http\n"
    "        typed_config:\n"
    "          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n"
    "          stat_prefix: in\n"
    "          route_config: { virtual_hosts: [{ name: v, domains: [\"*\"], routes: [{ match: { prefix: / }, route: { cluster: up } }] }] }\n"
    "          http_filters: [{ name: r, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]\n"
    "  clusters:\n"
    "  - name: up\n"
    "    load_assignment: { cluster_name: up, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 81 } } } }] }] }\n"
    "  - name: named\n"
    "    type: STRICT_DNS\n"
    "    load_assignment: { cluster_name: named, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: a.test, port_value: 81 } } } }] }] }\n";

static struct weir_engine *new_engine(struct weir_config *config, uint64_t now) {
    struct weir_engine *engine = NULL;
    struct weir_engine_options options = WEIR_INIT(struct weir_engine_options);
    options.now = now;
    options.record = 1;
    OK(weir_engine_new(config, &options, &engine));
    return engine;
}

static uint64_t accept_client(struct weir_engine *engine, uint64_t now) {
    uint64_t conn = 0;
    OK(weir_engine_accept(engine, live.listener, &live.address, &live.address, now, &conn));
    return conn;
}

static void give_life(const char *path) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct weir_action action = WEIR_INIT(struct weir_action);
    struct weir_request get = WEIR_INIT(struct weir_request);
    struct weir_config *none = NULL;
    size_t taken = 0;
    words = weir_text("words");
    field_of_words.name = field_of_words.value = words;
    text_of_config = weir_text(ROUTED);
    path_of_config = weir_text(path);
    get.authority = words;
    live.address = (struct weir_address){.family = 4, .port = 80, .ip = {127, 0, 0, 1}};
    some.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(80)};
    memset(room_before, 0x5a, sizeof room_before);

    OK(weir_config_load(text_of_config, words, 0, &live.config, NULL));
    MUST(weir_config_load(weir_text("static_resources: 1"), words, 0, &none, &live.diagnostics) == WEIR_CONFIG_REFUSED);
    MUST(none == NULL && weir_diagnostics_count(live.diagnostics) > 0);
    live.engine = new_engine(live.config, NOW);
    OK(weir_engine_listener(live.engine, weir_text("main"), &live.listener));
    live.gone = accept_client(live.engine, NOW);
    OK(weir_engine_closed(live.engine, live.gone, WEIR_RESET, NOW));
    live.conn = accept_client(live.engine, NOW);
    OK(weir_engine_recv(live.engine, live.conn, (const uint8_t *) request, sizeof request - 1, &taken, NOW));
    MUST(taken == sizeof request - 1);
    while (weir_engine_next_action(live.engine, &action) == WEIR_OK) {
        if (action.kind == WEIR_ACTION_CONNECT)
            live.upstream = action.conn;
        if (action.kind == WEIR_ACTION_RESOLVE)
            live.query = action.query;
    }
    MUST(live.upstream && live.query);
    OK(weir_engine_recorded(live.engine, &live.bytes));
    const uint8_t *log = NULL;
    size_t length = 0;
    OK(weir_bytes_get(live.bytes, &log, &length));
    OK(weir_replay_open(log, length, 0, &live.replay));
    OK(weir_proxy_start_file(path_of_config, NULL, &live.proxy, NULL));
    OK(weir_proxy_call(live.proxy, weir_text(""), &get, &live.call));
    OK(weir_filters_new(&live.filters));
}

/* What is freed at the end, or at once to be a handle that was. `with` is what the others are made of. */
static void make_dead(struct freed *dead) {
    const uint8_t *log = NULL;
    size_t length = 0;
    struct weir_config *config = NULL, *none = NULL;
    struct weir_diagnostics *diagnostics = NULL;
    struct weir_bytes *bytes = NULL;
    struct weir_replay *replay = NULL;
    struct weir_proxy *proxy = NULL;
    struct weir_call *call = NULL;
    struct weir_filters *filters = NULL;
    struct weir_request get = WEIR_INIT(struct weir_request);
    get.authority = words;
    OK(weir_filters_new(&filters));
    OK(weir_config_load(text_of_config, words, 0, &config, NULL));
    MUST(weir_config_load(weir_text("static_resources: 1"), words, 0, &none, &diagnostics) == WEIR_CONFIG_REFUSED);
    struct weir_engine *engine = new_engine(config, NOW);
    OK(weir_engine_stats(engine, &bytes));
    OK(weir_bytes_get(live.bytes, &log, &length));
    OK(weir_replay_open(log, length, 0, &replay));
    OK(weir_proxy_start_file(path_of_config, NULL, &proxy, NULL));
    OK(weir_proxy_call(proxy, weir_text("main"), &get, &call));
    OK(weir_filters_free(filters));
    OK(weir_call_free(call));
    OK(weir_proxy_free(proxy));
    OK(weir_replay_free(replay));
    OK(weir_bytes_free(bytes));
    OK(weir_engine_free(engine));
    OK(weir_diagnostics_free(diagnostics));
    OK(weir_config_free(config));
    *dead = (struct freed){config, diagnostics, engine, bytes, replay, proxy, call, filters};
}

static void end_life(void) {
    OK(weir_filters_free(live.filters));
    OK(weir_call_free(live.call));
    OK(weir_proxy_free(live.proxy));
    OK(weir_replay_free(live.replay));
    OK(weir_bytes_free(live.bytes));
    OK(weir_engine_free(live.engine));
    OK(weir_diagnostics_free(live.diagnostics));
    OK(weir_config_free(live.config));
}

static void freeing(void) {
    OK(weir_config_free(NULL));
    OK(weir_diagnostics_free(NULL));
    OK(weir_engine_free(NULL));
    OK(weir_bytes_free(NULL));
    OK(weir_replay_free(NULL));
    OK(weir_proxy_free(NULL));
    OK(weir_call_free(NULL));
    OK(weir_filters_free(NULL));
    MUST(weir_diagnostics_count(NULL) == 0 && weir_diagnostics_count((void *) live.engine) == 0);
    MUST(weir_diagnostics_count(freed.diagnostics) == 0 && weir_diagnostics_count(reused.diagnostics) == 0);
}

static void results(void) {
    char said[4] = "???";
    MUST(strcmp(weir_result_name(WEIR_OK), "WEIR_OK") == 0);
    MUST(strcmp(weir_result_name(4711), "unknown") == 0);
    MUST(weir_abi_version() == WEIR_ABI_VERSION && weir_version()[0] != 0);
    MUST(weir_check_abi(WEIR_ABI_VERSION) == WEIR_OK);
    /* Words are cut to fit, and their length is told. */
    (void) weir_check_abi(0);
    MUST(weir_last_error(NULL, 0) > sizeof said);
    MUST(weir_last_error(said, 1) > sizeof said && said[0] == 0 && said[1] == '?');
    MUST(weir_last_error(said, sizeof said) > sizeof said && strcmp(said, "the") == 0);
    MUST(weir_last_error(NULL, 10) > sizeof said);
}

/* Hosts of another version have other sizes of the same structs. */
static void other_versions(void) {
    struct { struct weir_engine_state state; unsigned char later[64]; } later;
    unsigned char before[64];
    memset(&later, 0x5a, sizeof later);
    memset(before, 0x5a, sizeof before);
    later.state.size = sizeof later;
    OK(weir_engine_get_state(live.engine, &later.state));
    MUST(later.state.size == sizeof later && later.state.clients == 1);
    MUST(memcmp(later.later, before, sizeof before) == 0);
}

static void addresses(void) {
    size_t length = 3;
    unsigned char room[32];
    memset(room, 0x5a, sizeof room);
    before();
    int got = weir_address_to(&live.address, room, &length);
    check("weir_address_to with too little room", WEIR_TOO_SMALL, "16", got, room[0] == 0x5a);
    MUST(length == 16);
    OK(weir_address_to(&live.address, room, &length));
    MUST(length == 16 && room[16] == 0x5a);
    REFUSED("weir_address_of nothing", WEIR_BAD_VALUE, "`sockaddr`", weir_address_of(room, 0, &outs.weir_address));
    REFUSED("weir_address_of a part", WEIR_BAD_VALUE, "`sockaddr`", weir_address_of(room, 15, &outs.weir_address));
    memset(room, 0xff, 16);
    REFUSED("weir_address_of another kind", WEIR_BAD_VALUE, "IPv4", weir_address_of(room, 16, &outs.weir_address));
}

static void unknown_names(void) {
    REFUSED("weir_engine_listener", WEIR_NO_LISTENER, "`no`", weir_engine_listener(live.engine, weir_text("no"), &outs.uint64_t));
    REFUSED("weir_engine_stat", WEIR_NO_STAT, "`no`", weir_engine_stat(live.engine, weir_text("no"), &outs.uint64_t));
    REFUSED("weir_proxy_stat", WEIR_NO_STAT, "`no`", weir_proxy_stat(live.proxy, weir_text("no"), &outs.uint64_t));
    REFUSED("weir_proxy_listener", WEIR_NO_LISTENER, "`no`", weir_proxy_listener(live.proxy, weir_text("no"), &outs.weir_address));
    REFUSED("weir_proxy_call", WEIR_NO_LISTENER, "no",
            weir_proxy_call(live.proxy, weir_text("no"), &right_weir_request, &outs.weir_call_at));
    REFUSED("weir_proxy_explain", WEIR_NO_LISTENER, "no",
            weir_proxy_explain(live.proxy, weir_text("no"), &right_weir_request, &outs.weir_bytes_at));
    REFUSED("weir_config_load_file", WEIR_FILE_FAILED, "/nowhere/else",
            weir_config_load_file(weir_text("/nowhere/else"), 0, &outs.weir_config_at, NULL));
    REFUSED("weir_proxy_start_file", WEIR_FILE_FAILED, "/nowhere/else",
            weir_proxy_start_file(weir_text("/nowhere/else"), NULL, &outs.weir_proxy_at, NULL));
}

static void numbers(void) {
    REFUSED("workers", WEIR_BAD_VALUE, "1024",
            (right_weir_proxy_options.workers = 1025,
             weir_proxy_start_file(path_of_config, &right_weir_proxy_options, &outs.weir_proxy_at, NULL)));
    REFUSED("log_level", WEIR_BAD_VALUE, "enum weir_level",
            (right_weir_proxy_options.log_level = 7,
             weir_proxy_start_file(path_of_config, &right_weir_proxy_options, &outs.weir_proxy_at, NULL)));
    REFUSED("flags", WEIR_BAD_VALUE, "0x80000000",
            (right_weir_proxy_options.flags = 1u << 31,
             weir_proxy_start_file(path_of_config, &right_weir_proxy_options, &outs.weir_proxy_at, NULL)));
    REFUSED("the end of time", WEIR_BAD_VALUE, "never",
            (right_weir_engine_options.now = UINT64_MAX,
             weir_engine_new(live.config, &right_weir_engine_options, &outs.weir_engine_at)));
    REFUSED("a header without its name", WEIR_NULL_POINTER, "headers",
            (right_weir_request.header_count = 1,
             weir_proxy_call(live.proxy, words, &right_weir_request, &outs.weir_call_at)));
    REFUSED("a method that is none", WEIR_BAD_VALUE, "method",
            (right_weir_request.method = weir_text("G T"),
             weir_proxy_call(live.proxy, weir_text(""), &right_weir_request, &outs.weir_call_at)));
    REFUSED("more than was lent", WEIR_BAD_VALUE, "were lent", weir_engine_sent(live.engine, live.conn, 1));
}

/* Refused by what the host has, not by how it calls: the words are those of the config. */
static void configs(void) {
    struct weir_diagnostics *found = NULL;
    REFUSED("no YAML", WEIR_CONFIG_REFUSED, "words:1:", weir_config_load(weir_text("{"), words, 0, &outs.weir_config_at, &found));
    MUST(weir_diagnostics_count(found) == 1);
    before();
    MUST(weir_diagnostics_get(found, 1, &outs.weir_diagnostic) == WEIR_NONE);
    OK(weir_diagnostics_free(found));
    found = NULL;
    REFUSED("weir_proxy_update", WEIR_CONFIG_REFUSED, "words:1:", weir_proxy_update(live.proxy, weir_text("{"), words, &found));
    MUST(weir_diagnostics_count(found) == 1);
    OK(weir_diagnostics_free(found));
    REFUSED("no log", WEIR_BAD_LOG, "WEIRLOG", weir_replay_open(some_bytes, sizeof some, 0, &outs.weir_replay_at));
}

/* A log with a byte changed in it goes another way, or is damaged; again and again. */
static void damaged_log(void) {
    const uint8_t *log = NULL;
    size_t length = 0;
    struct weir_replay *replay = NULL;
    OK(weir_bytes_get(live.bytes, &log, &length));
    uint8_t *changed = malloc(length);
    memcpy(changed, log, length);
    changed[length - 20] ^= 1;
    OK(weir_replay_open(changed, length, 1, &replay));
    memset(changed, 0, length);
    free(changed);
    enum weir_result result;
    while ((result = weir_replay_step(replay)) == WEIR_OK) {
    }
    MUST(result == WEIR_DIVERGED || result == WEIR_BAD_LOG);
    result = weir_replay_step(replay);
    MUST(result != WEIR_PANICKED);
    OK(weir_replay_free(replay));
}

static void after_a_drain(void) {
    struct weir_engine *engine = new_engine(live.config, 0);
    struct weir_engine_state state = WEIR_INIT(struct weir_engine_state);
    OK(weir_engine_drain(engine, 10, 5));
    OK(weir_engine_get_state(engine, &state));
    MUST(state.drained == 1);
    REFUSED("weir_engine_drain, earlier", WEIR_TIME_REVERSED, "monotonic", weir_engine_drain(engine, 10, 4));
    OK(weir_engine_drain(engine, 10, 5));
    OK(weir_engine_timeout(engine, 20));
    /* What the kernel had queued is served, and closed then. */
    (void) accept_client(engine, 20);
    OK(weir_engine_drain_listener(engine, live.listener, 20));
    OK(weir_engine_free(engine));
}

/* What comes in after an end must say so, also while the handle lives. */
static void after_an_end(void) {
    atomic_int told = 0;
    uint32_t cut = 7;
    struct weir_proxy *proxy = NULL;
    struct weir_call *call = NULL;
    struct weir_request get = WEIR_INIT(struct weir_request);
    OK(weir_proxy_start_file(path_of_config, NULL, &proxy, NULL));
    MUST(weir_proxy_wait(proxy, 0, &cut) == WEIR_TIMED_OUT && cut == 7);
    OK(weir_proxy_on_end(proxy, on_end, &told));
    get.has_body = 1;
    get.authority = words;
    OK(weir_proxy_call(proxy, weir_text(""), &get, &call));
    OK(weir_proxy_stop(proxy));
    MUST(told == 1);
    OK(weir_proxy_on_end(proxy, on_end, &told));
    MUST(told == 2);
    OK(weir_proxy_wait(proxy, 0, &cut));
    OK(weir_proxy_stop(proxy));
    REFUSED("weir_proxy_call", WEIR_ENDED, "ended",
            weir_proxy_call(proxy, weir_text(""), &right_weir_request, &outs.weir_call_at));
    REFUSED("weir_proxy_explain", WEIR_ENDED, "ended",
            weir_proxy_explain(proxy, weir_text(""), &right_weir_request, &outs.weir_bytes_at));
    REFUSED("weir_proxy_update", WEIR_ENDED, "ended", weir_proxy_update(proxy, text_of_config, words, NULL));
    REFUSED("weir_proxy_stats", WEIR_ENDED, "ended", weir_proxy_stats(proxy, &outs.weir_bytes_at));
    REFUSED("weir_proxy_stat", WEIR_ENDED, "ended",
            weir_proxy_stat(proxy, weir_text("http.in.downstream_rq_total"), &outs.uint64_t));
    REFUSED("weir_proxy_config_dump", WEIR_ENDED, "ended", weir_proxy_config_dump(proxy, &outs.weir_bytes_at));
    REFUSED("weir_proxy_write_input_logs", WEIR_ENDED, "ended", weir_proxy_write_input_logs(proxy, &outs.weir_bytes_at));
    MUST(weir_proxy_drain(proxy) == WEIR_OK || weir_proxy_drain(proxy) == WEIR_ENDED);
    MUST(weir_call_send(call, some_bytes, 1) != WEIR_OK);
    MUST(weir_call_finish(call, NULL, 0) != WEIR_PANICKED);
    OK(weir_proxy_free(proxy));
    REFUSED("weir_proxy_stop", WEIR_WRONG_HANDLE, "weir_proxy", weir_proxy_stop(proxy));
    /* A call outlives its proxy. */
    MUST(weir_call_read(call, some_room, sizeof some_room, &(size_t){0}, 0) != WEIR_PANICKED);
    OK(weir_call_cancel(call));
    OK(weir_call_free(call));
    REFUSED("weir_call_cancel", WEIR_WRONG_HANDLE, "weir_call", weir_call_cancel(call));
}

static void calls(void) {
    struct weir_call *call = NULL;
    struct weir_request post = WEIR_INIT(struct weir_request);
    uint32_t status = 0;
    size_t headers = 0;
    before();
    MUST(weir_call_trailer(live.call, 0, &outs.weir_header) == WEIR_NONE);
    OK(weir_call_response(live.call, WEIR_FOREVER, &status, &headers));
    MUST(status == 200 && headers > 0);
    before();
    MUST(weir_call_header(live.call, headers, &outs.weir_header) == WEIR_NONE);
    MUST(memcmp(&outs, &outs_before, sizeof outs) == 0);
    post.has_body = 1;
    post.authority = words;
    for (int tries = 0; tries < 1000; tries++) {
        OK(weir_proxy_call(live.proxy, weir_text(""), &post, &call));
        OK(weir_call_cancel(call));
        if (weir_call_response(call, WEIR_FOREVER, NULL, NULL) != WEIR_OK)
            break;
        OK(weir_call_free(call)); /* the answer came first: that is no misuse */
    }
    REFUSED("weir_call_response", WEIR_CANCELLED, "cancelled", weir_call_response(call, WEIR_FOREVER, &outs.uint32_t, &outs.size_t));
    REFUSED("weir_call_read", WEIR_CANCELLED, "cancelled",
            weir_call_read(call, some_room, sizeof some_room, &outs.size_t, WEIR_FOREVER));
    OK(weir_call_free(call));
    REFUSED("weir_call_finish, of a request without a body", WEIR_FINISHED, "body", weir_call_finish(live.call, NULL, 0));
    REFUSED("weir_call_send, of a request without a body", WEIR_FINISHED, "body", weir_call_send(live.call, some_bytes, 1));
}

/* Two threads, one handle: one of them is told to wait, and nothing else happens. */
static atomic_bool stop_asking;

static void *ask(void *engine) {
    struct weir_bytes *stats = NULL;
    while (!stop_asking)
        if (weir_engine_stats(engine, &stats) == WEIR_OK)
            MUST(weir_bytes_free(stats) == WEIR_OK);
    return NULL;
}

static void busy(void) {
    pthread_t other;
    struct weir_engine *engine = new_engine(live.config, 0);
    MUST(pthread_create(&other, NULL, ask, engine) == 0);
    int result = WEIR_OK;
    for (long turn = 0; turn < 50000000 && result == WEIR_OK; turn++) {
        forget_words();
        result = weir_engine_timeout(engine, 0);
    }
    check("a handle that another thread uses", WEIR_BUSY, "one thread at a time", result, true);
    while ((result = weir_engine_free(engine)) == WEIR_BUSY) {
    }
    OK(result);
    stop_asking = true;
    pthread_join(other, NULL);
}

int main(int count, char **arguments) {
    if (count != 2)
        return 2;
    give_life(arguments[1]);
    make_dead(&reused);
    /* The places of these have other things now. */
    struct weir_config *others[16] = {NULL};
    for (size_t n = 0; n < 16; n++)
        OK(weir_config_load(text_of_config, words, 0, &others[n], NULL));
    make_dead(&freed);

    freeing();
    results();
    all_calls();
    other_versions();
    addresses();
    unknown_names();
    numbers();
    configs();
    damaged_log();
    after_a_drain();
    calls();
    after_an_end();
    busy();

    /* All that was refused has changed nothing. */
    struct weir_engine_state state = WEIR_INIT(struct weir_engine_state);
    OK(weir_engine_get_state(live.engine, &state));
    MUST(state.clients == 1 && state.exchanges == 1 && state.drained == 0);
    for (size_t n = 0; n < 16; n++)
        OK(weir_config_free(others[n]));
    end_life();
    printf("%d calls were refused, %d not as they should\n", refusals, failures);
    return failures ? 1 : 0;
}
