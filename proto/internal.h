/*
 * What the files of proto share: the wire's smallest pieces, a strict JSON reader, and how JSON values are written.
 */
#ifndef FRESHET_PROTO_INTERNAL_H
#define FRESHET_PROTO_INTERNAL_H

#include <freshet/event.h>
#include <freshet/message.h>

#include <endian.h>
#include <stdint.h>

/* --- The wire --- */

enum { PROTO__VARINT = 0, PROTO__FIXED64 = 1, PROTO__BYTES = 2, PROTO__GROUP = 3, PROTO__GROUP_END = 4, PROTO__FIXED32 = 5 };
enum { PROTO__VARINT_BYTES_MAX = 10, PROTO__GROUP_DEPTH_MAX = 32 };

/* Where a slice begins; never NULL, so that an end can be added to it. */
static inline const uint8_t *proto__begin(struct fr_slice slice)
{
    static const uint8_t nothing[1];

    return slice.bytes ? slice.bytes : nothing;
}

/* A field's key on the wire. */
#define PROTO__TAG(number, type) ((uint32_t)(number) << 3 | (uint32_t)(type))

/* One field as it lies on the wire: varints and fixed ones in `bits`, length-delimited ones in `bytes`. */
struct proto__field {
    uint64_t number; /* never 0; above 2^29 − 1 it is nobody's */
    int type;
    uint64_t bits;
    struct fr_slice bytes;
};

/*
 * The next field in [at, end): where the one after it begins, or NULL when this is no protobuf. A group is skipped as a whole
 * (PROTO__GROUP, no content): balanced, at most PROTO__GROUP_DEPTH_MAX deep.
 */
const uint8_t *proto__wire_next(const uint8_t *at, const uint8_t *end, struct proto__field *field);

/* A key of at most five bytes whose field number is not 0, as number << 3 | type; NULL when there is none. */
const uint8_t *proto__wire_tag(const uint8_t *at, const uint8_t *end, uint64_t *tag);

/* What a length prefix of at most five bytes and the bytes behind it hold; NULL when they are not all there. */
const uint8_t *proto__wire_bytes(const uint8_t *at, const uint8_t *end, struct fr_slice *bytes);

/* What follows a key, whatever it is worth; NULL when it is not all there. */
const uint8_t *proto__wire_skip(const uint8_t *at, const uint8_t *end, uint64_t tag);

/* A varint one byte at a time: near the end, and for the longest. */
const uint8_t *proto__wire_varint_slow(const uint8_t *at, const uint8_t *end, uint64_t *value);

static inline uint64_t proto__load64(const uint8_t *at)
{
    uint64_t bits;

    memcpy(&bits, at, sizeof bits);
    return le64toh(bits);
}

static inline uint32_t proto__load32(const uint8_t *at)
{
    uint32_t bits;

    memcpy(&bits, at, sizeof bits);
    return le32toh(bits);
}

/* A varint of at most ten bytes; bits beyond 64 are lost, as everywhere in protobuf. NULL when it does not end. */
static inline const uint8_t *proto__wire_varint(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    if (end - at < 8)
        return proto__wire_varint_slow(at, end, value);
    if (*at < 0x80) {
        *value = *at;
        return at + 1;
    }
    /* Ids and times take 3 to 8 bytes, which varies from event to event: no branch on the length that could be mispredicted. */
    uint64_t word = proto__load64(at);
    uint64_t stops = ~word & UINT64_C(0x8080808080808080);

    if (stops == 0)
        return proto__wire_varint_slow(at, end, value);
    word &= (stops ^ (stops - 1)) & UINT64_C(0x7f7f7f7f7f7f7f7f);
    word = (word & UINT64_C(0x007f007f007f007f)) | (word & UINT64_C(0x7f007f007f007f00)) >> 1;
    word = (word & UINT64_C(0x00003fff00003fff)) | (word & UINT64_C(0x3fff00003fff0000)) >> 2;
    word = (word & UINT64_C(0x000000000fffffff)) | (word & UINT64_C(0x0fffffff00000000)) >> 4;
    *value = word;
    return at + (__builtin_ctzll(stops) >> 3) + 1;
}

/* How many bytes a varint takes, and a field of one-byte key that holds a string of `length` bytes. */
static inline size_t proto__wire_varint_bytes(uint64_t value)
{
    return (size_t)(63 - __builtin_clzll(value | 1)) / 7 + 1;
}

static inline size_t proto__wire_string_bytes(size_t length)
{
    return 1 + proto__wire_varint_bytes(length) + length;
}

/* One entry of a map<string, string>: what is not there is empty. False when it is no entry or not UTF-8. */
bool proto__attribute_read(struct fr_slice entry, struct fr_slice *key, struct fr_slice *value);

/* --- JSON, read --- */

