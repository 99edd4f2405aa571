"""Calls that no node may answer: the messages, the JSON, the heads, each with the code and the words that it is refused with.

What is expected is written down from DESIGN.md 2, the Connect protocol, gRPC over HTTP/2 with gRPC's compression.md, and what
server/ says of itself where those leave a choice; not from what a node answered.
"""

import dataclasses

from freshet.v1 import feature_pb2

GET_FEATURES = "/freshet.v1.FeatureService/GetFeatures"
WATCH = "/freshet.v1.FeatureService/WatchFeatures"
MESSAGE_BYTES = 256 << 10  # server.limits.message of the node under test

# Codes: gRPC's number and the HTTP status that Connect gives them.
CODES = {
    "ok": (0, 200),
    "unknown": (2, 500),
    "invalid_argument": (3, 400),
    "deadline_exceeded": (4, 504),
    "resource_exhausted": (8, 429),
    "unimplemented": (12, 501),
    "internal": (13, 500),
}


@dataclasses.dataclass
class Call:
    """One request and what is said to it. `status`: of HTTP, where it is not the code's own."""

    name: str
    code: str
    words: tuple
    content_type: str | None = "application/json"
    body: bytes = b"{}"
    verb: str = "POST"
    path: str = GET_FEATURES
    fields: tuple = ()
    status: int = 0
    reply: tuple = ()  # fields that the reply has
    method: str = GET_FEATURES[1:]  # as metrics name it
    closes: bool = False  # HTTP/1.1: the rest can't be read past

    def http_status(self):
        return self.status or CODES[self.code][1]

    def head(self):
        """The fields of the request but what the protocol adds."""
        return ((("content-type", self.content_type),) if self.content_type is not None else ()) + self.fields


def features(**fields):
    return feature_pb2.GetFeaturesRequest(**fields).SerializeToString()


INVALID = "invalid_argument"
WIRE = "GetFeaturesRequest: not the wire form"

