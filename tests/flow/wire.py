"""Bytes on a socket, and what comes back: HTTP/1.1 as it is typed, HTTP/2 frame by frame. No client that would be polite."""

import collections
import dataclasses
import socket
import struct

import hpack

PATIENCE_S = 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
ERRORS = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
).split()


@dataclasses.dataclass
class Answer:
    """What came for one request: a reply, or the name of an error, or nothing."""

    status: int = 0
    fields: dict = dataclasses.field(default_factory=dict)
    body: bytes = b""
    reset: str | None = None  # the stream's error
    goaway: str | None = None  # the connection's
    is_over: bool = False  # nothing more comes: of HTTP/1.1, the connection is closed


def connect(address):
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Reader:
    """The bytes of a socket; b"" where it ends."""

    def __init__(self, connection):
        self.connection, self.left = connection, b""

    def more(self):
        try:
            got = self.connection.recv(1 << 16)
        except ConnectionError:
            got = b""
        self.left += got
        return bool(got)

    def exactly(self, length):
        while len(self.left) < length:
            if not self.more():
                return b""
        got, self.left = self.left[:length], self.left[length:]
        return got

    def until(self, end):
        while end not in self.left:
            if not self.more():
                return b""
        got, _, self.left = self.left.partition(end)
        return got

    def is_over(self):
        return not self.left and not self.more()


class Http1:
    """A connection that is not yet known to be anything."""

    def __init__(self, address):
        self.connection = connect(address)
        self.reader = Reader(self.connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, request, ends=False):
        try:
            self.connection.sendall(request)
            if ends:
                self.connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass  # refused before it was whole; the answer says why

    def answer(self, is_head=False):
        head = self.reader.until(b"\r\n\r\n").decode("latin-1")
        if not head:
            return Answer(is_over=True)
        line, *lines = head.split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        answer = Answer(int(line.split(" ")[1]), fields)
        if not is_head:
            answer.body = self.reader.exactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            assert self.reader.is_over(), "more came after Connection: close"
            answer.is_over = True
        return answer


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field for HPACK, without a table, whatever is in it."""
    name, value = (one.encode("latin-1") if isinstance(one, str) else one for one in (name, value))
    assert len(name) < 127
    length = bytes([len(value)]) if len(value) < 127 else b"\x7f" + varint(len(value) - 127)
    return b"\0" + bytes([len(name)]) + name + length + value


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


class Http2:
    """A connection with its preface sent, unless `preface` says other bytes."""

    def __init__(self, address, preface=PREFACE + frame(SETTINGS, 0, 0)):
        self.connection = connect(address)
        self.reader = Reader(self.connection)
        self.decoder = hpack.Decoder()
        self.next_stream = 1
        self.windows = collections.defaultdict(lambda: 65535)  # what may be sent yet, by stream; of the connection under 0
        self.answers = collections.defaultdict(Answer)
        self.send(preface)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, data):
        try:
            self.connection.sendall(data)
        except ConnectionError:
            pass

    def request(self, fields, body=b"", ends=True):
        """Sends a request on a stream of its own; the stream."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if ends and not body else 0), stream, block(fields)))
        at = 0
        while at < len(body) and not self.answers[stream].is_over:
            room = min(16384, self.windows[0], self.windows[stream], len(body) - at)
            if room <= 0:
                self.take_frame()
                continue
            for window in (0, stream):
                self.windows[window] -= room
            self.send(frame(DATA, END_STREAM if ends and at + room == len(body) else 0, stream, body[at : at + room]))
            at += room
        return stream

    def take_frame(self):
        """Reads one frame into the answer that it belongs to; 0 is the connection's. False: there is no more."""
        head = self.reader.exactly(9)
        if not head:
            for answer in (self.answers[0], *self.answers.values()):
                answer.is_over = True
            return False
        kind, flags, stream = struct.unpack(">xxxBBI", head)
        payload = self.reader.exactly(int.from_bytes(head[:3], "big"))
        answer = self.answers[stream]
        if kind == GOAWAY:
            answer.goaway = ERRORS[int.from_bytes(payload[4:8], "big")]
        elif kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == WINDOW_UPDATE:
            self.windows[stream] += int.from_bytes(payload, "big")
        elif kind == HEADERS:
            fields = dict(self.decoder.decode(payload))
            answer.status = int(fields.pop(":status", answer.status))
            answer.fields.update(fields)
        elif kind == DATA:
            answer.body += payload
        elif kind == RST_STREAM:
            answer.reset = ERRORS[int.from_bytes(payload, "big")]
        answer.is_over |= kind == RST_STREAM or (kind in (HEADERS, DATA) and bool(flags & END_STREAM))
        return True

    def answer(self, stream):
        """The whole reply on that stream, or its reset, or the end of the connection."""
        while not self.answers[stream].is_over and self.take_frame():
            pass
        return self.answers[stream]

    def error(self, stream):
        """The error of that stream, if it is not 0, or of the connection, whatever is answered before: (reset, goaway)."""
        while not self.answers[stream].reset and self.take_frame():
            pass
        return self.answers[stream].reset, self.answers[0].goaway
