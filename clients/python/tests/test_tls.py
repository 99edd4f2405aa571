"""TLS with certificates of the test's own making."""

import shutil
import subprocess

import grpc
import pytest

import freshet
import stub
from conftest import missing


class Authority:
    """A CA that signs what it is asked to."""

    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        self.openssl("req", "-x509", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        self.pem = directory / f"{name}.pem"

    def openssl(self, *arguments):
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        subprocess.run(["openssl", *arguments[:1], *key, *arguments[1:]], cwd=self.directory, check=True, capture_output=True)

    def sign(self, name, names):
        """(certificate, key) for the host `names`, as paths."""
        ca = ["-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        self.openssl("req", "-x509", *ca, "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}",
                     "-addext", "basicConstraints=critical,CA:FALSE", *files)  # fmt: skip
        return self.directory / f"{name}.pem", self.directory / f"{name}.key"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    if not shutil.which("openssl"):
        missing("no openssl command")
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture
def tls_node(authority):
    made = []

    def make(names="IP:127.0.0.1", is_mutual=False):
        certificate, key = authority.sign("node", names)
        credentials = grpc.ssl_server_credentials(
            [(key.read_bytes(), certificate.read_bytes())], authority.pem.read_bytes() if is_mutual else None, is_mutual
        )
        node = stub.Node(credentials)
        made.append(node)
        return node.__enter__()

    yield make
    for node in made:
        node.__exit__()


def test_a_node_with_a_known_certificate(tls_node, authority, connect):
    node = tls_node()
    connect(node.target, tls=freshet.TLS(ca=authority.pem), token="t").status()
    assert node.calls[0][2]["authorization"] == "Bearer t"


def test_pem_may_be_given_as_bytes_and_paths_as_strings(tls_node, authority, connect):
    node = tls_node()
    connect(node.target, tls=freshet.TLS(ca=authority.pem.read_bytes())).status()
    connect(node.target, tls=freshet.TLS(ca=str(authority.pem))).status()


def refused(client):
    with pytest.raises(freshet.Error) as failed:
        client.status()
    assert failed.value.code is grpc.StatusCode.UNAVAILABLE


def test_a_node_that_another_authority_signed_is_refused(tls_node, authority, connect, tmp_path):
    node = tls_node()
    stranger = Authority(tmp_path, "stranger")
    refused(connect(node.target, tls=freshet.TLS(ca=stranger.pem), retries=0))
    assert not node.calls


def test_the_name_in_the_certificate_counts(tls_node, authority, connect):
    node = tls_node("DNS:freshet.test")
    refused(connect(node.target, tls=freshet.TLS(ca=authority.pem), retries=0))
    connect(node.target, tls=freshet.TLS(ca=authority.pem, server_name="freshet.test")).status()


def test_a_node_that_asks_for_the_clients_certificate(tls_node, authority, connect):
    node = tls_node(is_mutual=True)
    certificate, key = authority.sign("ranker", "DNS:ranker")
    refused(connect(node.target, tls=freshet.TLS(ca=authority.pem), retries=0))
    assert not node.calls
    connect(node.target, tls=freshet.TLS(ca=authority.pem, cert=certificate, key=key)).status()


def test_plaintext_to_tls_is_refused(tls_node, connect):
    refused(connect(tls_node().target, retries=0))


def test_a_certificate_comes_with_its_key():
    with pytest.raises(ValueError, match="cert and key together"):
        freshet.TLS(cert="a.pem")


def test_the_key_is_not_shown():
    assert "PRIVATE" not in repr(freshet.TLS(cert=b"c", key=b"PRIVATE"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.pem"):
        freshet.Client("127.0.0.1:1", tls=freshet.TLS(ca=tmp_path / "nowhere.pem"))
