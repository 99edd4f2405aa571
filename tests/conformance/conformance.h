/* What the files of the conformance server share. */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "internal.h"

enum { INTEROP_METHODS = 5, CONNECT_METHODS = 2 };

void interop_methods(struct server_method methods[INTEROP_METHODS]);
void connect_methods(struct server_method methods[CONNECT_METHODS]);

/* What an Any may hold in their messages. */
const ProtobufCMessageDescriptor *connect_find(const char *full_name);

/* Ends a call with any code that there is; false, as a handler then returns. */
bool refuse(struct server_call *call, int status, const char *message, struct fr_err *err);

#endif