# (name, bytes of a GetFeaturesRequest, code, words)
MESSAGES = [
    ("no field at all", b"\xff\xff\xff", INVALID, (WIRE, "byte 0")),
    ("a tag without its value", b"\x08", INVALID, (WIRE, "byte 0")),
    ("a varint of 11 bytes", b"\x08" + b"\xff" * 10 + b"\x01", INVALID, (WIRE,)),
    ("a tag of 6 bytes", b"\xff\xff\xff\xff\xff\x01\x00", INVALID, (WIRE,)),
    ("field number 0", b"\x00\x00", INVALID, (WIRE,)),
    ("a group", b"\x0b\x0c", INVALID, (WIRE,)),
    ("wire type 6", b"\x0e\x00", INVALID, (WIRE,)),
    ("wire type 7", b"\x0f\x00", INVALID, (WIRE,)),
    ("half a fixed32", b"\x7d\x00\x00", INVALID, (WIRE,)),
    ("half a fixed64", b"\x08\x01\x79\x00\x00", INVALID, (WIRE, "byte 2")),
    ("a string that ends too late", b"\x22\x05ab", INVALID, (WIRE,)),
    ("a length of 2^63", b"\x22" + b"\x80" * 9 + b"\x01", INVALID, (WIRE,)),
    ("user_id as a fixed32", b"\x0d\0\0\0\0", INVALID, ("another wire type", "byte 0")),
    ("feature_set as a varint", b"\x20\x01", INVALID, ("another wire type",)),
    ("a string that is not UTF-8", b"\x22\x02\xff\xfe", INVALID, ("not UTF-8",)),
    ("UTF-8 that is overlong", b"\x22\x02\xc0\x80", INVALID, ("not UTF-8",)),
    ("UTF-8 with a surrogate", b"\x22\x03\xed\xa0\x80", INVALID, ("not UTF-8",)),
    ("UTF-8 cut at its end", b"\x2a\x02\xe2\x82", INVALID, ("not UTF-8",)),
    ("a string with a NUL", b"\x2a\x03a\0b", INVALID, ("NUL",)),
    ("a packed list cut in a value", b"\x12\x01\x80", INVALID, ("packed",)),
    ("a message in a message that ends too late", b"\x4a\x02\x0a\x05", INVALID, (WIRE,)),
    ("65,537 fields", b"\x08\x01" * 65537, INVALID, ("65536 fields",)),
    ("an unknown feature", features(features=["item_watch"]), INVALID, ("features", "did you mean 'item_watches'")),
    ("an unknown window", features(features=["item_watches.2h"]), INVALID, ("features", "item_watches.2h")),
    ("an unknown feature, empty", features(features=[""]), INVALID, ("features",)),
    ("an unknown feature, % and ä", features(features=["ä 100 %"]), INVALID, ("features", "ä 100 %")),
    ("an unknown attribute", features(features=["item.creator"]), INVALID, ("features", "creator_id")),
    ("an unknown feature set", features(feature_set="smal"), INVALID, ("feature_set", "did you mean 'small'")),
    ("2,001 items", features(item_ids=[1] * 2001), INVALID, ("item_ids", "2000")),
    ("1,025 features", features(features=["item_watches"] * 1025), INVALID, ("features", "1024")),
    ("a time below 0", features(as_of_ms=-1), INVALID, ("as_of_ms", "-1")),
    ("a time after 2100", features(as_of_ms=4_102_444_800_000), INVALID, ("as_of_ms",)),
    ("an unknown topic", features(after=[{"topic": "no", "offset": 1}]), INVALID, ("after[0]", "'no'")),
    ("an unknown partition", features(after=[{"topic": "freshet.events", "partition": 99}]), INVALID, ("after[0]", "99")),
    ("a log without a user", features(user_id=0, log=True), INVALID, ("log", "user_id")),
    ("log_items without log", features(log_items=[1]), INVALID, ("log_items", "set log")),
    ("log_items that are not asked for", features(user_id=1, item_ids=[1], log=True, log_items=[1, 7]), INVALID, ("log_items[1]", "7")),
    ("a topic that is nearly right", features(after=[{"topic": "freshet.event"}]), INVALID,
     ("after[0].topic", "did you mean 'freshet.events'")),
    ("a partition below 0", features(after=[{"topic": "freshet.events", "partition": -1}]), INVALID, ("after[0].partition", "-1")),
    ("an offset below 0", features(after=[{"topic": "freshet.events", "offset": -1001}]), INVALID, ("after[0].offset", "-1001")),
    ("1,025 offsets", features(after=[{"topic": "freshet.events"}] * 1025), INVALID, ("after", "1024")),
    ("a second offset that is wrong", features(after=[{"topic": "freshet.events"}, {"topic": "no"}]), INVALID, ("after[1]", "'no'")),
    ("a body above the limit", b"\x22\xff\xff\x1f" + b"x" * 0x7FFFF, "resource_exhausted", ("server.limits.message",)),
]  # fmt: skip

