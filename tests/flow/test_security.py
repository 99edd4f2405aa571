"""TLS, tokens, rates and compression, through stock clients: who is let in, what each may call, what a bomb costs."""

import gzip
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import certificates
import freshet
import settings
from certificates import TOKENS
from clients import SERVICE, Secure, channel_to, output_of, system_tool, tool
from freshet.v1 import feature_pb2
from node import Node, run_cli, wait_for

LOCAL = "127.0.0.1"
QUESTION = json.dumps({"userId": "7", "itemIds": ["1", "2"], "features": ["item_watches"]})


def configuration(**server):
    made = settings.configuration("embedded", partitions=1, catalogue=settings.TINY)
    made["server"] = server
    return made


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certificates.Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return certificates.Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def node(binary, tmp_path_factory, authority):
    """A node with TLS and a token of each group."""
    node = Node(binary, configuration(**certificates.server_settings(authority)), tmp_path_factory.mktemp("secure"))
    try:
        yield node.start()
    finally:
        node.kill()


def curl(node, authority, *options, path=f"{SERVICE}/GetFeatures", body=QUESTION):
    """(exit code, HTTP status, body)."""
    command = [system_tool("curl", "curl"), "-sS", "-m", "20", "--cacert", authority.pem, "-H", "content-type: application/json"]
    done = subprocess.run(
        [*map(str, command), *(("-d", body) if body else ()), "-w", "\n%{http_code}", *map(str, options), f"https://{node.api}/{path}"],
        capture_output=True, text=True,
    )  # fmt: skip
    text, _, status = done.stdout.rpartition("\n")
    return done.returncode, int(status or 0), text


def bearer(group):
    return ("-H", f"authorization: Bearer {TOKENS[group]}")


# ---- Clients (those of the wire, by value: test_clients.py) ----


def test_the_python_client_by_tls_with_a_token(node, authority):
    tls = freshet.TLS(ca=authority.pem)
    with freshet.Client(node.api, tls=tls, token=TOKENS["read"]) as client:
        assert client.get_features(7, [1, 2], features=["item_watches"]).items.shape == (2, 2)
        with pytest.raises(freshet.Error) as failed:
            client.status()
        assert failed.value.code is grpc.StatusCode.PERMISSION_DENIED
    with freshet.Client(node.api, tls=tls, token=TOKENS["admin"]) as client:
        assert client.status().ready
    with freshet.Client(node.api, tls=tls) as client, pytest.raises(freshet.Error) as failed:
        client.get_features(7, [1])
    assert failed.value.code is grpc.StatusCode.UNAUTHENTICATED


def test_grpcurl_lists_services_with_a_token_only(node, authority):
    command = [tool("grpcurl"), "-cacert", str(authority.pem)]
    assert SERVICE in output_of(*command, *bearer("read"), node.api, "list").split()
    refused = subprocess.run([*command, node.api, "list"], capture_output=True, text=True)
    assert refused.returncode != 0 and "Unauthenticated" in refused.stderr


