"""`freshet status --watch`, on a terminal and into a pipe."""

import random
import re
import signal
import subprocess

import pytest

import kafka
import settings
import shims
from freshet.v1 import event_pb2
from node import wait_for
from terminal import Terminal

T0 = 1_700_000_040_000
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


def produce(node, count):
    events = [
        event_pb2.Event(event_id=n + 1, ts_ms=T0 + n, user_id=n % 9 + 1, item_id=7, action=event_pb2.WATCH, value=1)
        for n in range(count)
    ]
    kafka.produce(node.brokers, "freshet.events", [(str(e.user_id).encode(), e.SerializeToString()) for e in events])


@pytest.fixture(scope="module")
def node(binary, tmp_path_factory):
    """One for all; the test that kills it is the last."""
    from node import Node

    node = Node(binary, settings.configuration("embedded", catalogue=settings.TINY), tmp_path_factory.mktemp("watched"))
    node.start()
    produce(node, 1234)
    node.wait_applied(1234)
    yield node
    node.kill()


@pytest.fixture
def watch(binary, node):
    opened = []

    def open_it(lines=30, columns=100, language="C.UTF-8"):
        command = [binary, "status", "--watch", "--api", node.api, "--operations", node.operations]
        terminal = Terminal(command, lines, columns, {"LC_ALL": language, "NO_COLOR": ""})
        opened.append(terminal)
        return terminal

    yield open_it
    for terminal in opened:
        terminal.close()


def test_figures_partitions_and_the_last_minutes_are_on_the_other_screen(node, watch):
    terminal = watch()
    terminal.wait(lambda text: "1,234  0/s" in text, "a second look")
    node.get_features(user_id=1, item_ids=[7], features=["item_watches.1m"])
    lines = terminal.wait(lambda text: re.search(r"latency +p50 [\d.]+ .s  p99", text), "the read is seen")
    for wanted in ("serving", "applied", "lag        ", "freshness", "reads", "memory", "entities", "stream time", "outcomes", "^C ends"):
        assert any(wanted in line for line in lines), (wanted, lines)
    assert sum(f"freshet.events/{n} " in line for n in range(8) for line in lines) == 8
    assert re.search(r"memory +\d+\.\d MiB of \d+\.\d MiB +[█░]{20,}", "\n".join(lines))
    assert re.search(r"applied .* [▁█]{2,}$", "\n".join(lines), re.MULTILINE), "a sparkline"
    assert terminal.raw.startswith(ENTER) and LEAVE not in terminal.raw
    assert b"\x1b[2J" not in terminal.raw, "clearing the screen would flicker"
    assert terminal.press_interrupt() == 0
    assert LEAVE in terminal.raw and terminal.raw.rstrip().endswith(LEAVE) and b"\x1b[?25h" in terminal.raw


def test_it_fits_the_terminal_and_follows_its_size(watch):
    terminal = watch(lines=40, columns=120)
    terminal.wait(lambda text: "freshet.events/7" in text, "all partitions")
    terminal.resize(16, 50)
    lines = terminal.wait(lambda text: "more" in text, "fewer partitions, at once", deadline_s=5)
    assert len(lines) == 16 and "^C ends" in lines[-1] and "freshet 0" in lines[0]
    terminal.resize(5, 30)
    terminal.wait(lambda text: "partition" not in text, "the head alone")
    terminal.resize(24, 80)
    lines = terminal.wait(lambda text: "freshet.events/7" in text, "all again")
    assert lines[-1].startswith(" ^C ends")


def test_without_utf8_it_is_ascii(watch):
    terminal = watch(language="C")
    terminal.wait(lambda text: "#" in text and "1,234  0/s" in text, "bars of letters")
    assert terminal.raw.isascii()


def test_into_a_pipe_it_is_a_line_a_second(binary, node):
    with subprocess.Popen(
        [binary, "status", "--watch", "--api", node.api, "--operations", node.operations], stdout=subprocess.PIPE, text=True
    ) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(10) == 0
    for line in lines:
        assert re.match(r"\d{4}-\S+Z serving  applied 1,234 \((0|-)/s\)  lag 0  stale 0 ms  reads ", line)
    assert "\x1b" not in "".join(lines) + rest


