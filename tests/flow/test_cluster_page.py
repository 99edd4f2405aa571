"""What on-call sees of a cluster: the status page's panel in a headless Chromium, /cluster, and `freshet status`, of two instances on a real broker."""

import json
import os
import re
import shutil
import subprocess

import pytest

import settings
from node import wait_for
from test_cluster import PARTITIONS
from test_page import PALE, chromium  # noqa: F401 (a fixture)
from test_standby import Standing, left_open, restoring

HALF = PARTITIONS // 2
SHOWN = "document.getElementById('cluster-section').checkVisibility()"


def table(page, name):
    return page.eval(f"[...document.querySelectorAll('#{name} tbody tr')].map((tr) => [...tr.cells].map((td) => td.textContent))")


def fact(page, name):
    return page.eval(f"document.querySelector('#instance [data-key=\"{name}\"] span').textContent")


def cells_of(page):
    return page.eval("[...document.querySelectorAll('#shares li')].map((li) => li.textContent)")


def picture(page, name):
    """Into the folder of FRESHET_PICTURES, to be looked at: on a desktop and a phone, light and dark."""
    folder = os.environ.get("FRESHET_PICTURES")
    for width, theme in ((1280, "light"), (1280, "dark"), (375, "light")) if folder else ():
        page.resize(width, 900)
        page.theme(theme)
        page.eval("scrollTo(0, document.getElementById('cluster-section').hidden ? 0 : document.getElementById('cluster-section').offsetTop - 12)")
        page.screenshot(f"{folder}/{name}-{width}-{theme}.png")


def section(node):
    """The lines of `freshet status` that are of the cluster."""
    done = node.cli("status")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    begin = next((at for at, line in enumerate(lines) if line.startswith("  cluster  ")), None)
    if begin is None:
        return []
    end = next(at for at, line in enumerate(lines) if line.startswith("  deltas  "))
    return [re.sub(r" +", " ", line.strip()) for line in lines[begin : end + 1]]


