"""S1's rows as a node has them: what its peers are filled with, and what their answers are compared with."""
import pathlib
import random
import socket
import struct
import subprocess
import sys
import time

from beside import Node, read_varint

ITEMS = 100_000
PATH = "/freshet.v1.FeatureService/GetFeatures"
PIPELINED = 64
SINGULAR = (1, 2, 3)  # request_id, stream_time_ms, applied_lag_ms: of one reply alone
USER, ITEM = 1, 2


def ident(kind, number):
    """draw_id() of bench/draw.h."""
    mask, x = (1 << 64) - 1, kind << 40 | (number + 1)
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
    return (x ^ x >> 31) >> 1 | 1


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def request(user, items):
    """freshet.v1.GetFeaturesRequest: user_id, item_ids, feature_set."""
    packed = b"".join(varint(item) for item in items)
    return (b"\x08" + varint(user) if user else b"") + b"\x12" + varint(len(packed)) + packed + b"\x22\x02s1"


def fields(message):
    """(number, bytes or value) of each top-level field, as they come."""
    at, found = 0, []
    while at < len(message):
        tag, at = read_varint(message, at)
        if tag & 7 == 0:
            value, at = read_varint(message, at)
        else:
            length, at = (8, at) if tag & 7 == 1 else read_varint(message, at)
            value, at = message[at : at + length], at + length
        found.append((tag >> 3, value))
    return found


def answer(reply):
    """What two servers must agree on."""
    return [one for one in fields(reply) if one[0] not in SINGULAR]


def floats(data):
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def ids(reply):
    """Those of the user's sequence."""
    sequence = dict(fields(dict(fields(reply))[11]))
    packed, at, found = dict(fields(sequence[4]))[2], 0, []
    while at < len(packed):
        one, at = read_varint(packed, at)
        found.append(one)
    return found


class Rows:
    """A node of S1 with so many users of 100 ids each, filled from its embedded broker."""

    def __init__(self, build, users, directory):
        self.users = users
        self.random = random.Random(7)
        self.node = Node(f"{build}/freshet", "embedded", f"{directory}/store", "s1.yaml", ("store.memory=8GiB", "server.loops=1"))
        events = users * 100
        while not self.node.call("AdminService/Status", {})["ready"]:
            time.sleep(0.05)
        writer = subprocess.Popen([f"{build}/tests/bench/s1", str(events), str(users)], stdout=subprocess.PIPE)
        subprocess.run([f"{build}/freshet", "produce", "--brokers", self.node.addresses["brokers"], "--topic", "s1", "--format", "pb", "-"],
                       stdin=writer.stdout, stdout=sys.stderr, check=True)  # fmt: skip
        assert writer.wait() == 0
        self.node.wait(events)
        self.node.call("AdminService/Checkpoint", {})

    def ask(self, requests):
        """Replies in order, over one connection of HTTP/1.1, so many requests on their way at once."""
        host, port = self.node.addresses["api"].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as connection:
            stream = connection.makefile("rb")
            for at in range(0, len(requests), PIPELINED):
                some = requests[at : at + PIPELINED]
                connection.sendall(b"".join(
                    f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\nContent-Length: {len(one)}\r\n\r\n".encode() + one
                    for one in some))  # fmt: skip
                for _ in some:
                    assert stream.readline().split()[1] == b"200"
                    length = 0
                    while (line := stream.readline()) != b"\r\n":
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    yield stream.read(length)

    def write(self, path):
        """All of them, as grpc/server.cc reads them: items 1,000 at a time, then each user."""
        requests = [request(0, [ident(ITEM, at + i) for i in range(1000)]) for at in range(0, ITEMS, 1000)]
        requests += [request(ident(USER, number), []) for number in range(self.users)]
        with pathlib.Path(path).open("wb") as file:
            for asked, reply in zip(requests, self.ask(requests)):
                file.write(struct.pack("<I", len(asked)) + asked + struct.pack("<I", len(reply)) + reply)

    def sample(self, count, items, users=0, most=ITEMS):
        """So many requests of some of the users (0: any) and of the first `most` items, each with the node's reply."""
        asked = [request(ident(USER, self.random.randrange(users or self.users)),
                         [ident(ITEM, self.random.randrange(most)) for _ in range(items)]) for _ in range(count)]  # fmt: skip
        return list(zip(asked, self.ask(asked)))