def test_the_command_line_by_tls_with_a_token(node, authority):
    ca = ("--tls-ca", authority.pem)
    token_file = authority.directory / "admin.token"
    done = node.cli("status", *ca, "--token-file", token_file, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["ready"], done.stderr
    with_token = {**os.environ, "FRESHET_TOKEN": TOKENS["read"], "FRESHET_TLS_CA": str(authority.pem)}
    assert node.cli("get", "--items", "1,2", env=with_token).returncode == 0
    for arguments, part in (
        (("digest", *ca), "unauthenticated"),
        (("status",), "--tls-ca"),
        (("status", "--tls-ca", "system"), "unable to get local issuer certificate"),
        (("status", "--tls-ca", authority.directory / "no.pem"), "no.pem"),
        (("status", *ca, "--tls-cert", authority.pem), "--tls-key"),
    ):
        done = node.cli(*arguments)
        assert done.returncode in (1, 2) and part in done.stderr, (arguments, done.stderr)
    done = node.cli("digest", env=with_token)
    assert done.returncode == 1 and "permission_denied" in done.stderr
    port = node.api.rpartition(":")[2]
    done = run_cli(node.binary, "status", *ca, "--token-file", token_file, "--api", f"127.0.0.2:{port}")
    assert done.returncode == 1  # nobody listens there, or somebody of another name


# ---- TLS ----


def handshake(node, authority, low=ssl.TLSVersion.TLSv1_2, high=ssl.TLSVersion.TLSv1_3, alpn=(), pair=None, host=LOCAL):
    """An open TLS socket."""
    context = ssl.create_default_context(cafile=str(authority.pem))
    context.minimum_version, context.maximum_version = low, high
    context.set_ciphers("ALL:@SECLEVEL=0")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if pair:
        context.load_cert_chain(*map(str, pair))
    name, _, port = node.api.rpartition(":")
    return context.wrap_socket(socket.create_connection((name, int(port)), timeout=20), server_hostname=host)


def ask(connection, token=None):
    """One call by HTTP/1.1 on an open socket: the HTTP status; 0 when the connection ends."""
    head = f"POST /{SERVICE}/GetFeatures HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    try:
        connection.sendall(f"{head}Content-Length: {len(QUESTION)}\r\n\r\n{QUESTION}".encode())
        reply = connection.recv(65536)
    except OSError:
        return 0
    return int(reply.split(b" ")[1]) if reply else 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_this_age_is_spoken(node, authority, version):
    with handshake(node, authority, version, version) as connection:
        assert ask(connection, TOKENS["read"]) == 200
        assert connection.selected_alpn_protocol() is None  # told from its first bytes


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_tls_is_refused(node, authority, version):
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION|protocol version"):
        handshake(node, authority, version, version)


def test_h2_is_agreed_before_http1_and_nothing_else(node, authority):
    for offered, agreed in ((("h2", "http/1.1"), "h2"), (("http/1.1", "h2"), "h2"), (("http/1.1",), "http/1.1")):
        with handshake(node, authority, alpn=offered) as connection:
            assert connection.selected_alpn_protocol() == agreed
    with pytest.raises(ssl.SSLError, match="NO_APPLICATION_PROTOCOL|no application protocol"):
        handshake(node, authority, alpn=("spdy/3",))


def test_a_client_tells_a_wrong_host_and_a_stranger(node, authority, stranger):
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(node, authority, host="other.example")
    assert curl(node, stranger, *bearer("read"))[0] == 60


def test_only_good_clients_are_let_in_where_they_show_certificates(make_node, authority, stranger):
    server = certificates.server_settings(authority, is_mutual=True)
    server["tokens"].append({"name": "by certificate", "certificate": "ranker.example", "groups": ["read"]})
    node = make_node(configuration(**server)).start()
    good = authority.sign("ranker", "DNS:ranker.example")
    pairs = {
        "good": good,
        "expired": authority.sign("expired", "DNS:ranker.example", days=-1),
        "stranger": stranger.sign("ranker", "DNS:ranker.example"),
        "self-signed": (stranger.pem, stranger.key),
        "other": authority.sign("other", "DNS:other.example"),
        "none": None,
    }
    for name, pair in pairs.items():
        for options in (("--http1.1",), ("--http2",)):
            pair_options = ("--cert", pair[0], "--key", pair[1]) if pair else ()
            code, status, _ = curl(node, authority, *options, *pair_options)
            if name == "good":
                assert (code, status) == (0, 200)
            elif name == "other":  # a client of ours that nobody gave anything …
                assert (code, status) == (0, 401)
                assert curl(node, authority, *options, *pair_options, *bearer("read"))[1] == 200  # … unless it has a token
            else:
                assert (code, status) in ((56, 0), (35, 0), (55, 0), (92, 0), (16, 0)), (name, code, status)
    # A token counts alone: one that nobody has is not made good by the certificate.
    wrong = ("-H", "authorization: Bearer nobody-0123456789abcdef")
    assert curl(node, authority, "--cert", good[0], "--key", good[1], *wrong)[1] == 401
    assert "by certificate" not in node.log()  # no admin call, no line
    assert node.cli("get", "--items", "1", "--tls-ca", authority.pem, "--tls-cert", good[0], "--tls-key", good[1]).returncode == 0


def test_a_changed_certificate_under_load_fails_no_handshake(make_node, tmp_path):
    """Clients come and go while certificate and key are replaced, one file after the other."""
    authority = certificates.Authority(tmp_path)
    node = make_node(configuration(**certificates.server_settings(authority))).start()
    failures, serials, done = [], set(), threading.Event()

    def come_and_go():
        while not done.is_set():
            try:
                with handshake(node, authority) as connection:
                    if ask(connection, TOKENS["read"]) != 200:
                        failures.append("no answer")
                    serials.add(connection.getpeercert()["serialNumber"])
            except OSError as error:
                failures.append(repr(error))

    old = handshake(node, authority)
    clients = [threading.Thread(target=come_and_go) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for times in (2, 3):
            authority.sign("node", "IP:127.0.0.1")
            wait_for(lambda times=times: len(serials) >= times or failures, f"certificate {times} in use", 20)
        (tmp_path / "node.pem").write_text("broken")
        failed = 'freshet_tls_reloads_total{result="failed"} 1'
        wait_for(lambda: failed in node.page("/metrics")[2].decode(), "the broken one is told", 20)
        seen = len(serials)
    finally:
        done.set()
        for client in clients:
            client.join()
    assert not failures, failures[:3]
    assert len(serials) == seen == 3
    assert ask(old, TOKENS["read"]) == 200
    assert "the old certificate stays" in node.log()
    old.close()


# ---- Who may call what ----

GROUP_OF = {
    "freshet.v1.FeatureService": "read",
    "freshet.v1.RecallService": "read",
    "freshet.v1.AdminService": "admin",
    "grpc.reflection.v1.ServerReflection": "read",
    "grpc.reflection.v1alpha.ServerReflection": "read",
    "grpc.health.v1.Health": None,
    "freshet.v1.ModelService": "read",
}
GROUP_OF_METHOD = {
    ("freshet.v1.ModelService", "Pull"): "learn",
    ("freshet.v1.ModelService", "Push"): "learn",
    ("freshet.v1.ModelService", "Change"): "admin",
    ("freshet.v1.AdminService", "Cluster"): "read",  # who reads has to know where
}


def group_of(service, method):
    return GROUP_OF_METHOD.get((service, method), GROUP_OF[service])


def methods_of(api):
    """Every method that the node's descriptors have, whether this version serves it or not."""
    with channel_to(api) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        for service in database.get_services():
            for method in pool.FindServiceByName(service).methods:
                yield service, method.name, method.client_streaming, method.server_streaming


def outcome(channel, service, method, is_many, is_stream, token):
    """How the call ends, or OK when it does not at once: a stream that is let in waits."""
    kind = f"{'stream' if is_many else 'unary'}_{'stream' if is_stream else 'unary'}"
    call = getattr(channel, kind)(f"/{service}/{method}", request_serializer=bytes, response_deserializer=bytes)
    metadata = [("authorization", f"Bearer {token}")] if token else []
    try:
        reply = call(iter([b""]) if is_many else b"", metadata=metadata, timeout=1 if is_stream else 30)
        if is_stream:
            next(reply)
            reply.cancel()
    except StopIteration:
        pass
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_the_authorisation_matrix(node, authority):
    tokens = {"none": None, "wrong": "nobody-0123456789abcdef", **TOKENS}
    methods = list(methods_of(Secure(node.api, authority.pem, TOKENS["read"])))
    served, refusals = [], {"UNAUTHENTICATED", "PERMISSION_DENIED"}
    tls = grpc.ssl_channel_credentials(authority.pem.read_bytes())
    with grpc.secure_channel(node.api, tls) as channel:
        for service, method, is_many, is_stream in methods:
            group = group_of(service, method)
            codes = {name: outcome(channel, service, method, is_many, is_stream, token) for name, token in tokens.items()}
            if set(codes.values()) == {"UNIMPLEMENTED"}:
                continue
            served.append(method)
            for name, code in codes.items():
                if group is None or name == group:
                    assert code not in refusals, (service, method, name, code)
                elif name in ("none", "wrong"):
                    assert code == "UNAUTHENTICATED", (service, method, name, code)
                else:
                    assert code == "PERMISSION_DENIED", (service, method, name, code)
    assert len(served) >= 13, served


def test_a_token_is_changed_in_its_file_while_the_node_serves(node, authority):
    file, newer = authority.directory / "learn.token", "newer-0123456789abcdef"

    def status_of(token):
        """403 where it is known, because it is not for reading, else 401."""
        return curl(node, authority, "-H", f"authorization: Bearer {token}")[1]

    def put(text):
        fresh = file.with_suffix(".new")
        fresh.write_text(text + "\n")
        fresh.chmod(0o600)
        os.replace(fresh, file)

    assert (status_of(newer), status_of(TOKENS["learn"])) == (401, 403)
    try:
        put(newer)
        wait_for(lambda: status_of(newer) == 403, "the new token is known", 20)
        assert status_of(TOKENS["learn"]) == 401
        put("too short")
        failed = 'freshet_token_reloads_total{result="failed"} 1'
        wait_for(lambda: failed in node.page("/metrics")[2].decode(), "the broken one is told", 20)
        assert status_of(newer) == 403
    finally:
        put(TOKENS["learn"])
    wait_for(lambda: status_of(TOKENS["learn"]) == 403, "the first token is known again", 20)
    assert "the old one stays" in node.log() and newer not in node.log()


def test_calls_of_administrators_leave_a_line(node, authority):
    for group in ("admin", "read"):
        curl(node, authority, *bearer(group), path="freshet.v1.AdminService/Digest", body="{}")
    curl(node, authority, path="freshet.v1.AdminService/Digest", body="{}")
    curl(node, authority, *bearer("read"))
    log = node.log()
    lines = [line for line in log.splitlines() if " audit: " in line and "AdminService/Digest" in line]
    for who, how in (("the adminer", "ok"), ("the reader", "permission_denied"), ("127.0.0.1", "unauthenticated")):
        assert any(f'"{who}" called' in line and f": {how}" in line and "from 127.0.0.1:" in line for line in lines), lines
    assert "GetFeatures" not in log
    assert not any(token in log for token in TOKENS.values())


def test_a_node_on_the_network_asks_even_its_operations_port(make_node, authority):
    """Off loopback: TLS on both ports, /status for administrators, names only that are listed."""
    addresses = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
    address = next((one for one in addresses if re.fullmatch(r"[0-9.]+", one)), None)
    if not address:
        pytest.skip("this machine has no address but the loopback")
    server = certificates.server_settings(authority, listen="0.0.0.0:0", operations="0.0.0.0:0", hosts=["node.example"])
    certificate, key = authority.sign("network", f"IP:127.0.0.1,IP:{address}")
    server["tls"] = {"certificate": str(certificate), "key": str(key)}
    node = make_node(configuration(**server)).start(is_ready=False)
    port = node.operations.rpartition(":")[2]

    def page(path, *options, host=None, scheme="https", at=address):
        headers = ("-H", f"host: {host}") if host else ()
        command = ["curl", "-sS", "-m", "20", "--cacert", authority.pem, "-o", "/dev/null", "-w", "%{http_code}", *headers]
        command += [*options, f"{scheme}://{at}:{port}{path}"]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True).stdout

    assert page("/status", *bearer("admin")) == "200"
    assert page("/status", *bearer("read")) == "403"
    assert page("/status") == "401"
    assert page("/status", at=LOCAL) == "200"
    for path in ("/lookup?user=1", "/explain?entity=item&key=1&feature=item_watches"):
        assert page(path) == "401" and page(path, *bearer("read")) == "403"
        assert page(path, *bearer("admin")) not in ("401", "403") and page(path, at=LOCAL) not in ("401", "403")
        assert page(path, *bearer("admin"), host="evil.example") == "421"
    assert [page(path) for path in ("/top?list=t", "/recent", "/describe", "/history")] == ["401"] * 4
    assert page("/") == page("/page.js") == "200"
    assert page("/healthz") == page("/metrics") == "200"
    assert page("/healthz", host="evil.example") == "421"
    assert page("/healthz", host=f"node.example:{port}") == "200"
    assert page("/healthz", scheme="http") == "000"


# ---- Rates ----


def test_who_calls_too_often_is_told_when_to_retry(make_node, authority):
    server = certificates.server_settings(authority, limits={"rate": 1, "burst": 3})
    node = make_node(configuration(**server)).start()
    with channel_to(Secure(node.api, authority.pem, TOKENS["read"])) as channel:
        call = channel.unary_unary(f"/{SERVICE}/GetFeatures", request_serializer=bytes, response_deserializer=bytes)
        for _ in range(3):
            call(b"", timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    pushback = dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"]
    assert 0 < int(pushback) <= 1001 and "'the reader'" in caught.value.details()
    assert curl(node, authority, *bearer("read"))[1] == 429  # the same principal, whichever way it comes
    assert curl(node, authority, *bearer("admin"), path="freshet.v1.AdminService/Status", body="{}")[1] == 200
    assert 'freshet_refused_calls_total{reason="rate"}' in node.page("/metrics")[2].decode()


# ---- Compression ----


def test_grpc_messages_are_compressed_both_ways(node, authority):
    request = feature_pb2.GetFeaturesRequest(item_ids=range(1, 1001), features=["item_watches"])
    with channel_to(Secure(node.api, authority.pem, TOKENS["read"])) as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/GetFeatures", request_serializer=type(request).SerializeToString,
            response_deserializer=feature_pb2.GetFeaturesResponse.FromString,
        )  # fmt: skip
        plain, packed = call(request, timeout=20), call(request, timeout=20, compression=grpc.Compression.Gzip)
        assert len(packed.item_values) == 2000
        plain.ClearField("request_id")
        packed.ClearField("request_id")
        assert plain == packed


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_json_is_compressed_both_ways(node, authority, tmp_path, version):
    question = json.dumps({"itemIds": list(range(1, 1001)), "features": ["item_watches"]})
    (tmp_path / "question.gz").write_bytes(gzip.compress(question.encode()))
    packed = (version, *bearer("read"), "--compressed", "-H", "content-encoding: gzip", "-D", tmp_path / "head", "--data-binary")
    code, status, body = curl(node, authority, *packed, f"@{tmp_path}/question.gz", body="")
    assert (code, status) == (0, 200), body
    assert "content-encoding: gzip" in (tmp_path / "head").read_text().lower()
    assert len(json.loads(body)["itemValues"]) == 2000


def peak_bytes(node):
    text = open(f"/proc/{node.process.pid}/status").read()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1)) << 10


