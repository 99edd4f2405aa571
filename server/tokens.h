/*
 * The tokens of the grants. Loops compare what a call shows with all of them, in the same time whatever is in it. Those that came from
 * a file are read anew when it changes, by the acceptor, while loops go on comparing: the words of a token are atomic, and a version
 * says whether any of them was changed meanwhile.
 */
#ifndef FRESHET_SERVER_TOKENS_H
#define FRESHET_SERVER_TOKENS_H

#include "look.h"

#include <freshet/server.h>

#include <stdatomic.h>

struct server__token {
    _Atomic uint64_t words[SERVER_TOKEN_BYTES_MAX / sizeof(uint64_t)]; /* padded with zeros, which no token has */
    struct server__look seen, loaded; /* of its file: at the last look, and when it was read last, in vain too */
};

struct server__tokens {
    const struct server_grant *grants; /* borrowed from the options */
    int count;
    bool has_files;
    struct server__token *tokens; /* by grant; all zeros where it has none */
    atomic_uint version; /* odd while one is being changed */
    struct fr_counter *reloads, *reloads_failed;
};

FR_CHECKED bool server__tokens_open(struct server__tokens *tokens, const struct server_options *options, struct fr_err *err);
void server__tokens_close(struct server__tokens *tokens);

/* The grant that has this token; NULL: none. Any thread. */
const struct server_grant *server__tokens_find(const struct server__tokens *tokens, struct fr_slice token);

/*
 * Reads the files anew that have changed and have been the same for two looks. What can't be used is logged and counted, and the
 * old token stays. On the acceptor.
 */
void server__tokens_look(struct server__tokens *tokens);

#endif
