"""Describe TLS verification errors for the user."""

from __future__ import annotations

import ssl

import aiohttp

UNKNOWN_SIGNER = frozenset({2, 7, 18, 19, 20, 21, 30})
"""X509_V_ERR_* of OpenSSL's x509_vfy.h: the issuer is unknown, or has another key than the known one."""


def describe_tls_error(error: Exception, authority: str) -> str:
    """Return the message for a call without an answer.

    Args:
        error: the exception of the call.
        authority: where the CA of the API server comes from.
    """
    if not isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error) or type(error).__name__
    cause = error.certificate_error
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return str(error)
    message = f"its certificate is not trusted ({cause.verify_message})"
    if cause.verify_code not in UNKNOWN_SIGNER:
        return message
    return f"{message}: it is not signed by the CA in {authority}, which is read again until it is"