def test_a_node_that_never_answered_is_an_error_on_the_shells_screen(binary):
    terminal = Terminal([binary, "status", "--watch", "--api", "127.0.0.1:1"], 24, 100, {})
    try:
        wait_for(lambda: terminal.process.poll() is not None, "it ends")
        text = "\n".join(terminal.look())
        assert terminal.process.returncode == 1 and "127.0.0.1:1" in text and ENTER not in terminal.raw
    finally:
        terminal.close()


def test_producing_shows_a_bar_and_leaves_none(binary, node, tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text("".join(f'{{"eventId":"{n}","tsMs":{T0},"userId":5,"itemId":8,"action":"LIKE"}}\n' for n in range(1, 401)))
    command = [binary, "produce", "--brokers", node.brokers, "--topic", "freshet.events", "--rate", 500, log]
    terminal = Terminal(command, 24, 100, {})
    try:
        terminal.wait(lambda text: re.search(r"\[#+-*\] +\d+ %  \d+ events  \d+/s  0:0\d left", text), "a bar")
        wait_for(lambda: terminal.look() and terminal.process.poll() is not None, "it ends")
        text = "\n".join(terminal.look())
        assert terminal.process.returncode == 0 and "400" in text and "left" not in text and "[#" not in text
    finally:
        terminal.close()


def test_simulating_into_a_topic_shows_a_bar_and_leaves_none(binary, node):
    command = [binary, "simulate", "--rate", 50, "--seconds", 2, "--brokers", node.brokers, "--topic", "freshet.events", "--users", 10, "--items", 10]
    terminal = Terminal(command, 24, 100, {})
    try:
        terminal.wait(lambda text: re.search(r"\[#*-*\] +\d+ %  \d+ events  \d+/s  0:0\d left", text), "a bar")
        wait_for(lambda: terminal.look() and terminal.process.poll() is not None, "it ends")
        text = "\n".join(terminal.look())
        assert terminal.process.returncode == 0 and "produced" in text and "left" not in text
    finally:
        terminal.close()


@pytest.mark.parametrize("has_node", [True, False], ids=["of a node", "of a directory"])
def test_a_backup_shows_how_much_is_left_to_copy(binary, make_node, tmp_path, has_node):
    """The disk is slow (tests/faults/disk.c), so that there is a bar to see."""
    library = shims.shim(binary, "disk_faults")
    target = tmp_path / "backups"
    slow = {"LD_PRELOAD": str(library), "FRESHET_DISK_DIR": str(target), "FRESHET_DISK_FAULT": "slow:1+", "FRESHET_DISK_CALLS": "sync"}
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY))
    node.environment = slow if has_node else {}
    node.start()
    dice = random.Random(3)
    kafka.produce(node.brokers, "freshet.events", [
        (b"1", event_pb2.Event(ts_ms=T0 + i, action=3, user_id=i + 1, item_id=dice.randrange(1 << 40)).SerializeToString()) for i in range(20000)
    ])  # fmt: skip
    node.wait_applied(20000)
    command = [binary, "backup", target, *(["--api", node.api] if has_node else ["--config", node.file])]
    if not has_node:
        assert node.stop() == 0
    terminal = Terminal(command, 24, 100, {} if has_node else slow)
    try:
        terminal.wait(lambda text: re.search(r"\[#*-*\] +\d+ %  [\d,]+ bytes  [\d,]+/s  \d+:\d\d left", text), "a bar")
        wait_for(lambda: terminal.look() and terminal.process.poll() is not None, "it ends")
        text = "\n".join(terminal.look())
        assert terminal.process.returncode == 0 and "made" in text and "left" not in text, text
    finally:
        terminal.close()


def test_a_node_that_goes_away_is_told_and_waited_for(node, watch):
    terminal = watch()
    applied = f"{node.applied():,}"
    terminal.wait(lambda text: "serving" in text and applied in text, "serving")
    node.kill()
    lines = terminal.wait(lambda text: "does not answer" in text, "its end is seen")
    assert "trying again" in lines[-1] and any(applied in line for line in lines)
    assert terminal.press_interrupt() == 0
