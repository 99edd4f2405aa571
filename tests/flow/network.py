"""
Places for processes of a test: network namespaces on a bridge of the test's own, whose links can be cut, where this machine lets one make
them; else the loopback. A cut link drops packets in silence, as a broken cable does: nobody is told.
"""

import os
import random
import shutil
import subprocess

from conftest import MANDATORY, missing


def ip(*arguments):
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20)


def must(*arguments):
    done = ip(*arguments)
    assert done.returncode == 0, (arguments, done.stderr)


class Place:
    """`inside`: the words before a command that run it here."""

    def __init__(self, address, inside=(), link=None):
        self.address, self.inside, self.link = address, inside, link

    def cut(self):
        must("link", "set", self.link, "down")

    def mend(self):
        must("link", "set", self.link, "up")


class Loopback:
    can_cut = False

    def place(self):
        return Place("127.0.0.1")

    def close(self):
        pass


class Network:
    """A bridge that the test itself is on, at .1; every place has a namespace and the next address."""

    can_cut = True

    def __init__(self):
        self.mark = f"fr{os.getpid() % 100_000:05}{random.randrange(256):02x}"
        self.net = f"10.{random.randrange(64, 128)}.{random.randrange(256)}"
        self.bridge, self.names = f"{self.mark}b", []

    def open(self):
        must("link", "add", self.bridge, "type", "bridge", "forward_delay", "0")
        must("addr", "add", f"{self.net}.1/24", "dev", self.bridge)
        must("link", "set", self.bridge, "up")
        done = subprocess.run([*self.place().inside, "true"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return self

    def place(self):
        number = len(self.names) + 2
        name, link = f"{self.mark}n{number}", f"{self.mark}v{number}"
        must("netns", "add", name)
        self.names.append(name)
        must("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        must("link", "set", link, "master", self.bridge, "up")
        for arguments in (("addr", "add", f"{self.net}.{number}/24", "dev", "eth0"), ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):
            must("-n", name, *arguments)
        return Place(f"{self.net}.{number}", ("ip", "netns", "exec", name), link)

    def close(self):
        for name in self.names:
            ip("netns", "del", name)  # its end of the link goes with it
        ip("link", "del", self.bridge)


def make():
    """A Network; the Loopback, said by name, where this machine has no right to one."""
    why = "network namespaces need root and ip (ops/install --tests)"
    if os.geteuid() == 0 and shutil.which("ip"):
        made = Network()
        try:
            return made.open()
        except AssertionError as refused:
            made.close()
            why = str(refused)
    if MANDATORY:
        missing(why)
    print(f"network: on the loopback, so no link is cut: {why}")
    return Loopback()
