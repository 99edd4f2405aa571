"""The package as it would be installed, a stub of a node, and both clients behind one face."""

import asyncio
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

# These tests fork only to execute; in Python 3.9 gRPC's own handlers of fork() abort the child when calls run.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
HERE = pathlib.Path(__file__).resolve().parent
_built = tempfile.TemporaryDirectory(prefix="freshet-client.")
subprocess.run([HERE.parent / "generate", _built.name], check=True, env={**os.environ, "PYTHON": sys.executable})
sys.path.insert(0, _built.name)


def missing(what):
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI=true makes it mandatory")
    pytest.skip(what)


@pytest.fixture
def built():
    """Where the package is."""
    return pathlib.Path(_built.name)


@pytest.fixture
def node():
    import stub

    with stub.Node() as node:
        yield node


class Blocking:
    """A client of asyncio whose methods block, so that one test is about both clients."""

    def __init__(self, kind, *arguments, **options):
        self.loop = asyncio.new_event_loop()

        async def make():
            return kind(*arguments, **options)

        self.client = self.loop.run_until_complete(make())

    def __getattr__(self, name):
        method = getattr(self.client, name)
        return lambda *arguments, **options: self.loop.run_until_complete(method(*arguments, **options))

    def end(self):
        self.loop.run_until_complete(self.client.close())
        self.loop.close()


def connecting(blocking, coroutines, is_async):
    """Makes clients of either kind, closed when the test ends."""
    made = []

    def make(*arguments, **options):
        client = Blocking(coroutines, *arguments, **options) if is_async else blocking(*arguments, **options)
        made.append(client)
        return client

    yield make
    for client in made:
        getattr(client, "end", client.close)()


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request):
    import freshet

    yield from connecting(freshet.Client, freshet.AsyncClient, request.param == "AsyncClient")


@pytest.fixture(params=["ClusterClient", "AsyncClusterClient"])
def connect_cluster(request):
    import freshet

    yield from connecting(freshet.ClusterClient, freshet.AsyncClusterClient, request.param == "AsyncClusterClient")
