/*
 * Calls that come or go compressed. One coding is spoken, gzip; which header field says so is the conventions' business.
 *
 * What a request becomes is bounded like a request itself, by server.limits.message. A member says at its end how long it is; one that
 * says too much is refused after a look at its beginning, and unpacking stops where it holds more than it says: so a bomb costs
 * less than an honest message, whether it lies or not. A reply is packed for who asked for it, when that is worth it and, on a loop, short.
 */
#ifndef FRESHET_SERVER_GZIP_H
#define FRESHET_SERVER_GZIP_H

#include <freshet/buffer.h>
#include <freshet/slice.h>

struct server__call;

enum {
    SERVER_GZIP_LEAST_BYTES = 1024, /* shorter replies go as they are */
    SERVER_GZIP_LOOP_BYTES = 256 << 10 /* longer ones too, of calls that run on a loop: it would stand still for milliseconds */
};

struct server__coding {
    bool is_packed; /* the request is */
    bool accepts; /* the client takes a packed reply */
    bool is_reply_packed;
};

enum server__unpacked { SERVER_UNPACKED, SERVER_UNPACKED_LARGE, SERVER_UNPACKED_BAD, SERVER_UNPACKED_NO_MEMORY };

/*
 * Appends what one gzip member, and nothing behind it, holds. LARGE when that is, by its own word, more than `bytes_max`; BAD when it is
 * more than its own word. Any thread.
 */
enum server__unpacked server__gzip_unpack(struct fr_slice packed, uint64_t bytes_max, struct fr_buffer *out);

/* Appends `plain` as a gzip member; false when that would be no shorter, or memory is out. Any thread. */
bool server__gzip_pack(struct fr_slice plain, struct fr_buffer *out);

/* Whether "gzip" is in an Accept-Encoding list, and not with q=0. */
bool server__gzip_is_accepted(struct fr_slice list);

/* Puts what the request holds in place of *body; `plain` owns it. False: the call is refused. */
bool server__gzip_request(struct server__call *call, struct fr_slice *body, struct fr_buffer *plain);

/* Packs the encoded response, if the client takes it and it is worth it. */
void server__gzip_reply(struct server__call *call);

#endif
