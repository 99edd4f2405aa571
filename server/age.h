/*
 * How old a connection may get. Clients that keep theirs for ever keep to the nodes they found first, and to the certificate of that
 * day; so after a time each is asked to open another.
 */
#ifndef FRESHET_SERVER_AGE_H
#define FRESHET_SERVER_AGE_H

#include <stdint.h>

struct server__connection;

/* A connection that is old enough is told so, then what has no end of its own is ended, then it is cut. */
enum server__age { SERVER_AGE_YOUNG, SERVER_AGE_OLD, SERVER_AGE_OVERDUE };

void server__age_begin(struct server__connection *connection); /* it has been adopted */
void server__age_come(struct server__connection *connection); /* its next age is due; may close it */

#endif
