"""tests/bench of clusters: each still runs to its end and says numbers. How large these are, a busy machine cannot tell."""

import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.alone

BENCHES = pathlib.Path(__file__).resolve().parent.parent / "bench"


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("cluster", ("--events", "60000", "--instances", "2", "--pairs", "1")),
        ("hot", ("--rate", "2000", "--seconds", "1", "--rounds", "1", "--most", "1000")),
        ("merge", ("--events", "20000", "--items", "2000", "--lanes", "2", "--rounds", "1")),
        ("restore", ("--users", "2000", "--rounds", "1", "--checkpoints")),
        pytest.param("handover", ("--users", "500", "--rate", "200", "--seconds", "3"), marks=pytest.mark.long),
    ],
)
def test_it_measures(binary, real_kafka, name, arguments):
    command = [sys.executable, BENCHES / f"{name}.py", "--brokers", real_kafka, "--build", pathlib.Path(binary).parent, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert re.search(r"\d", done.stdout), done.stderr[-2000:]
