"""
A real broker of the tests' own. The ways in with TLS and passwords, and that no secret is ever told; a broker that goes away, while reads
go on, and one that comes back as another. One file, since one worker runs it and boots one broker.
"""

import concurrent.futures
import json
import os
import pathlib
import threading
import time

import pytest
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

import certificates
import kafka
import settings
from broker import USERS
from node import run_cli, wait_for
from test_replay import records, some_events, write_jsonl

COUNT = 500
WAYS = ("PLAIN", "SCRAM-SHA-512", "mTLS")
LATE_PASSWORD = "late-secret-51b3aa"
SECRETS = [password for _, password in USERS.values()] + [LATE_PASSWORD]
MISSED = 2000
AWAY_S = 3  # and as long as a broker takes to start
LONG_AWAY_S = 180
RESTARTS = 6



def secret_file(directory, secret, mode=0o600):
    file = directory / f"{secret[:5]}.{mode:o}.secret"
    file.write_text(secret + "\n")
    file.chmod(mode)
    return f"file:{file}"


def properties(way, authority, directory):
    """(librdkafka's properties, the environment that they name)."""
    if way == "mTLS":
        certificate, key = authority.sign("client", "DNS:client")
        key.chmod(0o600)
        return {
            "security.protocol": "ssl", "ssl.ca.location": str(authority.pem),
            "ssl.certificate.location": str(certificate), "ssl.key.location": str(key),
        }, {}  # fmt: skip
    user, password = USERS[way]
    by_file = way != "PLAIN"
    return {
        "security.protocol": "sasl_ssl", "sasl.mechanism": way, "ssl.ca.location": str(authority.pem),
        "sasl.username": user, "sasl.password": secret_file(directory, password) if by_file else "${KAFKA_PASSWORD}",
    }, {} if by_file else {"KAFKA_PASSWORD": password}  # fmt: skip


def configuration(brokers, topic, given, **more):
    made = settings.configuration(brokers, topic, catalogue=settings.TINY)
    made["kafka"]["properties"] = {"reconnect.backoff.max.ms": "200", **given}
    made["kafka"].update(more)
    return made


def arguments(given):
    return [part for name, value in given.items() for part in ("--property", f"{name}={value}")]


def told(node, *completed):
    """All that a node and commands said."""
    pages = [node.page(path)[2].decode() for path in ("/status", "/readyz", "/metrics")] if node.process else []
    logs = [file.read_text(errors="replace") for file in node.directory.glob("*.log")]
    return "\n".join([*pages, *logs, *(one.stdout + one.stderr for one in completed)])


def check_silent(text):
    for secret in SECRETS:
        assert secret not in text, f"{secret} was told"


def go_in(way, make_node, broker, authority, directory):
    """A node, a producer and a replay, all by `way`: they agree."""
    given, environment = properties(way, authority, directory)
    brokers = broker.ssl if way == "mTLS" else broker.sasl
    topic = kafka.new_topic(broker.address, partitions=2)
    events = directory / f"{way}.jsonl"
    write_jsonl(events, some_events(COUNT))
    node = make_node(configuration(brokers, topic, given), way)
    node.environment = environment
    whole = {**os.environ, **environment}
    node.spawn()
    produced = run_cli(node.binary, "produce", "--brokers", brokers, "--topic", topic, *arguments(given), events, env=whole)
    assert produced.returncode == 0, produced.stderr
    node.first_line(node.process.stdout.readline())
    node.wait_applied(COUNT)
    replayed = run_cli(node.binary, "replay", "--config", node.file, "--state", directory / f"{way}.state", "--json", "--digest",
                       env=whole)  # fmt: skip
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["digest"] == node.digest()
    checked = run_cli(node.binary, "check", "--config", node.file, env=whole)
    assert checked.returncode == 0
    return told(node, produced, replayed, checked)


def test_passwords_scram_and_certificates_let_a_node_a_producer_and_a_replay_in(make_node, own_broker, authority, tmp_path):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for text in pool.map(lambda way: go_in(way, make_node, own_broker, authority, tmp_path), WAYS):
            check_silent(text)