def test_two_instances_and_one_that_restores(make_node, real_kafka, chromium, request):  # noqa: F811
    evil = "<b>&\"'"  # a name is what somebody configured
    standing = Standing(make_node, real_kafka, standbys=1)
    first, second = standing.begin("b"), standing.begin("c", id=evil)
    names = sorted(["b", evil])
    standing.load(500)
    standing.wait_shared()
    own = {node: standing.owned(node) for node in (first, second)}
    spans = {node: f"{one[0]}–{one[-1]}" for node, one in own.items()}
    assert all(len(one) == HALF for one in own.values())
    for node in (first, second):
        wait_for(lambda: {one.api for one in standing.members(node).members} == {first.api, second.api}, "both announced")  # noqa: B023
        wait_for(lambda: len(standing.standbys(node)) == HALF, "it stands by for the other")  # noqa: B023

    page = chromium.open(f"http://{first.operations}/")
    page.wait(f"document.body.dataset.state === 'ready' && {SHOWN}")
    page.wait(f"document.querySelector('#instance [data-key=\"deltas not merged\"] span').textContent === '0' && document.querySelectorAll('#members tbody tr').length === 2")
    wanted = {"b": ["b (this one)", first.api, spans[first]], evil: [evil, second.api, spans[second]]}
    assert table(page, "members") == [[f"{'AB'[at]} {wanted[name][0]}", *wanted[name][1:]] for at, name in enumerate(names)]
    letter = {name: "AB"[at] for at, name in enumerate(names)}
    said = {number: f"{number} {letter['b']} b, this instance" for number in own[first]}
    said |= {number: f"{number} {letter[evil]} {evil}, this instance stands by" for number in own[second]}
    assert cells_of(page) == [said[number] for number in range(PARTITIONS)]
    assert fact(page, "owns") == f"{HALF} of {PARTITIONS}" and fact(page, "stands by for") == spans[second]
    assert table(page, "coming") == [["Nothing is being restored."]]
    assert page.eval("document.querySelectorAll('#cluster-section b').length") == PARTITIONS, "a name is text, never markup"
    for theme in ("light", "dark"):
        page.theme(theme)
        assert page.eval(PALE) == []
        for width in (1280, 700, 375):
            page.resize(width, 900)
            assert page.eval("document.documentElement.scrollWidth") <= width
    picture(page, "two")
    assert page.complaints() == []
    told = section(first)
    assert told[0].startswith("cluster b, 8 partitions, epoch ")
    plain = {node: one.replace("–", "-") for node, one in spans.items()}
    assert told[1:-2] == [line for name in names for line in [f"b {first.api} {plain[first]} (this one)" if name == "b" else f"{evil} {second.api} {plain[second]}"]]
    assert re.fullmatch(rf"stands by {plain[second]}: \d+ offsets of the changelog left", told[-2]) and told[-1].startswith("deltas ")
    assert first.cli("status", "--json").stdout.count('"changelog') == 0, "JSON is Status as it was"
    asked = json.loads(first.page("/cluster")[2])
    assert asked["instance"] == "b" and {one["instance"]: one["live"] for one in asked["members"]} == {"b": True, evil: False}

    late = own[second][2]
    with left_open(standing, late):
        second.kill()
        shutil.rmtree(second.configuration["store"]["path"])
        second.start(is_ready=False)  # within its session
        wait_for(lambda: restoring(second) == [late], lambda: standing.members(second))
        page = chromium.open(f"http://{second.operations}/")
        page.wait(f"{SHOWN} && document.querySelector('#coming .warn') && document.querySelector('#instance [data-key=owns] span')")
        page.wait(f"document.querySelector('#instance [data-key=owns] span').textContent === '{HALF - 1} of {PARTITIONS}'")
        rest = table(page, "coming")  # where copies were begun before the group gave it its share, they wait for what is restored
        (row,) = (one for one in rest if "restoring" in one[0])
        assert {one[0] for one in rest if one != row} <= {f"{number} to stand by" for number in own[first]}
        assert row[0] == f"{late} restoring" and int(row[1]) > 0 and fact(page, "restoring") == "1"
        assert page.eval(f"document.querySelector('#shares li:nth-child({late + 1})').className").endswith("restoring")
        assert cells_of(page)[late].endswith(", restored here") and page.eval(PALE) == []
        (line,) = (line for line in section(second) if line.startswith("restoring"))
        assert re.fullmatch(rf"restoring {late}: {row[1]} offsets of the changelog left, at [\d,]+ of [\d,]+", line), line
        picture(page, "restoring")
    wait_for(lambda: len(standing.owned(second)) == HALF, "it has the last one")
    page.wait("document.querySelector('#coming td.none')")
    standing.check()

    alone = chromium.open(f"http://{standing.alone.operations}/")
    alone.wait("document.body.dataset.state === 'ready' && round > 1")
    assert not alone.eval(SHOWN) and section(standing.alone) == []
    picture(alone, "alone")
    assert not any(url.endswith("/cluster") for url in alone.requested())


def test_from_elsewhere_whose_the_partitions_are_is_for_administrators(make_node, tmp_path):
    address = next(iter(subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()), None)
    if not address:
        pytest.skip("this machine has no address but the loopback")
    file = tmp_path / "token"
    file.write_text("reader-0123456789abcdef")
    file.chmod(0o600)
    server = {
        "plaintext": "anywhere",
        "listen": "127.0.0.1:0",
        "operations": "0.0.0.0:0",
        "tokens": [{"name": "ranker", "token": f"file:{file}", "groups": ["read"]}],
    }
    node = make_node({**settings.configuration("embedded", catalogue=settings.TINY), "server": server}).start()

    def status(*options):
        url = f"http://{address}:{node.operations.rpartition(':')[2]}/cluster"
        return subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *options, url], capture_output=True, text=True).stdout

    assert status() == "401" and status("-H", f"authorization: Bearer {file.read_text()}") == "403"
    assert node.page("/cluster")[0] == 200
