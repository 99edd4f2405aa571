/* What the client's files share. */
#ifndef FRESHET_CLIENT_INTERNAL_H
#define FRESHET_CLIENT_INTERNAL_H

#include <freshet/client.h>

/* ---- connection.c: one connection to one instance ---- */

struct freshet__connection {
    char *address;
    int fd; /* -1: none */
    char *bytes; /* of the last answer; room for the next */
    size_t room;
    bool is_given, is_listed; /* by who opened the client; by the last answer, or given */
    bool has_failed; /* the last time it was asked no answer came */
};

struct freshet__answer {
    int status;
    const char *body; /* the connection's, until its next call; a 0 is behind it */
    size_t body_bytes;
};

bool freshet__fail(struct freshet_failure *failure, const char *code, const char *address, const char *what); /* false */
int64_t freshet__now_ms(void);
bool freshet__is_address(const char *address);

/*
 * Sends a request and waits for its answer until `until_ms`. On a connection that was kept and turns out to be closed it is sent once
 * more on a new one. False: unavailable or deadline_exceeded, and the connection is closed.
 */
bool freshet__post(struct freshet__connection *connection, const char *method, const char *token, const void *body,
                   size_t body_bytes, int64_t until_ms, struct freshet__answer *answer, struct freshet_failure *failure);
void freshet__connection_close(struct freshet__connection *connection);

/* ---- routes.c: who has what ---- */

struct freshet__routes {
    struct freshet__connection *connections; /* by instance; the place of one that is listed no more is another's in time */
    size_t count;
    int *owners; /* by partition, among the connections; -1: nobody */
    int *copies; /* likewise: who said that he has a copy of another's */
    size_t partitions; /* 0: to be asked, or a node that stands alone */
    bool is_known;
};

/* The instance's place; -1: no memory. It is listed from now on. */
int freshet__routes_add(struct freshet__routes *routes, const char *address, bool is_given);
/* The first that is listed, from this place on and round, and has not failed, if there is one. Those that were given are always listed. */
int freshet__routes_listed(const struct freshet__routes *routes, int from);
/* What the instance at `asked` said: its own partitions are there, whatever it calls itself. False: no memory, or it makes no sense. */
bool freshet__routes_take(struct freshet__routes *routes, int asked, const void *bytes, size_t count);
/* -1: nobody. */
int freshet__routes_owner(const struct freshet__routes *routes, uint64_t user_id);
/* Who has a copy of the user, as far as is known, and is not `but`; -1: nobody. */
int freshet__routes_copy(const struct freshet__routes *routes, uint64_t user_id, int but);
void freshet__routes_close(struct freshet__routes *routes);

#endif
