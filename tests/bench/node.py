"""A node under a benchmark, and what the kernel says of a process."""
import http.client
import json
import os
import signal
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Node:
    def __init__(self, binary, brokers, path, config, settings=(), log=None):
        command = [binary, "run", "--config", os.path.join(HERE, config)]
        for setting in (f"kafka.brokers={brokers}", f"store.path={path}", "server.listen=127.0.0.1:0", "server.operations=127.0.0.1:0",
                        "store.memory=4GiB", *settings):
            command += ["--set", setting]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.addresses = json.loads(self.process.stdout.readline())

    def call(self, method, body):
        connection = http.client.HTTPConnection(self.addresses["api"], timeout=60)
        connection.request("POST", f"/freshet.v1.{method}", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return json.loads(response.read())

    def wait(self, events):
        while True:
            status = self.call("AdminService/Status", {})
            if int(status["appliedEvents"]) >= events and int(status["lagEvents"]) == 0:
                return status
            time.sleep(0.02)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