# (name, bytes of a body, words); all of them invalid_argument
JSON = [
    ("nothing", b"", ("not JSON", "ends too early")),
    ("spaces", b" \r\n", ("not JSON",)),
    ("no end", b'{"userId": 1', ("not JSON", "ends too early")),
    ("no closing quote", b'{"userId": "1}', ("not JSON",)),
    ("no colon", b'{"userId" 1}', ("not JSON",)),
    ("no value", b'{"userId": }', ("not JSON",)),
    ("no quotes", b"{userId: 1}", ("not JSON",)),
    ("single quotes", b"{'userId': 1}", ("not JSON",)),
    ("a comma too many", b'{"userId": 1,}', ("not JSON",)),
    ("a comma too few", b'{"userId": 1 "log": false}', ("not JSON",)),
    ("a comment", b'{"userId": 1 /* one */}', ("not JSON",)),
    ("two objects", b"{}{}", ("not JSON", "behind the end")),
    ("a list of both kinds of brackets", b'{"itemIds": [1}', ("not JSON",)),
    ("a byte order mark", b"\xef\xbb\xbf{}", ("not JSON",)),
    ("a NUL", b'{"userId": 1}\0', ("not JSON",)),
    ("a control character in a string", b'{"featureSet": "a\nb"}', ("not JSON", "control character")),
    ("an unknown escape", b'{"featureSet": "\\x41"}', ("not JSON", "escape")),
    ("half a surrogate pair", b'{"featureSet": "\\ud800"}', ("not JSON", "surrogate")),
    ("no UTF-8", b'{"featureSet": "\xff"}', ("not JSON", "UTF-8")),
    ("overlong UTF-8", b'{"featureSet": "\xc0\x80"}', ("not JSON", "UTF-8")),
    ("UTF-16", '{"userId": 1}'.encode("utf-16-le"), ("not JSON",)),
    ("5,000 lists in each other", b"[" * 5000 + b"]" * 5000, ("the message", "not an object")),
    ("5,000 objects in each other", b'{"userId":' * 5000 + b"1" + b"}" * 5000, ("user_id",)),
    ("True", b'{"log": True}', ("not JSON",)),
    ("NaN", b'{"asOfMs": NaN}', ("not JSON",)),
    ("a leading zero", b'{"userId": 01}', ("not JSON",)),
    ("a plus", b'{"userId": +1}', ("not JSON",)),
    ("a point at the end", b'{"userId": 1.}', ("not JSON",)),
    ("a hexadecimal number", b'{"userId": 0x1}', ("not JSON",)),
    ("a list", b"[]", ("the message",)),
    ("a string", b'"{}"', ("the message",)),
    ("a number", b"1", ("the message",)),
    ("null", b"null", ("the message",)),
    ("an unknown field", b'{"userIds": 1}', ("userIds", "did you mean 'userId'")),
    ("an id below 0", b'{"userId": -1}', ("user_id", "-1")),
    ("an id with a fraction", b'{"userId": 1.5}', ("user_id", "1.5")),
    ("an id of 2^64", b'{"userId": 18446744073709551616}', ("user_id", "18446744073709551616")),
    ("an id that is true", b'{"userId": true}', ("user_id", "true")),
    ("an id that is a list", b'{"userId": [1]}', ("user_id",)),
    ("a list that is a number", b'{"itemIds": 5}', ("item_ids", "not a list")),
    ("an item that is an object", b'{"itemIds": [1, {}]}', ("item_ids[1]",)),
    ("an item that is null", b'{"itemIds": [1, null]}', ("item_ids[1]",)),
    ("2,001 items", b'{"itemIds": [%s]}' % b",".join([b"1"] * 2001), ("item_ids", "2000")),
    ("a time that is a word", b'{"asOfMs": "soon"}', ("as_of_ms", "soon")),
    ("a time of 2^63", b'{"asOfMs": 9223372036854775808}', ("as_of_ms", "9223372036854775808")),
    ("a time that is 1e400", b'{"asOfMs": 1e400}', ("as_of_ms", "1e400")),
    ("a boolean that is a word", b'{"log": "yes"}', ("log", "yes")),
    ("a boolean that is 1", b'{"log": 1}', ("log", "1")),
    ("a string that is a number", b'{"featureSet": 1}', ("feature_set", "1")),
    ("a string with a NUL", b'{"featureSet": "\\u0000"}', ("feature_set", "NUL")),
    ("a feature that is an object", b'{"features": [{}]}', ("features[0]",)),
    ("a message that is a string", b'{"after": ["x"]}', ("after[0]", "not an object")),
    ("a partition of 2^31", b'{"after": [{"partition": 2147483648}]}', ("after[0].partition", "2147483648")),
    ("a partition with a fraction", b'{"after": [{"partition": 0.5}]}', ("after[0].partition", "0.5")),
    ("an unknown field inside", b'{"after": [{"topics": "x"}]}', ("after[0].topics", "did you mean 'topic'")),
    ("an unknown feature", b'{"features": ["item_watch"]}', ("features", "did you mean 'item_watches'")),
    ("an unknown set", b'{"featureSet": "smal"}', ("feature_set", "did you mean 'small'")),
]  # fmt: skip


