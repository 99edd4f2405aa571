"""The simulation of a cluster beside real instances: calibrated here, then other configurations of 1, 2 and 3."""

import pathlib
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.long, pytest.mark.alone]
SIM = pathlib.Path(__file__).resolve().parent.parent / "sim"


def test_it_says_within_a_fifth_what_instances_take(binary, real_kafka, tmp_path):
    common = ("--brokers", real_kafka, "--build", str(binary.parent), "--file", str(tmp_path / "measured.json"))
    for script in ("calibrate.py", "validate.py"):
        done = subprocess.run([sys.executable, SIM / script, *common], stdout=subprocess.PIPE, text=True, timeout=900)
        print(done.stdout)
        assert done.returncode == 0, done.stdout[-4000:]
