"""What is said of an API server whose certificate is not trusted."""

from __future__ import annotations

import ssl

import aiohttp

UNKNOWN_SIGNER = frozenset({2, 7, 18, 19, 20, 21, 30})
"""X509_V_ERR_* of OpenSSL's x509_vfy.h: an issuer that is not known, or only by name, since its key is another one."""


def describe_tls_error(error: Exception, authority: str) -> str:
    """What went wrong with a call.

    Args:
        error: as the call ended.
        authority: where the CA stands by which the API server is known.
    """
    if not isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error) or type(error).__name__
    cause = error.certificate_error
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return str(error)
    told = f"its certificate is not trusted ({cause.verify_message})"
    if cause.verify_code not in UNKNOWN_SIGNER:
        return told
    return f"{told}: it is not signed by the CA in {authority}, which is read again until it is"
