"""Certificates of the tests' own making, by the openssl command; and what a node's configuration says of them."""

import os
import shutil
import subprocess

from conftest import missing

TOKENS = {group: f"{group}-0123456789abcdef" for group in ("read", "learn", "admin")}
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """A CA in a directory of its own; `sign` makes a pair of files there."""

    def __init__(self, directory, name="authority"):
        if not shutil.which("openssl"):
            missing("no openssl command")
        self.directory, self.name = directory, name
        self.pem, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        self.openssl("req", "-x509", *KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.pem)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def sign(self, name, names, days=2):
        """(certificate, key) for `names`, "IP:127.0.0.1,DNS:node"; an existing pair is replaced, each file at once."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        new = [self.directory / f"{name}.new.{kind}" for kind in ("pem", "key", "csr", "ext")]
        new[3].write_text(f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\n")
        self.openssl("req", "-new", *KEY, "-subj", f"/CN={name}", "-keyout", new[1], "-out", new[2])
        self.openssl("x509", "-req", "-in", new[2], "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial", "-days", days,
                     "-extfile", new[3], "-out", new[0])  # fmt: skip
        os.replace(new[0], certificate)
        os.replace(new[1], key)
        return certificate, key


def server_settings(authority, is_mutual=False, **more):
    """A section `server` with TLS, and a token of each group in a file of its own."""
    certificate, key = authority.sign("node", "IP:127.0.0.1,DNS:localhost")
    tokens = []
    for group, token in TOKENS.items():
        file = authority.directory / f"{group}.token"
        file.write_text(token + "\n")
        file.chmod(0o600)
        tokens.append({"name": f"the {group}er", "token": f"file:{file}", "groups": [group]})
    tls = {"certificate": str(certificate), "key": str(key)}
    if is_mutual:
        tls["client_ca"] = str(authority.pem)
    return {"tls": tls, "tokens": tokens, **more}
