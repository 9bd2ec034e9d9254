"""Read a JSON Web Key Set (RFC 7517), to refuse one that Envoy would refuse together with the whole listener. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from vllm_operator.api.gateway_access import Auth
from vllm_operator.errors import InvalidSpecError

CURVES: dict[str, tuple[ec.EllipticCurve, str]] = {
    "P-256": (ec.SECP256R1(), "ES256"),
    "P-384": (ec.SECP384R1(), "ES384"),
    "P-521": (ec.SECP521R1(), "ES512"),
}
"""Curve by its name in a key, and its algorithm (RFC 7518)."""
RSA_ALGORITHMS = frozenset(f"{kind}{size}" for kind in ("RS", "PS") for size in (256, 384, 512))
MIN_RSA_BITS, MAX_RSA_BITS = 1024, 16_384


def check_public_keys(auth: Auth | None) -> None:
    """Refuse a key set of the spec without a usable public key.

    Raises:
        InvalidSpecError: names the field.
    """
    jwks = auth.jwt.jwks if auth and auth.jwt else None
    if jwks is not None and not has_public_key(jwks):
        raise InvalidSpecError(
            "spec.auth.jwt.jwks",
            'no JSON Web Key Set of public keys: copy what the issuer publishes, {"keys": [{"kty": "RSA", …}]}',
        )


def has_public_key(text: str) -> bool:
    """Return whether a text is a set with a usable public key, and without a shared secret."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        return False
    return not any(key.get("kty") == "oct" for key in keys) and any(_is_usable(key) for key in keys)


def _is_usable(key: Mapping[str, Any]) -> bool:
    readers = {"RSA": _is_rsa, "EC": _is_elliptic, "OKP": _is_edwards}
    reader = readers.get(str(key.get("kty")))
    try:
        return reader is not None and reader(key)
    except (KeyError, ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        return False


def _is_rsa(key: Mapping[str, Any]) -> bool:
    n, e = _integer(key["n"]), _integer(key["e"])
    if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS:
        return False
    rsa.RSAPublicNumbers(e, n).public_key()
    return key.get("alg", "RS256") in RSA_ALGORITHMS


def _is_elliptic(key: Mapping[str, Any]) -> bool:
    curve, algorithm = CURVES[str(key["crv"])]
    ec.EllipticCurvePublicNumbers(_integer(key["x"]), _integer(key["y"]), curve).public_key()
    return bool(key.get("alg", algorithm) == algorithm)


def _is_edwards(key: Mapping[str, Any]) -> bool:
    ed25519.Ed25519PublicKey.from_public_bytes(_bytes(key["x"]))
    return key.get("crv") == "Ed25519" and key.get("alg", "EdDSA") == "EdDSA"


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) > MAX_RSA_BITS:
        raise ValueError("no base64url")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _integer(text: Any) -> int:
    return int.from_bytes(_bytes(text), "big")