def watch(*keys, **fields):
    entities = [feature_pb2.EntityKey(entity=kind, key=key) for kind, *key in keys]
    return feature_pb2.WatchFeaturesRequest(entities=entities, **fields).SerializeToString()


# (name, bytes of a WatchFeaturesRequest, code, words)
WATCHES = [
    ("no wire form", b"\xff\xff\xff", INVALID, ("WatchFeaturesRequest: not the wire form",)),
    ("nothing", watch(), INVALID, ("entities", "none given")),
    ("an interval of 1 ms", watch(("item", 1), interval_ms=1), INVALID, ("interval_ms", "100")),
    ("an interval of 99 ms", watch(("item", 1), interval_ms=99), INVALID, ("interval_ms", "99")),
    ("an unknown kind", watch(("item", 1), ("itme", 1)), INVALID, ("entities[1].entity", "did you mean 'item'")),
    ("a kind without a name", watch(("", 1)), INVALID, ("entities[0].entity",)),
    ("a key of no ids", watch(("item",)), INVALID, ("entities[0].key", "0 ids", "item_id")),
    ("a key of two ids", watch(("item", 1), ("item", 1, 2)), INVALID, ("entities[1].key", "2 ids", "item_id")),
    ("a key of 3,000 ids", watch(("item", *range(3000))), INVALID, ("entities[0].key", "3000 ids")),
    ("an unknown feature", watch(("item", 1), features=["item_watch"]), INVALID, ("features[0]", "did you mean 'item_watches'")),
    ("an unknown window", watch(("item", 1), features=["item_watches", "item_watches.2h"]), INVALID, ("features[1]", "item_watches.2h")),
    ("a feature without a name", watch(("item", 1), features=[""]), INVALID, ("features[0]",)),
    ("a sequence", watch(("user", 1), features=["user_recent"]), INVALID, ("features[0]", "no columns", "GetFeatures")),
    ("a sequence beside a column", watch(("item", 1), features=["item_watches", "user_recent"]), INVALID, ("features[1]", "GetFeatures")),
    ("a feature of another kind", watch(("user", 1), features=["item_watches"]), INVALID, ("entities[0]", "'user'")),
    ("a kind without columns", watch(("user", 1)), INVALID, ("entities[0]", "no column")),
    ("an attribute", watch(("item", 1), features=["item.creator_id"]), INVALID, ("features[0]",)),
    ("1,025 features", watch(("item", 1), features=["item_watches"] * 1025), INVALID, ("features", "1024")),
    ("1,001 entities", watch(*[("item", 1)] * 1001), "resource_exhausted", ("entities", "1000")),
]  # fmt: skip


def refused_type(name, content_type):
    return Call(
        f"content type {name}", "unknown", ("content type", "application/json"), content_type, status=415,
        reply=(("accept-post", "application/json, application/proto"),),
    )  # fmt: skip


def refused_verb(verb):
    return Call(f"{verb} of a method", "unknown", ("POST",), verb=verb, body=b"", status=405, reply=(("allow", "POST"),))


def refused_path(name, path):
    return Call(
        f"path {name}", "unimplemented", ("no method", path[:100].partition("?")[0]), path=path, status=404, method="unknown"
    )


def refused_field(name, field, value, words=None, code=INVALID, **more):
    return Call(f"{field}: {name}", code, words or (field,), fields=((field, value),), **more)


