"""A terminal with a program in it: what is on its screen, as a person would see it."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pyte


class Terminal:
    def __init__(self, command, lines, columns, environment):
        self.screen, self.raw = pyte.Screen(columns, lines), b""
        self.stream = pyte.ByteStream(self.screen)
        self.fd, inner = pty.openpty()
        self.resize(lines, columns, inner)
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )
        os.close(inner)

    def resize(self, lines, columns, fd=None):
        """The kernel tells the program, as when a window is dragged."""
        fcntl.ioctl(self.fd if fd is None else fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def look(self, for_s=0.05):
        """Takes in what was written; the lines of the screen."""
        while select.select([self.fd], [], [], for_s)[0]:
            try:
                some = os.read(self.fd, 65536)
            except OSError:  # the program has ended
                break
            if not some:
                break
            self.raw += some
            self.stream.feed(some)
        return [line.rstrip() for line in self.screen.display]

    def wait(self, condition, what, deadline_s=20):
        end = time.monotonic() + deadline_s
        while not condition("\n".join(self.look())):
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.look()}"
            assert time.monotonic() < end, f"{what}: " + "\n".join(self.look())
        return self.look()

    def press_interrupt(self):
        """^C, typed."""
        os.write(self.fd, b"\x03")
        code = self.process.wait(10)
        self.look()
        return code

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.fd)
