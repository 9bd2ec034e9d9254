from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vllm_operator.gateway.public_keys import has_public_key


def text(value: int | bytes) -> str:
    data = value if isinstance(value, bytes) else value.to_bytes((value.bit_length() + 7) // 8 or 1, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


NUMBERS = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key().public_numbers()
POINT = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
EDWARDS = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
RSA: dict[str, Any] = {"kty": "RSA", "n": text(NUMBERS.n), "e": text(NUMBERS.e)}
EC: dict[str, Any] = {"kty": "EC", "crv": "P-256", "x": text(POINT.x), "y": text(POINT.y)}
OKP: dict[str, Any] = {"kty": "OKP", "crv": "Ed25519", "x": text(EDWARDS)}
OCT = {"kty": "oct", "k": "c2VjcmV0"}


def keys(*found: Any) -> str:
    return json.dumps({"keys": list(found)})


@pytest.mark.parametrize("key", [RSA, EC, OKP, {**RSA, "alg": "PS512", "kid": "1", "use": "sig"}])
def test_a_usable_key_is_enough(key: dict[str, Any]) -> None:
    assert has_public_key(keys(key))
    assert has_public_key(keys({"kty": "RSA", "n": "x"}, key, {"kty": "new"}))


@pytest.mark.parametrize(
    "given",
    [
        "",
        "[]",
        "{",
        "{}",
        "[" * 60_000,
        keys(),
        keys(5),
        keys(OCT),
        keys(RSA, OCT),
        '{"keys": {"kty": "RSA"}}',
        keys({"kty": "RSA"}),
        keys({**RSA, "n": "x"}),
        keys({**RSA, "n": 5}),
        keys({**RSA, "e": text(2)}),
        keys({**RSA, "n": "A" * 60_000}),
        keys({**RSA, "alg": "HS256"}),
        keys({**EC, "y": text(POINT.y + 1)}),
        keys({**EC, "crv": "P-1"}),
        keys({**EC, "alg": "ES512"}),
        keys({**OKP, "x": "AA"}),
        keys({**OKP, "crv": "X25519"}),
    ],
    # The keys are new in each process.
    ids=lambda _: "given",
)
def test_what_holds_no_usable_public_key_is_refused(given: str) -> None:
    assert not has_public_key(given)