# What Connect says of a request's head, over HTTP/1.1 and HTTP/2 alike.
HEADS = [
    refused_type("missing", None),
    refused_type("empty", ""),
    refused_type("text/plain", "text/plain"),
    refused_type("a form", "application/x-www-form-urlencoded"),
    refused_type("application/protobuf", "application/protobuf"),
    refused_type("JSON in another charset", "application/json; charset=latin-1"),
    refused_type("JSON with something behind it", "application/json, text/plain"),
    refused_type("proto with a parameter", "application/proto; charset=utf-8"),
    refused_type("Connect's streams", "application/connect+json"),
    refused_type("gRPC-Web", "application/grpc-web+proto"),
    *map(refused_verb, ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")),
    refused_path("root", "/"),
    refused_path("of no service", "/GetFeatures"),
    refused_path("of an unknown service", "/freshet.v2.FeatureService/GetFeatures"),
    refused_path("of an unknown method", "/freshet.v1.FeatureService/Nothing"),
    refused_path("of half a method", GET_FEATURES[:-1]),
    refused_path("of a method and more", GET_FEATURES + "s"),
    refused_path("in lower case", GET_FEATURES.lower()),
    refused_path("with a slash behind", GET_FEATURES + "/"),
    refused_path("with two slashes before", "/" + GET_FEATURES),
    refused_path("with dots", "/x/.." + GET_FEATURES),
    refused_path("with an escape", GET_FEATURES.replace("G", "%47")),
    refused_path("of 2,000 letters", "/" + "x" * 2000),
    Call("a stream", "unimplemented", ("stream", "gRPC"), path="/grpc.health.v1.Health/Watch",
         method="grpc.health.v1.Health/Watch", status=415),
    *(
        refused_field(value, "content-encoding", value, ("content encoding", "gzip"), "unimplemented",
                      reply=(("accept-encoding", "gzip, identity"),))
        for value in ("br", "zstd", "deflate", "gzip, identity")
    ),
    *(
        refused_field(name, "connect-timeout-ms", value)
        for name, value in (
            ("empty", ""), ("a word", "soon"), ("below 0", "-1"), ("with a plus", "+1"), ("with a fraction", "1.5"),
            ("with a unit", "100m"), ("of 11 digits", "12345678901"), ("twice in one", "1, 2"),
        )
    ),
    refused_field("0", "connect-timeout-ms", "0", ("deadline",), "deadline_exceeded"),
    *(refused_field(value or "empty", "connect-protocol-version", value) for value in ("", "2", "1.0", "v1")),
    Call("two content types", INVALID, ("once",), fields=(("content-type", "application/json"),)),
    Call("two timeouts", INVALID, ("once",), fields=(("connect-timeout-ms", "1000"), ("connect-timeout-ms", "1000"))),
]  # fmt: skip


def by_connect():
    """Every call that Connect refuses; both codecs."""
    for name, body, code, words in MESSAGES:
        yield Call(f"proto: {name}", code, words, "application/proto", body, closes=len(body) > MESSAGE_BYTES)
    for name, body, words in JSON:
        yield Call(f"json: {name}", INVALID, words, body=body)
    yield from HEADS


GRPC = "application/grpc"


def prefixed(message, flag=0, length=None):
    return bytes([flag]) + (len(message) if length is None else length).to_bytes(4, "big") + message


def grpc(name, code, words, body=prefixed(b""), content_type=GRPC, **more):
    return Call(name, code, words, content_type, body, **more)


def timeout(name, value, code=INVALID, words=("grpc-timeout",)):
    return grpc(f"grpc-timeout {name}", code, words, fields=(("grpc-timeout", value),))


TRUNCATED = ("ends in the middle of a message",)
UNCODED = ("compressed", "grpc-encoding")
GZIP = (("grpc-encoding", "gzip"),)


def by_grpc():
    """Every call that gRPC refuses."""
    for name, body, code, words in MESSAGES:
        yield grpc(f"message: {name}", code, words, prefixed(body))
    for name, body, code, words in WATCHES:
        yield grpc(f"watch: {name}", code, words, prefixed(body), path=WATCH, method=WATCH[1:])
    yield from (
        grpc("no message", "unimplemented", ("exactly one message",), b""),
        grpc("two messages", "unimplemented", ("exactly one message",), prefixed(b"") * 2),
        grpc("a message and a byte", "unimplemented", ("exactly one message",), prefixed(b"") + b"\0"),
        grpc("half a prefix", "internal", TRUNCATED, b"\0\0\0"),
        grpc("a prefix without its message", "internal", TRUNCATED, prefixed(b"", length=2)),
        grpc("half a message", "internal", TRUNCATED, prefixed(b"\x08", length=2)),
        grpc("a length of 2^32 - 1", "resource_exhausted", ("server.limits.message",), prefixed(b"", length=0xFFFFFFFF)),
        grpc("a length above the limit by 1", "resource_exhausted", ("server.limits.message",),
             prefixed(b"", length=MESSAGE_BYTES + 1)),
        grpc("a flag of 2", "internal", ("prefix",), prefixed(b"", flag=2)),
        grpc("a flag of 255", "internal", ("prefix",), prefixed(b"", flag=255)),
        grpc("a JSON body", "internal", ("prefix",), b'{"userId": 1}'),
        grpc("a body without a prefix", "internal", ("prefix",), features(user_id=1)),
        grpc("compressed by what is not known", "unimplemented", ("compressed", "identity"), prefixed(b"abcd", flag=1),
             fields=(("grpc-encoding", "snappy"),), reply=(("grpc-accept-encoding", "identity,gzip"),)),
        grpc("compressed, and no gzip", INVALID, ("gzip",), prefixed(b"abcd", flag=1), fields=GZIP),
        grpc("compressed by nobody knows what", "internal", UNCODED, prefixed(b"abcd", flag=1)),
        grpc("compressed by identity", "internal", UNCODED, prefixed(b"abcd", flag=1), fields=(("grpc-encoding", "identity"),)),
        grpc("compressed by nothing", "internal", UNCODED, prefixed(b"abcd", flag=1), fields=(("grpc-encoding", ""),)),
        grpc("gRPC with what is no JSON", INVALID, ("not JSON",), prefixed(b"{]"), "application/grpc+json"),
        grpc("gRPC with Thrift", "unknown", ("content type",), content_type="application/grpc+thrift", status=415),
        grpc("GET with gRPC's content type", "unknown", ("POST",), b"", verb="GET", status=405, reply=(("allow", "POST"),)),
        grpc("two timeouts", INVALID, ("once",), fields=(("grpc-timeout", "1S"), ("grpc-timeout", "1S"))),
        grpc("an unknown method", "unimplemented", ("no method",), path="/freshet.v1.FeatureService/Nothing", method="unknown"),
        grpc("an unknown service", "unimplemented", ("no method",), path="/no.Such/GetFeatures", method="unknown"),
        grpc("an empty service", "unimplemented", ("no method",), path="//GetFeatures", method="unknown"),
        grpc("a path without a method", "unimplemented", ("no method",), path="/freshet.v1.FeatureService/", method="unknown"),
        timeout("empty", ""),
        timeout("without a unit", "100"),
        timeout("without digits", "S"),
        timeout("of 9 digits", "123456789S"),
        timeout("below 0", "-1S"),
        timeout("with a plus", "+1S"),
        timeout("with a fraction", "1.5S"),
        timeout("with a space", "1 S"),
        timeout("of an unknown unit", "1x"),
        timeout("in lower case", "1s"),
        timeout("of two units", "1mS"),
        timeout("in hexadecimal", "0x1S"),
        timeout("of 0", "0n", "deadline_exceeded", ("deadline",)),
        timeout("of 0 hours", "00000000H", "deadline_exceeded", ("deadline",)),
    )  # fmt: skip


# Content types that are not gRPC's are answered as HTTP.
NO_GRPC = [
    Call("application/grpc-web", "unknown", ("content type",), "application/grpc-web", prefixed(b""), status=415),
    Call("application/grpcx", "unknown", ("content type",), "application/grpcx", prefixed(b""), status=415),
]
