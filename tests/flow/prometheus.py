"""Debian's Prometheus, with the rules of ops/compose, scraping nodes every second."""

import json
import pathlib
import shutil
import socket
import subprocess
import urllib.parse

import yaml

from node import request, wait_for

OPS = pathlib.Path(__file__).resolve().parents[2] / "ops"
RULES = OPS / "compose/alerts.yml"
DASHBOARDS = sorted((OPS / "compose/grafana/dashboards").glob("*.json"))


def is_here():
    return shutil.which("prometheus") and shutil.which("promtool")


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels():
    """(title, expression) of every query of every panel, for all instances and models."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield panel["title"], target["expr"].replace("$instance", ".+").replace("$model", ".+")


class Prometheus:
    def __init__(self, directory, *targets):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "freshet", "static_configs": [{"targets": list(targets)}]}],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(settings))
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/tsdb",
                f"--web.listen-address={self.address}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=open(directory / "prometheus.log", "wb"),
        )
        wait_for(self.is_ready, "Prometheus is ready")

    def is_ready(self):
        try:
            return request(self.address, "GET", "/-/ready")[0] == 200
        except OSError:
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()

    def get(self, path):
        status, _, body = request(self.address, "GET", path)
        assert status == 200, body
        return json.loads(body)["data"]

    def query(self, expression):
        """The values of an instant vector; NaN is none."""
        found = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))["result"]
        values = [float(one["value"][1]) for one in found]
        return [value for value in values if value == value]
