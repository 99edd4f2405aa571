"""Where an attack goes that is to hurt nobody: `sink.py end|hold REPLY…` (in hex) prints its address and takes what comes, until its own
input ends. Each connection is answered one of the replies, by turns, at its first byte, and then, unless it is held, shut."""

import selectors
import socket
import sys

BYTES = 1 << 20


def main():
    holds, replies = sys.argv[1] == "hold", [bytes.fromhex(one) for one in sys.argv[2:]]
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
    poll = selectors.DefaultSelector()
    poll.register(listener, selectors.EVENT_READ)
    poll.register(sys.stdin, selectors.EVENT_READ)
    unanswered, count, room = {}, 0, bytearray(BYTES)
    while True:
        for key, _ in poll.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listener:
                connection = listener.accept()[0]
                poll.register(connection, selectors.EVENT_READ)
                unanswered[connection] = replies[count % len(replies)]
                count += 1
                continue
            take(poll, key.fileobj, unanswered, room, holds)


def take(poll, connection, unanswered, room, holds):
    try:
        got = connection.recv_into(room)
        if got and connection in unanswered:
            connection.sendall(unanswered.pop(connection))
            if not holds:
                connection.shutdown(socket.SHUT_WR)
    except OSError:
        got = 0
    if not got:
        unanswered.pop(connection, None)
        poll.unregister(connection)
        connection.close()


if __name__ == "__main__":
    main()
