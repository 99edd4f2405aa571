"""A real broker of the test's own (tests/kafka), which may be stopped, killed and started again; with TLS and passwords if wanted."""

import os
import pathlib
import random
import signal
import socket
import subprocess

from conftest import missing
from node import wait_for

KAFKA = pathlib.Path(__file__).parent.parent / "kafka"
USERS = {"PLAIN": ("plain", "plain-secret-8d1f6a"), "SCRAM-SHA-512": ("scram", "scram-secret-77c02e")}


def free_ports(count):
    """The first of neighbours, below those that connections get by themselves: a broker that starts again finds them free."""
    while True:
        first = random.randrange(15_000, 32_000)
        holders = [socket.socket() for _ in range(count)]
        try:
            for number, holder in enumerate(holders):
                holder.bind(("127.0.0.1", first + number))
            return first
        except OSError:
            pass
        finally:
            for holder in holders:
                holder.close()


def is_open(port, host="127.0.0.1"):
    with socket.socket() as tried:
        tried.settimeout(1)
        return tried.connect_ex((host, port)) == 0


class Broker:
    """`more` are server properties over those of tests/kafka/start; `settings` its environment; `place` a namespace (network.py)."""

    def __init__(self, directory, port=None, more=None, place=None, **settings):
        self.directory, self.port = directory, port or free_ports(2)
        self.place = place
        self.host, self.inside = (place.address, place.inside) if place else ("127.0.0.1", ())
        settings["ADDRESS"] = self.host
        self.address = f"{self.host}:{self.port}"
        self.environment = {**os.environ, "PORT": str(self.port), "DATA": str(directory / "kafka"), "HEAP": "256m", **settings}
        directory.mkdir(parents=True, exist_ok=True)
        if more:
            file = directory / "more.properties"
            file.write_text("".join(f"{name}={value}\n" for name, value in more.items()))
            self.environment["MORE"] = str(file)

    def spawn(self):
        """Begins to start it; start() waits."""
        command = [*self.inside, str(KAFKA / "start")]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def start(self, begun=None):
        process = begun or self.spawn()
        told = process.communicate(timeout=120)[0]
        if process.returncode == 3:
            missing(f"no Apache Kafka here: {told}")
        assert process.returncode == 0, told
        return self

    def is_running(self):
        return (self.directory / "kafka" / "pid").exists()

    def pid(self):
        return int((self.directory / "kafka" / "pid").read_text())

    def kill(self):
        """kill -9; returns when its ports are free again. Of one that does not run: nothing."""
        if not self.is_running():
            return
        os.kill(self.pid(), signal.SIGKILL)
        wait_for(lambda: not any(is_open(self.port + at, self.host) for at in range(2)), "the broker is gone")
        self.stop()

    def stop(self, **settings):
        subprocess.run([str(KAFKA / "stop")], env={**self.environment, **settings}, check=True, capture_output=True, timeout=60)


def secure_properties(authority, port):
    """Beside plaintext on `port`: mutual TLS on port + 2, TLS and a password (USERS) on port + 3."""
    certificate, key = authority.sign("broker", "IP:127.0.0.1,DNS:localhost")
    both = authority.directory / "broker.both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    listeners = ",".join(f"{name}://127.0.0.1:{port + at}" for name, at in (("PLAINTEXT", 0), ("SSL", 2), ("SASL_SSL", 3)))
    name, password = USERS["PLAIN"]
    module = "org.apache.kafka.common.security"
    return {
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{port + 1}",
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL",
        "ssl.keystore.type": "PEM", "ssl.keystore.location": both,
        "ssl.truststore.type": "PEM", "ssl.truststore.location": authority.pem,
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{module}.plain.PlainLoginModule required user_{name}="{password}";',
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
    }  # fmt: skip


def secure_broker(directory, authority):
    """Not started yet; `ssl` and `sasl` are its addresses beside `address`."""
    port = free_ports(4)
    name, password = USERS["SCRAM-SHA-512"]
    broker = Broker(directory, port, secure_properties(authority, port),
                    FORMAT=f"--add-scram=SCRAM-SHA-512=[name={name},password={password}]")  # fmt: skip
    broker.ssl, broker.sasl = f"127.0.0.1:{port + 2}", f"127.0.0.1:{port + 3}"
    return broker
