"""Attacks on a node's API port, each by its name: what is sent, over and over until the time is up, and how the node ends it."""

import gzip
import json
import resource
import socket
import time

import malformed_wire
import wire
from wire import (
    CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
)  # fmt: skip

FRAMES = 4_000  # on each connection
PIECE = 16 << 10  # sent at once, as if through a network: a kernel that is not preempted holds up who shares its core for as long as it copies
HEAD = block([(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a")])
CALM = "ENHANCE_YOUR_CALM"


def flood(node, until_s, sent):
    """Connections that send these bytes; the errors that ended them."""
    ended = []
    while time.monotonic() < until_s:
        with wire.Http2(node.api) as connection:
            send(connection, sent)
            ended.append(connection.error(0)[1])
    return ended


def send(connection, data):
    for begin in range(0, len(data), PIECE):
        connection.send(data[begin : begin + PIECE])


def opened(stream):
    return frame(HEADERS, END_HEADERS, stream, HEAD)


def streams(*after):
    """Many streams, each with these frames behind its head: (kind, payload)."""
    ids = range(1, 2 * FRAMES, 2)
    return b"".join(opened(one) + b"".join(frame(kind, 0, one, payload) for kind, payload in after) for one in ids)


FLOODS = {  # what is sent → how the connection ends, and the counter that grows
    "ping": (frame(PING, 0, 0, b"12345678") * FRAMES, CALM, "flood"),
    "settings": (frame(SETTINGS, 0, 0) * FRAMES, CALM, "flood"),
    "empty_data": (opened(1) + frame(DATA, 0, 1) * FRAMES, CALM, "flood"),
    "priority": (frame(PRIORITY, 0, 1, b"\0\0\0\3\1") * FRAMES, CALM, "flood"),
    "window": (frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * FRAMES, CALM, "flood"),
    "rapid_reset": (streams((RST_STREAM, b"\0\0\0\x08")), CALM, "flood"),
    "made_you_reset": (streams((WINDOW_UPDATE, b"\x7f\xff\xff\xff")), CALM, "flood"),
    "continuation": (frame(HEADERS, 0, 1, HEAD) + frame(CONTINUATION, 0, 1, b"\0\1x\1y") * FRAMES, CALM, "http2"),
    "many_settings": (frame(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff" * 33), CALM, "http2"),
    "oversized_frame": (frame(HEADERS, END_HEADERS, 1, bytes(1 << 20)), "FRAME_SIZE_ERROR", "http2"),
    "hpack_bomb": (  # a field of 4,000 bytes goes into the table and is then named 12,000 times: 48 MB in a frame of 16 KB
        frame(HEADERS, END_HEADERS, 1, HEAD + b"\x40\1x\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * 12_000),
        CALM, "headers_large"),
}  # fmt: skip


# ---- Slow ones: many at once, each some bytes a second ----

def slow(node, until_s, count, begin, drip, ended):
    """So many connections that begin like this and then drip, until the node says that it has `ended()` all of them."""
    held = [begin(node) for _ in range(count)]
    try:
        while time.monotonic() < until_s or ended() < len(held):
            for connection in held:
                drip(connection)
            assert time.monotonic() < until_s + 20, f"{ended()} of {len(held)} were ended"
            time.sleep(0.05)
    finally:
        for connection in held:
            connection.close()


def send_byte(connection):
    try:
        connection.send(b"x", socket.MSG_DONTWAIT)
    except OSError:
        pass  # refused by now, or ended


def said(node, data):
    connection = wire.connect(node.api)
    connection.sendall(data)
    return connection


def slow_head(node):
    return said(node, malformed_wire.LINE + b"X: ")


def slow_body(node):
    return said(node, malformed_wire.fields(b"Content-Length: 1000"))


def slow_http2_head(node):
    """The server's settings are read first: what comes behind them is the end."""
    connection = said(node, wire.PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 0, 1, HEAD + bytes(1000))[:-1000])
    connection.settimeout(wire.PATIENCE_S)
    reader = wire.Reader(connection)
    while True:  # its SETTINGS, our ACK, and the window of the connection
        head = reader.exactly(9)
        reader.exactly(int.from_bytes(head[:3], "big"))
        if head[3] == WINDOW_UPDATE:
            return connection


def slow_reader(node):
    """Asks for more than the kernel keeps, 4 MB and more, and has room for little."""
    body = json.dumps({"userId": 1, "itemIds": [1] * 2000, "featureSet": "small"}, separators=(",", ":")).encode()
    request = malformed_wire.fields(b"Content-Length: %d" % len(body)) + body
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = node.api.rpartition(":")
    connection.connect((host, int(port)))
    connection.send(request * 1000, socket.MSG_DONTWAIT)
    return connection


def read_byte(connection):
    try:
        connection.recv(1, socket.MSG_DONTWAIT)
    except OSError:
        pass


SLOW = {  # how many, and for how long; → the counter that grows
    "slow_head": (50, 0.6, slow_head, send_byte, "slow"),
    "slow_body": (50, 0.6, slow_body, send_byte, "slow"),
    "slow_http2_head": (50, 0.6, slow_http2_head, send_byte, "slow"),
    "slow_reader": (5, 1.5, slow_reader, read_byte, "slow_reader"),  # at first it only asks for much; its slowness tells later
}


OVERSIZED = (
    malformed_wire.fields(b"X: " + b"y" * (1 << 20)),
    b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\n\r\n",
    malformed_wire.fields(*[b"X: y"] * 5000),
    malformed_wire.fields(b"Content-Length: 999999999999"),
    malformed_wire.CHUNKED + b"800000\r\n" + b" " * (8 << 20),
)


def oversized(node, until_s):
    """Heads, targets and bodies above every limit, over HTTP/1.1; the statuses that answered."""
    statuses = []
    while time.monotonic() < until_s:
        for one in OVERSIZED:
            with wire.Http1(node.api) as connection:
                send(connection, one)
                statuses.append(connection.answer().status)
    return set(statuses)


GZIP_BOMB = gzip.compress(bytes(64 << 20), 9)  # 64 KB
GZIP_BOMBS = (GZIP_BOMB, GZIP_BOMB[:-4] + (1000).to_bytes(4, "little"))  # one says what it is, one lies about it


def gzip_bombs(node, until_s):
    """Bodies that would be 64 MB; the statuses that answered."""
    statuses = []
    while time.monotonic() < until_s:
        for bomb in GZIP_BOMBS:
            with wire.Http1(node.api) as connection:
                send(connection, malformed_wire.fields(b"Content-Encoding: gzip", b"Content-Length: %d" % len(bomb)) + bomb)
                statuses.append(connection.answer().status)
    return set(statuses)


def raise_file_limit(count):
    """Whether this process may now have so many files open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return True
