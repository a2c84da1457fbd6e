/*
 * What misuse.c and the calls that misuse.rs makes of weir.h share: things that live, things that do not, and a check
 * that a call was refused with its number, with words, and with nothing written.
 */
#ifndef MISUSE_H
#define MISUSE_H

#include "weir.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What calls are made with that are right but for one thing. Its engine's clock shows NOW. */
struct live {
    struct weir_config *config;
    struct weir_diagnostics *diagnostics;
    struct weir_engine *engine;
    struct weir_bytes *bytes;
    struct weir_replay *replay;
    struct weir_proxy *proxy;
    struct weir_call *call;
    struct weir_filters *filters;
    struct weir_filter_id filter_id;
    uint64_t listener, conn, upstream, query, gone;
    struct weir_address address;
};
extern struct live live;

/* Handles that were freed: their place is empty, or has another's. */
struct freed {
    void *config, *diagnostics, *engine, *bytes, *replay, *proxy, *call, *filters;
};
extern struct freed freed, reused;

enum { NOW = 1000000 };

/* No UTF-8: a byte that never is, and a surrogate. */
static const struct weir_str BAD_UTF8[] = {{"a\xff", 2}, {"\xed\xa0\x80", 3}};
/* As long as no memory is, and longer than nothing. */
static const struct weir_str NULL_TEXT = {NULL, 1}, ENDLESS_TEXT = {"a", SIZE_MAX};

/* A pointer that nothing of this type may have. */
#define MISALIGNED(pointer) ((void *) ((char *) (pointer) + 1))

extern int refusals, failures;

/* Makes the words of the last failure known, so that old ones are not taken for new. */
void forget_words(void);
/* Whether the call failed with this number and with words that have `hint` in them. */
void check(const char *what, int wanted, const char *hint, int got, bool untouched);

#endif