/*
 * A reader over one JSON text, strict as RFC 8259 has it: one value after the other, nothing built and nothing allocated. json-c
 * would do, were it not that it builds 264 MiB from a hostile 1 MiB (`[{},{},…`), takes NaN, `1.` and bare newlines, cuts keys at
 * \u0000, and tells neither 2^64 from 2^64 − 1 nor one double from another by their text. It is the oracle of the fuzz target.
 *
 * The first fault is kept in `fault`, and from then on every call says that there is nothing more.
 */
enum { PROTO__JSON_DEPTH_MAX = 16 };

enum proto__json_kind {
    PROTO__JSON_NULL,
    PROTO__JSON_FALSE,
    PROTO__JSON_TRUE,
    PROTO__JSON_NUMBER,
    PROTO__JSON_STRING,
    PROTO__JSON_OBJECT, /* opened: its members come next */
    PROTO__JSON_ARRAY, /* opened: its elements come next */
};

struct proto__json_value {
    enum proto__json_kind kind;
    bool has_escapes; /* of a string */
    struct fr_slice text; /* of a number as written, of a string what is between the quotes, escapes and all */
};

struct proto__json {
    const uint8_t *begin;
    const uint8_t *at;
    const uint8_t *end;
    const char *fault; /* what is wrong at `at`; NULL while all is well */
    int depth;
    bool is_first; /* no member or element of the innermost container has been read */
};

/* `text` must stay until the reader is done with. Checks UTF-8. */
struct proto__json proto__json_open(struct fr_slice text);

/* The next value; false on a fault. */
bool proto__json_value(struct proto__json *json, struct proto__json_value *value);

/* The key of the next member; its value comes next. False at the end of the object, or on a fault. */
bool proto__json_member(struct proto__json *json, struct proto__json_value *key);

/* True when another element comes next. False at the end of the array, or on a fault. */
bool proto__json_element(struct proto__json *json);

/* Past what is left of `value`, just read. False on a fault. */
bool proto__json_skip(struct proto__json *json, const struct proto__json_value *value);

/* How many elements the array just opened has; the reader stays where it is, unless there is a fault. */
size_t proto__json_count(struct proto__json *json);

/* True when nothing but white space is left and nothing was wrong. */
bool proto__json_close(struct proto__json *json);

/* Fills `err` with the reader's fault and where it is, prefixed by `what`; returns false. */
bool proto__json_fail(const struct proto__json *json, const char *what, struct fr_err *err);

/* The bytes that a string stands for, into `out` (NULL: only counted); never more than it has written. Returns how many. */
size_t proto__json_unescape(const struct proto__json_value *string, uint8_t *out);

/*
 * The same for what is short when it means anything: names and numbers. Borrows from the text or from `room`; a longer one comes
 * back with its escapes in it, and so is no name and no number.
 */
enum { PROTO__JSON_SHORT_BYTES = 128 };
struct fr_slice proto__json_short(const struct proto__json_value *string, uint8_t room[PROTO__JSON_SHORT_BYTES]);

/* How many bytes of a text a refusal shows: some forty, and whole characters. */
int proto__json_shown(struct fr_slice text);

/* --- Messages --- */

/* What one value of a type takes inside protobuf-c's structs. */
size_t proto__value_bytes(ProtobufCType type);

/* --- JSON, its numbers --- */

/* A whole number, exactly: "12", "-3", "1.0", "1e3"; its sign apart. False when it is none, or beyond 64 bits. */
bool proto__number_integer(struct fr_slice text, bool *is_negative, uint64_t *magnitude);

/* The same within a signed or unsigned type of `bits` bits. */
bool proto__number_int(struct fr_slice text, int bits, int64_t *value);
bool proto__number_uint(struct fr_slice text, int bits, uint64_t *value);

/* As JSON writes a double; beyond its range infinity. Also "NaN", "Infinity", "-Infinity" when `is_string`. */
bool proto__number_double(struct fr_slice text, bool is_string, double *value);

/* --- JSON, written --- */

void proto__print_uint(uint64_t value, struct fr_buffer *out);
void proto__print_uint_quoted(uint64_t value, struct fr_buffer *out);
void proto__print_int(int64_t value, struct fr_buffer *out);
void proto__print_int_quoted(int64_t value, struct fr_buffer *out);

/* The shortest text that reads back to the same bits; "NaN", "Infinity" and "-Infinity" as strings. */
void proto__print_double(double value, struct fr_buffer *out);
void proto__print_float(float value, struct fr_buffer *out);

/* The length and text of a proto name in lowerCamelCase: as_of_ms → asOfMs. */
enum { PROTO__NAME_BYTES = 64 };
size_t proto__camel(const char *name, char out[PROTO__NAME_BYTES]);

/* Whether `text` is the field `name`, in either form. */
bool proto__is_field_name(struct fr_slice text, const char *name);

#endif
