"""Bytes that are no call at all: HTTP/1.1 that can be read in two ways or in none, and HTTP/2 that breaks its own rules.

Expected is what RFC 9112 (read without its leniencies, as server/http1.c says), RFC 9113 and RFC 7541 say, and server/fault.c.
"""

import dataclasses
import struct

from malformed import GET_FEATURES, GRPC, prefixed
from wire import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, frame, literal,
)  # fmt: skip

# ---- HTTP/1.1 ----

# What is wrong → HTTP status, Connect code, words of the message.
FAULTS = {
    "request_line": (400, "invalid_argument", "request line"),
    "method": (501, "unimplemented", "unknown HTTP method"),
    "target": (400, "invalid_argument", "request target"),
    "target_long": (414, "resource_exhausted", "too long"),
    "version": (505, "unimplemented", "HTTP version"),
    "header": (400, "invalid_argument", "header field"),
    "headers_large": (431, "resource_exhausted", "too large or has too many"),
    "host": (400, "invalid_argument", "exactly one valid Host"),
    "length": (400, "invalid_argument", "Content-Length"),
    "transfer": (400, "invalid_argument", "Transfer-Encoding"),
    "transfer_unknown": (501, "unimplemented", "transfer coding"),
    "expect": (417, "invalid_argument", "100-continue"),
    "chunk": (400, "invalid_argument", "malformed chunk"),
    "trailer": (400, "invalid_argument", "malformed trailer"),
}
LINE = b"POST " + GET_FEATURES.encode() + b" HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = LINE + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n"


def line(text):
    return text + b"\r\n" + HOST + b"\r\n"


def fields(*some, host=HOST):
    return LINE + host + JSON + b"".join(one + b"\r\n" for one in some) + b"\r\n"


