/*
 * What was served: the rows of one request as the ranker saw them, one record of the served topic. Unlike events these are few
 * and large, so protobuf-c decodes them, within an arena's limit. Thread: any.
 */
#ifndef FRESHET_SERVED_H
#define FRESHET_SERVED_H

#include <freshet/event.h>
#include <freshet/v1/model.pb-c.h>

enum { PROTO_SERVED_BYTES_MAX = 1 << 20, PROTO_SERVED_ITEMS_MAX = 2000 };

/*
 * Decodes and judges one record, as proto_event_read() does: PROTO_EVENT when it is good, with *rows in `scratch`; else why not, for
 * a dead letter. bad_time: served_ms out of range; bad_value: no request_id, user_id or items, lists that do not fit the items, or a
 * number that is not finite. Which columns the values are of is not judged here.
 */
enum proto_verdict proto_served_read(struct fr_slice record, int64_t future_ms, struct fr_arena *scratch,
                                     const Freshet__V1__Served **rows, struct fr_err *why);

#endif
