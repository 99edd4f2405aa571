"""A new user's first way in, timed: clone → ops/run → a live page. (The second, staging, is tests/compose/newcomer.py; the third test_notebook.py.)"""

import json
import pathlib
import subprocess
import time

import pytest

from conftest import missing
from node import request, wait_for

TOP = pathlib.Path(__file__).resolve().parents[2]


def live_page(top, capsys):
    """`ops/run` until the page shows events that come; how long it took."""
    began_s = time.monotonic()
    command = [top / "ops/run", "--json", "--rate", "200", "--set", "server.listen=127.0.0.1:0", "--set", "server.operations=127.0.0.1:0"]
    node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = node.stdout.readline()
        assert line, "ops/run ends before it serves"
        operations = json.loads(line)["operations"]
        wait_for(lambda: request(operations, "GET", "/readyz")[0] == 200, "the node is ready")
        ready_s = time.monotonic() - began_s

        def applied():
            return int(json.loads(request(operations, "GET", "/status")[2])["appliedEvents"])

        wait_for(lambda: applied() > 100, "events come")
        status, headers, page = request(operations, "GET", "/")
        assert status == 200 and headers["Content-Type"].startswith("text/html") and b"Hot rooms" in page
        hot = json.loads(request(operations, "GET", "/top?list=trending&scope=global&limit=3")[2])
        assert len(hot["ids"]) == 3, hot
    finally:
        node.terminate()
        assert node.wait(30) == 0
    with capsys.disabled():
        print(f"\nfirst steps: ops/run in {top}: ready after {ready_s:.1f} s, a page with events after {time.monotonic() - began_s:.1f} s")


def test_what_is_built_is_a_live_page_by_one_command(binary, capsys):
    if binary != TOP / "build/release/freshet":
        missing(f"the binary is {binary}, which ops/run does not build")
    live_page(TOP, capsys)


@pytest.mark.long
def test_a_clone_becomes_a_live_page_by_one_command(tmp_path, capsys):
    subprocess.run(["git", "clone", "-q", TOP, tmp_path / "freshet"], check=True)
    live_page(tmp_path / "freshet", capsys)
