/* A module whose filter lets every request wait for 300 ms, and what is no module, for the tests. */
#define _POSIX_C_SOURCE 200809L
#include "weir.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#ifdef OTHER_VERSION
#define VERSION (WEIR_ABI_VERSION + 1)
#else
#define VERSION WEIR_ABI_VERSION
#endif

static const struct weir_filter_host *host;

static void *wait_and_resume(void *data) {
    struct weir_filter_id *id = data;
    nanosleep(&(struct timespec){0, 300000000}, NULL);
    host->resume(id, NULL, 0);
    host->resume(id, NULL, 0); /* once too often */
    free(id);
    return NULL;
}

static uint32_t request_head(const struct weir_filter_host *weir, struct weir_exchange *exchange, void *filter) {
    (void)filter;
    struct weir_filter_id *id = malloc(sizeof *id);
    pthread_t thread;
    weir->id(exchange, id);
    if (pthread_create(&thread, NULL, wait_and_resume, id) == 0) pthread_detach(thread);
    return WEIR_PAUSE;
}

#ifdef OTHER_NAME
#define weir_module_init envoy_dynamic_module_on_program_init
#endif
uint32_t weir_module_init(const struct weir_filter_host *weir, struct weir_module *module) {
    static struct weir_filter filter = {.size = sizeof filter, .request_head = request_head};
    static struct weir_module_filter filters[] = {{{"slow", 4}, &filter}};
    host = weir;
    module->filters = filters, module->filter_count = 1;
    return VERSION;
}