def test_bombs_are_refused_at_the_cap(node, authority, tmp_path):
    """64 MiB in 64 KiB, four at a time: each costs what a message of 4 MiB does."""
    packer = gzip.GzipFile(tmp_path / "bomb.gz", "wb", compresslevel=9)
    zeros = bytes(1 << 20)
    for _ in range(64):
        packer.write(zeros)
    packer.close()
    options = (*bearer("read"), "-H", "content-encoding: gzip", "--data-binary", f"@{tmp_path}/bomb.gz")
    assert curl(node, authority, *options, body="")[1] == 429
    before = peak_bytes(node)
    answers = []
    for _ in range(4):
        bombs = [threading.Thread(target=lambda: answers.append(curl(node, authority, *options, body=""))) for _ in range(4)]
        for bomb in bombs:
            bomb.start()
        for bomb in bombs:
            bomb.join()
    assert [(code, status) for code, status, _ in answers] == [(0, 429)] * 16
    assert all("resource_exhausted" in body and "server.limits.message" in body for _, _, body in answers)
    assert peak_bytes(node) - before < 32 << 20


# ---- Age ----


def test_a_client_that_stays_is_sent_on_and_fails_no_call(make_node, authority):
    server = certificates.server_settings(authority, limits={"age": "1s", "grace": "1s"})
    node = make_node(configuration(**server)).start()
    aged = re.compile(r"freshet_connections_aged_total (\d+)")
    with freshet.Client(node.api, tls=freshet.TLS(ca=authority.pem), token=TOKENS["read"], retries=0) as client:
        end = time.monotonic() + 20
        while int(aged.search(node.page("/metrics")[2].decode()).group(1)) < 2:
            client.get_features(7, [1])
            assert time.monotonic() < end
