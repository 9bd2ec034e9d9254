"""Issue the serving certificate by a separate certificate authority, and judge one that exists.

The key of the authority is thrown away after its one signature: each renewal has a new authority, and the bundle holds
the one before as well, so that every replica is trusted while they change over.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

VALID_DAYS = 365
RENEW_DAYS = 120
"""Days before the end at which a new certificate is issued."""
CLOCK_SKEW = timedelta(hours=1)
"""Time by which the clock of an API server may be behind."""
_PEM_END = "-----END CERTIFICATE-----\n"


@dataclass(frozen=True)
class ServingCertificate:
    """A serving certificate with its key, and the authorities that callers trust; all in PEM."""

    certificate: str
    key: str = ""
    authorities: str = ""


def issue(host: str, now: datetime, former: str = "") -> ServingCertificate:
    """Return a new certificate for a host, signed by a new authority.

    Args:
        host: DNS name under which the API server calls, such as `vllm-operator.vllm-operator-system.svc`.
        now: the present time in UTC.
        former: the bundle before, of which the newest authority stays trusted.
    """
    # 8 MB of memory that only the process that issues needs.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(authority_name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + timedelta(days=VALID_DAYS))
        )

    authority_name = f"vllm-operator-metrics-ca@{int(now.timestamp())}"
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    authority = (
        builder(authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    signed = (
        # A common name has 64 characters at most; callers compare the alternative name.
        builder(host[:64], key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    newest = former.partition(_PEM_END)
    return ServingCertificate(
        signed.public_bytes(encoding).decode(),
        private.decode(),
        authority.public_bytes(encoding).decode() + newest[0] + newest[1],
    )


def server_context(serving: ServingCertificate, client_ca: str) -> ssl.SSLContext:
    """Return the context of a server that accepts only clients with a certificate of `client_ca`.

    Raises:
        ValueError: a certificate or the key cannot be read.
    """
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _load_chain(context, serving)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=client_ca)
    except (OSError, ValueError) as error:
        raise ValueError(f"the certificate or its key cannot be read: {error}") from error
    return context


def _load_chain(context: ssl.SSLContext, serving: ServingCertificate) -> None:
    """Load certificate and key, which `ssl` reads from files only, through a file in memory: the disk is read-only."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        content = memoryview((serving.certificate + serving.key).encode())
        while content:
            content = content[os.write(descriptor, content) :]
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: "")
    finally:
        os.close(descriptor)


def expiry(serving: ServingCertificate, host: str) -> datetime:
    """Return the time at which a certificate ends, after a handshake in memory as the API server would make it.

    Raises:
        ValueError: it is expired, signed by no authority of the bundle, for another host, or unreadable.
    """
    try:
        server_side = server_context(serving, "")
        client = ssl.create_default_context(cadata=serving.authorities)
    except (OSError, ValueError) as error:
        raise ValueError(str(error)) from error
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server_side.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):  # a handshake takes two rounds
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                raise ValueError(f"callers would refuse the certificate: {error.reason}") from error
    certificate = sides[0].getpeercert() or {}
    ends = str(certificate.get("notAfter", ""))
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)
