"""Every command that README and docs show is run, in the order of the page, against one node with simulated traffic.

A block is ```sh (run as a script) or ```console (each line after "$ " is run, what else stands there is its output); one that cannot be run
has `<!-- not run: why -->` before it. Addresses as documented stand for those of the node; the folder has `freshet.yaml`, a
configuration, `events.csv` with `$MAP`, and `state`, what a node has written, as docs/operations.md says.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from node import Node, run_cli, wait_for

TOP = pathlib.Path(__file__).resolve().parents[2]
PAGES = ["README.md", "ops/RUNBOOK.md", "examples/README.md", "clients/python/README.md", *sorted(f"docs/{p.name}" for p in (TOP / "docs").glob("*.md"))]
FENCE = re.compile(r"^(?P<before>[^\n]*\n)?```(?P<kind>\S*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
TOLD = {"sh", "console", "text", "yaml", "python", "json", "proto"}
MAP = "timestamp:s=ts_ms,behavior=action(view:watch,like:like,cart:add_to_cart,buy:purchase),seconds=value"


def blocks(page):
    """(line number, kind, body, whether it is run) of each block."""
    text = (TOP / page).read_text()
    for found in FENCE.finditer(text):
        before = text[: found.start("body")].splitlines()[:-1]
        above = next((line for line in reversed(before) if line.strip()), "")
        yield text[: found.start("body")].count("\n"), found["kind"], found["body"], not NOT_RUN.fullmatch(above.strip())


def script(kind, body):
    if kind == "sh":
        return body
    commands, goes_on = [], False
    for line in body.splitlines():
        if line.startswith("$ ") or goes_on:
            commands.append(line.removeprefix("$ "))
            goes_on = line.endswith("\\")
    return "\n".join(commands)


@pytest.fixture(scope="module")
def node(binary, tmp_path_factory):
    node = Node(binary, {}, tmp_path_factory.mktemp("documented"))
    node.command = ("demo", "--json", "--rate", "2000")
    node.file.write_text((TOP / "cli/demo.yaml").read_text())
    node.start("server.listen=127.0.0.1:0", "server.operations=127.0.0.1:0")
    wait_for(lambda: node.applied() > 2000, "some traffic")
    yield node
    node.kill()


@pytest.fixture(scope="module")
def state(binary, tmp_path_factory):
    """What docs/operations.md works on."""
    folder = tmp_path_factory.mktemp("state")
    shutil.copy(TOP / "examples/python/events.csv", folder)
    (folder / "freshet.yaml").write_text((TOP / "ops/debian/freshet.yaml").read_text().replace("/var/lib/freshet", "state"))
    done = run_cli(binary, "replay", "--config", "freshet.yaml", "--state", "state", "--events", "events.csv", "--map", MAP, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_each_block_says_what_it_is(page):
    for line, kind, body, is_run in blocks(page):
        assert kind in TOLD, f"{page}:{line}: a block of {kind or 'nothing'}; say {', '.join(sorted(TOLD))}"
        assert kind == "console" or not re.search(r"^\$ ", body, re.MULTILINE), f"{page}:{line}: looks like console"
        assert is_run or kind in ("sh", "console"), f"{page}:{line}: not run, but no command either"


@pytest.mark.parametrize("page", [page for page in PAGES if any(k in ("sh", "console") and run for _, k, _, run in blocks(page))])
def test_each_command_works(binary, node, state, tmp_path, page):
    folder = tmp_path / "here"
    shutil.copytree(state, folder)
    environment = {
        **os.environ,
        "PATH": f"{binary.parent}:{os.environ['PATH']}",
        "FRESHET_API": node.api,
        "FRESHET_OPERATIONS": node.operations,
        "MAP": MAP,
    }
    for line, kind, body, is_run in blocks(page):
        if kind not in ("sh", "console") or not is_run:
            continue
        commands = script(kind, body)
        assert commands, f"{page}:{line}: console without a command"
        for written, real in (("127.0.0.1:7070", node.api), ("127.0.0.1:7071", node.operations), ("127.0.0.1:9092", node.brokers)):
            commands = commands.replace(written, real)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"{page}:{line}: exit {done.returncode} of\n{commands}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        text = (TOP / page).read_text()
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert ((TOP / page).parent / target).exists(), f"{page}: {target} is not there"
