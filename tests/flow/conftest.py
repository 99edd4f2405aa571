"""What every flow test needs: the binary, a real broker, the public logs; each missing one skips by name, and fails in CI."""

import os
import pathlib

import pytest

MANDATORY = os.environ.get("CI") == "true"


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the long ones too")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: minutes, not seconds; only with --long")
    config.addinivalue_line("markers", "alone: measures time, so nothing may run beside it; tests/flow/run does these last")


FIRST = ["test_real_logs.py", "test_every_aggregate.py"]  # minutes each: begun last, one of two workers would wait for them


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: item.path.name not in FIRST)  # stable
    if not config.getoption("--long"):
        for item in items:
            if "long" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="long: run with --all"))


def missing(what):
    if MANDATORY:
        pytest.fail(f"{what}, and CI=true makes it mandatory")
    pytest.skip(what)


@pytest.fixture(scope="session")
def binary():
    path = pathlib.Path(os.environ.get("FRESHET_BINARY", "build/release/freshet")).resolve()
    if not path.exists():
        missing(f"no binary at {path}; set FRESHET_BINARY")
    return path


@pytest.fixture(scope="session")
def real_kafka():
    """The address of a real broker."""
    brokers = os.environ.get("FRESHET_KAFKA")
    if not brokers:
        missing("no Apache Kafka here (tests/kafka/start said why); FRESHET_KAFKA names one")
    return brokers


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A CA whose certificates the broker of the tests' own shows and trusts."""
    import certificates

    return certificates.Authority(tmp_path_factory.mktemp("kafka-authority"), "kafka-authority")


@pytest.fixture(scope="session")
def own_broker(tmp_path_factory, authority):
    """A real broker that tests may stop and start, if they leave it running; it speaks plaintext, mutual TLS, and SASL."""
    import broker

    made = broker.secure_broker(tmp_path_factory.mktemp("kafka"), authority).start()
    yield made
    made.kill()
    made.stop(WIPE="1")


@pytest.fixture(scope="session")
def data():
    """The directory of the public logs."""
    directory = os.environ.get("FRESHET_TEST_DATA")
    if not directory or not pathlib.Path(directory).is_dir():
        missing("no public logs here; FRESHET_TEST_DATA names their directory")
    return pathlib.Path(directory)


@pytest.fixture
def make_node(binary, tmp_path):
    """Makes nodes that are killed when the test ends."""
    yield from nodes(binary, tmp_path)


@pytest.fixture(scope="module")
def module_node(binary, tmp_path_factory):
    """The same for those that all tests of a file ask."""
    yield from nodes(binary, tmp_path_factory.mktemp("nodes"))


def nodes(binary, directory):
    import node as node_module  # here: it needs the generated messages, the oracle's own tests don't

    made = []

    def make(configuration, name=None):
        node = node_module.Node(binary, configuration, directory, name or f"node{len(made)}")
        made.append(node)
        return node

    yield make
    for node in made:
        node.kill()
