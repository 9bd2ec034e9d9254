"""A certificate authority of the cluster's own, the certificates of its parts, and kubeconfigs for them."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster.shell import run

DAYS = "3650"
EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


@dataclass(frozen=True)
class Identity:
    """The owner of a certificate: file name, subject as OpenSSL writes it, and names that it serves under."""

    name: str
    subject: str
    serves: tuple[str, ...] = ("DNS:localhost",)


@dataclass(frozen=True)
class Authority:
    """The folder of keys and certificates."""

    folder: Path

    def certificate(self, name: str) -> Path:
        """Return the path of an identity's certificate; `ca` is the authority's own."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Return the path of an identity's private key; `sa` signs the tokens of service accounts."""
        return self.folder / f"{name}.key"

    def ensure(self, identities: list[Identity]) -> None:
        """Create what is missing: the authority, the token key, and each identity's key and certificate."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.certificate("ca").exists():
            self._self_sign()
        if not (self.folder / "sa.pub").exists():
            run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", self.key("sa")])
            run(["openssl", "ec", "-in", self.key("sa"), "-pubout", "-out", self.folder / "sa.pub"])
        absent = [identity for identity in identities if not self.certificate(identity.name).exists()]
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._issue, absent))

    def _self_sign(self) -> None:
        subject = ["-subj", "/CN=vllm-operator-test-ca", "-days", DAYS]
        run(["openssl", "req", "-x509", *EC_KEY, "-keyout", self.key("ca"),
             "-out", self.certificate("ca"), *subject])  # fmt: skip

    def _issue(self, identity: Identity) -> None:
        request = self.folder / f"{identity.name}.csr"
        extensions = self.folder / f"{identity.name}.ext"
        extensions.write_text(f"subjectAltName={','.join(identity.serves)}\nextendedKeyUsage=serverAuth,clientAuth\n")
        run(["openssl", "req", *EC_KEY, "-keyout", self.key(identity.name), "-out", request,
             "-subj", identity.subject])  # fmt: skip
        certificate = self.certificate(identity.name)
        temporary = certificate.with_suffix(".new")
        run(["openssl", "x509", "-req", "-in", request, "-CA", self.certificate("ca"),
             "-CAkey", self.key("ca"), "-days", DAYS, "-extfile", extensions, "-out", temporary])  # fmt: skip
        temporary.replace(certificate)

    def write_kubeconfig(self, path: Path, identity: str, server: str) -> None:
        """Write a kubeconfig that refers to the files of this folder (JSON is YAML, too)."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "vllm-operator",
                    "cluster": {"server": server, "certificate-authority": str(self.certificate("ca"))},
                }
            ],
            "users": [
                {
                    "name": identity,
                    "user": {
                        "client-certificate": str(self.certificate(identity)),
                        "client-key": str(self.key(identity)),
                    },
                }
            ],
            "contexts": [{"name": "vllm-operator", "context": {"cluster": "vllm-operator", "user": identity}}],
            "current-context": "vllm-operator",
        }
        text = json.dumps(config, indent=1)
        # Some readers exit or reload when their file changes: write it only then.
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