def test_a_wrong_password_is_told_and_is_mended_without_a_restart(make_node, own_broker, authority, tmp_path):
    topic = kafka.new_topic(own_broker.address, partitions=1)
    given = properties("SCRAM-SHA-512", authority, tmp_path)[0]
    given.update({"sasl.username": "late", "sasl.password": secret_file(tmp_path, LATE_PASSWORD)})
    node = make_node(configuration(own_broker.sasl, topic, given)).start(is_ready=False)
    write_jsonl(tmp_path / "few.jsonl", some_events(5))
    produce = ("produce", "--brokers", own_broker.sasl, "--topic", topic, *arguments(given), tmp_path / "few.jsonl")
    wait_for(lambda: "uthentication" in node.ready_page()[1], node.ready_page)
    assert node.ready_page()[0] == 503
    assert "uthentication" in node.status()["notReadyReason"] and "uthentication" in node.log()
    refused = run_cli(node.binary, *produce, timeout_s=20)
    assert refused.returncode == 1 and "uthentication" in refused.stderr, refused.stderr
    admin = AdminClient({"bootstrap.servers": own_broker.address})
    right = UserScramCredentialUpsertion("late", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), LATE_PASSWORD.encode())
    for done in admin.alter_user_scram_credentials([right]).values():
        done.result(30)
    wait_for(node.is_ready, node.ready_page)
    accepted = run_cli(node.binary, *produce)
    assert accepted.returncode == 0, accepted.stderr
    node.wait_applied(5)
    check_silent(told(node, refused, accepted))


def test_a_broker_that_is_not_trusted_or_does_not_trust_us_is_told(make_node, own_broker, authority, tmp_path):
    stranger = certificates.Authority(tmp_path, "stranger")
    given = properties("mTLS", authority, tmp_path)[0]
    nameless = {name: value for name, value in given.items() if "location" not in name or name == "ssl.ca.location"}
    nodes = [
        make_node(configuration(own_broker.ssl, "events", {**given, "ssl.ca.location": str(stranger.pem)})),
        make_node(configuration(own_broker.ssl, "events", nameless)),
    ]
    for node in nodes:
        node.start(is_ready=False)
    for node in nodes:
        wait_for(lambda: "certificate" in node.ready_page()[1].lower(), node.ready_page)  # noqa: B023
        assert node.ready_page()[0] == 503 and "certificate" in node.log().lower()
        assert node.stop(10) == 0


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_secret_that_others_can_read_is_refused(make_node, tmp_path, mode):
    file = secret_file(tmp_path, LATE_PASSWORD, mode)
    node = make_node(configuration("127.0.0.1:1", "events", {"sasl.password": file}))
    write_jsonl(tmp_path / "few.jsonl", some_events(1))
    outcomes = [
        run_cli(node.binary, "check", "--config", node.file),
        run_cli(node.binary, "run", "--config", node.file),
        run_cli(node.binary, "produce", "--brokers", "127.0.0.1:1", "--topic", "t", *arguments({"sasl.password": file}),
                tmp_path / "few.jsonl"),
    ]  # fmt: skip
    for outcome in outcomes:
        assert outcome.returncode != 0 and "chmod 600" in outcome.stderr + outcome.stdout, outcome
        check_silent(outcome.stdout + outcome.stderr)


def test_a_secret_in_the_wrong_place_is_not_quoted(make_node, tmp_path):
    file = secret_file(tmp_path, LATE_PASSWORD)
    write_jsonl(tmp_path / "few.jsonl", some_events(1))
    taken = make_node(configuration("127.0.0.1:1", "events", {"sasl.mechanism": file}))  # librdkafka takes any text there
    taken.start(is_ready=False)
    wait_for(lambda: "sasl.mechanism" in taken.log(), "the warning that it makes no sense")
    for name in ("security.protocol", "fetch.wait.max.ms", "no.such.property", "ssl.key.pem"):
        node = make_node(configuration("127.0.0.1:1", "events", {name: file}))
        outcomes = [run_cli(node.binary, "check", "--config", node.file)]
        if name != "ssl.key.pem":  # what is wrong with that is told by the client that would use it
            outcomes.append(run_cli(node.binary, "produce", "--brokers", "127.0.0.1:1", "--topic", "t", *arguments({name: file}),
                                    tmp_path / "few.jsonl"))  # fmt: skip
        for outcome in outcomes:
            assert outcome.returncode == (0 if name == "ssl.key.pem" else outcome.returncode or 1)
            assert name == "ssl.key.pem" or name in outcome.stderr + outcome.stdout, outcome
            check_silent(outcome.stdout + outcome.stderr)
    check_silent(told(taken))