# (name, bytes, what is wrong; None: the connection ends unanswered, "not_http": and that is counted)
HTTP1 = [
    ("binary", b"\0" * 100, "not_http"),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "not_http"),
    ("an empty line first", b"\r\n" + line(LINE[:-2]), "not_http"),
    ("a space first", b" " + line(LINE[:-2]), "not_http"),
    ("an unknown method", line(b"BREW / HTTP/1.1"), "not_http"),
    ("a method in lower case", line(b"post / HTTP/1.1"), "not_http"),
    ("a preface of HTTP/2 that goes wrong", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "not_http"),
    ("a method that is no token", b"GE\x01T / HTTP/1.1\r\n\r\n", "not_http"),
    ("CONNECT", line(b"CONNECT a:80 HTTP/1.1"), "method"),
    ("HTTP/0.9", b"GET /\r\n", "request_line"),
    ("no target", line(b"GET  HTTP/1.1"), "request_line"),
    ("two spaces", line(b"GET /  HTTP/1.1"), "request_line"),
    ("a space behind", line(b"GET / HTTP/1.1 "), "request_line"),
    ("a target of two words", line(b"GET /a b HTTP/1.1"), "request_line"),
    ("a version in lower case", line(b"GET / http/1.1"), "request_line"),
    ("half a version", line(b"GET / HTTP/1."), "request_line"),
    ("a line feed alone", b"GET / HTTP/1.1\n" + HOST + b"\r\n", "request_line"),
    ("HTTP/2.0", line(b"GET / HTTP/2.0"), "version"),
    ("HTTP/1.2", line(b"GET / HTTP/1.2"), "version"),
    ("HTTP/9.9", line(b"GET / HTTP/9.9"), "version"),
    ("a target without a slash", line(b"GET a HTTP/1.1"), "target"),
    ("a star", line(b"GET * HTTP/1.1"), "target"),
    ("a fragment", line(b"GET /a#b HTTP/1.1"), "target"),
    ("a target that is not ASCII", line("GET /ä HTTP/1.1".encode()), "target"),
    ("a control character in a target", line(b"GET /\x01 HTTP/1.1"), "target"),
    ("a target of another scheme", line(b"GET ftp://a/ HTTP/1.1"), "target"),
    ("a target of another host", line(b"GET http://b/x HTTP/1.1"), "host"),
    ("a target of 9,000 bytes", line(b"GET /" + b"x" * 9000 + b" HTTP/1.1"), "target_long"),
    ("a field of 17,000 bytes", fields(b"X: " + b"y" * 17000), "headers_large"),
    ("101 fields", fields(*[b"X: y"] * 101), "headers_large"),
    ("a space before the colon", fields(b"X : y"), "header"),
    ("a folded line", fields(b"X: y", b" z"), "header"),
    ("a field without a name", fields(b": y"), "header"),
    ("a field without a colon", fields(b"X"), "header"),
    ("a field with a line feed", fields(b"X: a\nY: b"), "header"),
    ("a field with a return", fields(b"X: a\rY: b"), "header"),
    ("a field with a NUL", fields(b"X: a\0b"), "header"),
    ("a name that is no token", fields(b"X(y): z"), "header"),
    ("no Host", fields(host=b""), "host"),
    ("two Hosts", fields(host=HOST * 2), "host"),
    ("a Host of two words", fields(host=b"Host: a b\r\n"), "host"),
    ("a Host with a user", fields(host=b"Host: u@a\r\n"), "host"),
    ("a Host with a path", fields(host=b"Host: a/b\r\n"), "host"),
    ("a Host whose port is a word", fields(host=b"Host: a:b\r\n"), "host"),
    ("a length that is a word", fields(b"Content-Length: two"), "length"),
    ("a length below 0", fields(b"Content-Length: -1"), "length"),
    ("a length with a plus", fields(b"Content-Length: +2"), "length"),
    ("a length in hexadecimal", fields(b"Content-Length: 0x2"), "length"),
    ("an empty length", fields(b"Content-Length:"), "length"),
    ("a list of lengths", fields(b"Content-Length: 2, 2"), "length"),
    ("two lengths", fields(b"Content-Length: 2", b"Content-Length: 3"), "length"),
    ("a length and chunks", fields(b"Content-Length: 2", b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n", "length"),
    ("chunks and a length", fields(b"Transfer-Encoding: chunked", b"Content-Length: 2") + b"2\r\n{}\r\n0\r\n\r\n", "length"),
    ("chunks twice", fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "transfer"),
    ("chunks, not last", fields(b"Transfer-Encoding: chunked, gzip"), "transfer"),
    ("no coding", fields(b"Transfer-Encoding: identity"), "transfer"),
    ("a coding like chunked", fields(b"Transfer-Encoding: xchunked"), "transfer"),
    ("chunks in HTTP/1.0", fields(b"Transfer-Encoding: chunked").replace(b"/1.1", b"/1.0"), "transfer"),
    ("gzip below chunks", fields(b"Transfer-Encoding: gzip, chunked"), "transfer_unknown"),
    ("an unknown expectation", fields(b"Expect: 200-ok", b"Content-Length: 2"), "expect"),
    ("no chunk size", CHUNKED + b"\r\n", "chunk"),
    ("a chunk size that is a word", CHUNKED + b"two\r\n", "chunk"),
    ("a chunk size below 0", CHUNKED + b"-2\r\n", "chunk"),
    ("a chunk size with 0x", CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", "chunk"),
    ("a chunk size of 17 digits", CHUNKED + b"00000000000000002\r\n{}\r\n0\r\n\r\n", "chunk"),
    ("a chunk size and a line feed alone", CHUNKED + b"2\n{}\r\n0\r\n\r\n", "chunk"),
    ("a chunk longer than its size", CHUNKED + b"2\r\n{}x\r\n0\r\n\r\n", "chunk"),
    ("a chunk without its end", CHUNKED + b"2\r\n{}0\r\n\r\n", "chunk"),
    ("an extension without end", CHUNKED + b"2;" + b"x" * 2000, "chunk"),
    ("a trailer without a colon", CHUNKED + b"2\r\n{}\r\n0\r\nT\r\n\r\n", "trailer"),
    ("a folded trailer", CHUNKED + b"2\r\n{}\r\n0\r\nT: v\r\n w\r\n\r\n", "trailer"),
    ("trailers of 17,000 bytes", CHUNKED + b"2\r\n{}\r\n0\r\nT: " + b"v" * 17000 + b"\r\n\r\n", "headers_large"),
    ("half a method", b"PO", None),
    ("half a request line", LINE[:20], None),
    ("half a head", LINE + HOST, None),
    ("half a body", fields(b"Content-Length: 12") + b'{"userId"', None),
    ("half a chunk", CHUNKED + b"c\r\n" + b'{"userId"', None),
    ("no last chunk", CHUNKED + b"2\r\n{}\r\n", None),
]  # fmt: skip

# ---- HTTP/2 ----

HEAD = [(":method", "POST"), (":scheme", "http"), (":path", GET_FEATURES), (":authority", "a")]
JSON_HEAD = [*HEAD, ("content-type", "application/json")]
GRPC_HEAD = [*HEAD, ("content-type", GRPC), ("te", "trailers")]


@dataclasses.dataclass
class Frames:
    """Bytes behind the preface, and the error that answers them on stream 1, or with stream 0 on the connection.

    An error of a stream may be made one of its connection (RFC 9113 5.4), so `stream` says what is the least.
    """

    name: str
    sent: bytes
    errors: tuple
    stream: int = 0
    preface: bytes = PREFACE + frame(SETTINGS, 0, 0)


def without(head, name):
    return [one for one in head if one[0] != name]


def head_of(fields, flags=END_HEADERS | END_STREAM, stream=1):
    return frame(HEADERS, flags, stream, block(fields))


def connection(name, sent, *errors, **more):
    return Frames(name, sent, errors or ("PROTOCOL_ERROR",), **more)


def stream(name, sent, *errors):
    return Frames(name, sent, errors or ("PROTOCOL_ERROR",), 1)


def setting(key, value):
    return frame(SETTINGS, 0, 0, struct.pack(">HI", key, value))


def field(name, *some):
    return stream(name, head_of([*JSON_HEAD, *some], END_HEADERS) + frame(DATA, END_STREAM, 1, b"{}"))


def whole(head):
    """A request that is only this header block, as it is."""
    return frame(HEADERS, END_HEADERS | END_STREAM, 1, head)


def ask_grpc(*some, te="trailers"):
    head = [*HEAD, ("content-type", GRPC), *([("te", te)] if te else []), *some]
    return head_of(head, END_HEADERS) + frame(DATA, END_STREAM, 1, prefixed(b""))


def window(at, by):
    return frame(WINDOW_UPDATE, 0, at, struct.pack(">I", by))


OPEN = head_of(JSON_HEAD, END_HEADERS)  # the request has no end yet
END = frame(DATA, END_STREAM, 1, b"{}")
DONE = OPEN + END
COMPLETE = block(JSON_HEAD)

CONNECTIONS = [
    connection("no SETTINGS first", frame(PING, 0, 0, b"12345678"), preface=PREFACE),
    connection("SETTINGS on a stream", frame(SETTINGS, 0, 1)),
    connection("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, b"12345"), "FRAME_SIZE_ERROR"),
    connection("an ACK with settings", frame(SETTINGS, ACK, 0, b"\0\4\0\0\0\0"), "FRAME_SIZE_ERROR"),
    connection("ENABLE_PUSH 2", setting(2, 2)),
    connection("INITIAL_WINDOW_SIZE 2^31", setting(4, 1 << 31), "FLOW_CONTROL_ERROR"),
    connection("MAX_FRAME_SIZE 16383", setting(5, 16383)),
    connection("MAX_FRAME_SIZE 2^24", setting(5, 1 << 24)),
    connection("33 settings", frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0" * 33), "ENHANCE_YOUR_CALM"),
    connection("DATA on stream 0", frame(DATA, 0, 0, b"{}")),
    connection("HEADERS on stream 0", head_of(JSON_HEAD, stream=0)),
    connection("PRIORITY on stream 0", frame(PRIORITY, 0, 0, b"\0\0\0\1\0")),
    connection("RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, b"\0\0\0\x08")),
    connection("CONTINUATION on stream 0", frame(CONTINUATION, END_HEADERS, 0, COMPLETE)),
    connection("PING on a stream", frame(PING, 0, 1, b"12345678")),
    connection("GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8))),
    connection("PING of 7 bytes", frame(PING, 0, 0, b"1234567"), "FRAME_SIZE_ERROR"),
    connection("GOAWAY of 4 bytes", frame(GOAWAY, 0, 0, bytes(4)), "FRAME_SIZE_ERROR"),
    connection("RST_STREAM of 3 bytes", OPEN + frame(RST_STREAM, 0, 1, bytes(3)), "FRAME_SIZE_ERROR"),
    connection("WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, bytes(3)), "FRAME_SIZE_ERROR"),
    connection("a head of 16,385 bytes", frame(HEADERS, END_HEADERS, 1, bytes(16385)), "FRAME_SIZE_ERROR"),
    connection("SETTINGS of 16,386 bytes", frame(SETTINGS, 0, 0, bytes(16386)), "FRAME_SIZE_ERROR"),
    connection("a window of the connection by 0", window(0, 0)),
    connection("a window of the connection above 2^31 - 1", window(0, 0x7FFFFFFF) * 2, "FLOW_CONTROL_ERROR"),
    connection("a window of a stream that is idle", window(1, 1)),
    connection("DATA on a stream that is idle", frame(DATA, END_STREAM, 1, b"{}")),
    connection("RST_STREAM of a stream that is idle", frame(RST_STREAM, 0, 1, b"\0\0\0\x08")),
    connection("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, COMPLETE)),
    connection("CONTINUATION behind a whole head", OPEN + frame(CONTINUATION, END_HEADERS, 1, literal("x", "y"))),
    connection("DATA inside a head", head_of(JSON_HEAD, 0) + END),
    connection("PING inside a head", head_of(JSON_HEAD, 0) + frame(PING, 0, 0, b"12345678")),
    connection("an unknown frame inside a head", head_of(JSON_HEAD, 0) + frame(0x42, 0, 0, b"?")),
    connection("CONTINUATION on another stream", head_of(JSON_HEAD, 0) + frame(CONTINUATION, END_HEADERS, 3, COMPLETE)),
    connection("PUSH_PROMISE by a client", OPEN + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + COMPLETE)),
    connection("a stream that is even", head_of(JSON_HEAD, stream=2)),
    connection("padding longer than DATA", OPEN + frame(DATA, PADDED | END_STREAM, 1, b"\x05{}")),
    connection("padding longer than HEADERS", frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 1, b"\xff" + COMPLETE)),
    connection("an index that no table has", whole(b"\xff\xff\x01"), "COMPRESSION_ERROR"),
    connection("index 0", whole(b"\x80"), "COMPRESSION_ERROR"),
    connection("an integer without end", whole(b"\xff" + b"\x80" * 20), "COMPRESSION_ERROR"),
    connection("half a field", whole(COMPLETE + b"\0\x05ab"), "COMPRESSION_ERROR"),
    connection("a table above what was said", whole(b"\x3f\xe2\x1f" + COMPLETE), "COMPRESSION_ERROR"),
    connection("a table that changes behind a field", whole(COMPLETE + b"\x20"), "COMPRESSION_ERROR"),
    connection("Huffman's end of a string", whole(COMPLETE + b"\0\x01x\x84\xff\xff\xff\xff"), "COMPRESSION_ERROR"),
    connection("Huffman padded with 0", whole(COMPLETE + b"\0\x01x\x81\x00"), "COMPRESSION_ERROR"),
]  # fmt: skip

STREAMS = [
    stream("PRIORITY of 4 bytes", OPEN + frame(PRIORITY, 0, 1, bytes(4)), "FRAME_SIZE_ERROR"),
    stream("DATA of 16,385 bytes", OPEN + frame(DATA, 0, 1, bytes(16385)), "FRAME_SIZE_ERROR"),
    stream("HEADERS on a stream that has ended", DONE + head_of(JSON_HEAD), "STREAM_CLOSED"),
    stream("DATA on a stream that has ended", DONE + frame(DATA, END_STREAM, 1, b"{}"), "STREAM_CLOSED"),
    stream("a window by 0", OPEN + window(1, 0)),
    stream("a window above 2^31 - 1", OPEN + window(1, 0x7FFFFFFF) * 2, "FLOW_CONTROL_ERROR"),
    stream("no :method", head_of(without(JSON_HEAD, ":method"))),
    stream("no :scheme", head_of(without(JSON_HEAD, ":scheme"))),
    stream("no :path", head_of(without(JSON_HEAD, ":path"))),
    stream("neither :authority nor host", head_of(without(JSON_HEAD, ":authority"))),
    stream("an empty :path", head_of([*without(HEAD, ":path"), (":path", "")])),
    stream("two :method", head_of([(":method", "POST"), *HEAD])),
    stream("two :path", head_of([(":path", "/"), *HEAD])),
    stream("an unknown pseudo field", head_of([*HEAD, (":what", "x")])),
    stream("a reply's pseudo field", head_of([*HEAD, (":status", "200")])),
    stream("a pseudo field behind another", head_of([*HEAD[:3], ("x", "y"), HEAD[3]])),
    stream("CONNECT with a path", head_of([*without(HEAD, ":method"), (":method", "CONNECT")])),
    stream("a control character in :path", head_of([*without(HEAD, ":path"), (":path", "/\x01")])),
    field("a name in upper case", ("X-Name", "y")),
    field("a name with a space", ("x y", "z")),
    field("a name with a colon", ("x:y", "z")),
    field("a name that is not ASCII", ("\xe4", "z")),
    field("an empty name", ("", "z")),
    field("a value with a line feed", ("x", "a\nb")),
    field("a value with a return", ("x", "a\r\nb: c")),
    field("a value with a NUL", ("x", "a\0b")),
    field("a value with a space before", ("x", " y")),
    field("a value with a tab behind", ("x", "y\t")),
    field("connection", ("connection", "keep-alive")),
    field("keep-alive", ("keep-alive", "timeout=5")),
    field("proxy-connection", ("proxy-connection", "close")),
    field("transfer-encoding", ("transfer-encoding", "chunked")),
    field("upgrade", ("upgrade", "h2c")),
    field("te: gzip", ("te", "gzip")),
    field("a length below the body's", ("content-length", "1")),
    field("a length above the body's", ("content-length", "3")),
    field("a length that is a word", ("content-length", "two")),
    field("a length below 0", ("content-length", "-2")),
    field("two lengths", ("content-length", "2"), ("content-length", "2")),
    stream("a length without a body", head_of([*JSON_HEAD, ("content-length", "2")])),
    stream("a pseudo field in a trailer", OPEN + frame(DATA, 0, 1, b"{}") + head_of([(":path", "/")])),
    stream("a trailer without an end", OPEN + frame(DATA, 0, 1, b"{}") + head_of([("x", "y")], END_HEADERS)),
    stream("a trailer in upper case", OPEN + frame(DATA, 0, 1, b"{}") + head_of([("X", "y")])),
    # gRPC's own, that HTTP/2 refuses
    stream("gRPC: te: gzip", ask_grpc(te="gzip")),
    stream("gRPC: metadata in upper case", ask_grpc(("User-Key", "x"))),
    stream("gRPC: metadata with a line feed", ask_grpc(("key", "a\nb"))),
    stream("gRPC: a length that is not the message's", ask_grpc(("content-length", "4"))),
]  # fmt: skip

# What looks odd and is right: answered like any other.
GOOD = [
    ("gRPC without te", ask_grpc(te=None)),
    ("gRPC with -bin metadata that is no base64", ask_grpc(("key-bin", "!!"))),
    ("host for :authority", head_of([*without(JSON_HEAD, ":authority"), ("host", "a")], END_HEADERS) + END),
    ("an unknown frame", frame(0x42, 0xFF, 1, b"?") + DONE),
    ("an unknown setting", setting(0x4242, 7) + DONE),
    ("a priority", frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"\0\0\0\0\x10" + COMPLETE) + END),
    ("a trailer", OPEN + frame(DATA, 0, 1, b"{}") + head_of([("x", "y")])),
    ("empty DATA", OPEN + frame(DATA, 0, 1) * 3 + END),
    ("a window for a stream that has ended", DONE + window(1, 1)),
]  # fmt: skip

LARGE = [
    ("a field of 17,000 bytes", [("x", "y" * 17000)]),
    ("101 fields", [("x", "y")] * 101),
]