def resident_kib(node):
    status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def read_while_away(node, seconds):
    """Reads and looks at staleness until it has grown by so much."""
    looks = []
    want = node.get_features(item_ids=[1, 2, 3]).item_values[:]
    end = time.monotonic() + 10 + 2 * seconds
    while not looks or looks[-1] < seconds * 1000:
        assert time.monotonic() < end, f"staleness grows too slowly: {looks[-5:]}"
        assert node.get_features(item_ids=[1, 2, 3]).item_values[:] == want
        assert node.is_ready()
        looks.append(int(node.status()["staleMs"]))
        time.sleep(0.05)
    assert looks == sorted(looks)


def check_undisturbed(make_node, node, count):
    node.wait_applied(count)
    wait_for(lambda: node.status()["staleMs"] == "0", lambda: node.status())
    undisturbed = make_node(node.configuration | {"store": {"memory": "256MiB"}}, "undisturbed").start()
    undisturbed.wait_applied(count)
    assert undisturbed.digest() == node.digest()


def be_away(make_node, broker, seconds):
    topic = kafka.new_topic(broker.address, partitions=3)
    made = records(some_events(MISSED))
    node = make_node(settings.configuration(broker.address, topic)).start()
    kafka.produce(broker.address, topic, made[: MISSED // 2])
    node.wait_applied(MISSED // 2)
    resident = resident_kib(node)
    broker.kill()
    begun = time.monotonic()
    try:
        read_while_away(node, seconds)
        grown = resident_kib(node) - resident
    finally:
        broker.start()
    back = time.monotonic()
    kafka.produce(broker.address, topic, made[MISSED // 2 :])
    check_undisturbed(make_node, node, MISSED)
    print(f"away {back - begun:.1f} s, caught up {time.monotonic() - back:.1f} s later; memory grew by {grown} KiB")
    assert grown < 32 * 1024


def test_a_broker_that_was_away_is_caught_up_with_and_reads_go_on(make_node, own_broker):
    be_away(make_node, own_broker, AWAY_S)


@pytest.mark.long
def test_a_broker_that_was_away_for_minutes_is_caught_up_with(make_node, own_broker):
    be_away(make_node, own_broker, LONG_AWAY_S)


@pytest.mark.long
def test_a_broker_that_restarts_under_load_loses_and_doubles_nothing(make_node, own_broker):
    topic = kafka.new_topic(own_broker.address, partitions=3)
    made = records(some_events(MISSED * RESTARTS))
    node = make_node(settings.configuration(own_broker.address, topic)).start()

    def load():
        for at in range(0, len(made), 50):
            kafka.produce(own_broker.address, topic, made[at : at + 50], **{"enable.idempotence": True})

    loader = threading.Thread(target=load)
    loader.start()
    for number in range(RESTARTS):
        wait_for(lambda: node.applied() >= number * MISSED // 2, lambda: node.status())  # noqa: B023
        (own_broker.kill if number % 2 else own_broker.stop)()
        own_broker.start()
    loader.join()
    check_undisturbed(make_node, node, len(made))


@pytest.mark.long
def test_another_cluster_at_the_same_address_is_refused(make_node, own_broker):
    """The last one: the broker's data is gone after it."""
    topic = kafka.new_topic(own_broker.address, partitions=1)
    made = records(some_events(20))
    node = make_node(settings.configuration(own_broker.address, topic)).start()
    kafka.produce(own_broker.address, topic, made)
    node.wait_applied(20)
    own_broker.kill()
    own_broker.stop(WIPE="1")  # what is made in its place has another id
    own_broker.start()
    assert node.ended(30) == 1
    assert "cluster" in node.log() and "store.path" in node.log(), node.log()
