"""API keys, tokens and limits of a gateway."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from vllm_operator.api.core import LocalObjectReference
from vllm_operator.api.fields import CelRule, ListMap, Model
from vllm_operator.api.gateway_models import ModelName

KeyId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")]
"""Name of an API key, which logs and limits show instead of the key."""

Timestamp = Annotated[
    str,
    Field(max_length=32, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$"),
]
"""A time (RFC 3339)."""

Audience = Annotated[str, Field(min_length=1, max_length=1024)]
JwksUrl = Annotated[
    str, Field(min_length=1, max_length=1024, pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[!-~]*$")
]
Rate = Annotated[int, Field(ge=1, le=1_000_000_000)]


class KeyReference(Model):
    """A key of a Secret of the same namespace that holds an API key."""

    name: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Name of the Secret.")
    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Key in the Secret.")


class ClientKey(Model):
    """One API key."""

    id: KeyId = Field(description="Name of the key in logs, limits and the header x-vllm-gateway-key.")
    secret_key_ref: KeyReference = Field(
        description="Key of a Secret with the API key itself, or with `sha256:` and its SHA-256 in hexadecimal digits."
    )
    models: Annotated[list[ModelName], Field(max_length=256)] = Field(
        default_factory=list, description="Models that the key may use. Empty: all."
    )
    expires_at: Timestamp | None = Field(
        default=None, description="Time from which the key is refused. Unset: it does not expire."
    )


class Jwt(Model):
    """Tokens of an identity provider (JSON Web Tokens, as OpenID Connect issues them)."""

    issuer: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[!-~]+$")] = Field(
        description="Issuer of the tokens, as their claim `iss` names it, such as https://login.example.com."
    )
    audiences: Annotated[list[Audience], Field(min_length=1, max_length=16)] = Field(
        description="Values of the claim `aud` that are accepted: tokens for other programs are refused."
    )
    jwks_uri: JwksUrl | None = Field(
        default=None,
        description="URL of the public keys of the issuer (JWKS), which are read every five minutes. Unset: jwks.",
    )
    jwks: Annotated[str, Field(max_length=65_536)] | None = Field(
        default=None, description="The public keys themselves, as JSON. Unset: those at jwksUri."
    )
    id_claim: Annotated[str, Field(max_length=256, pattern=r"^[!-~]+$")] = Field(
        default="sub",
        description="Claim that names the client; logs and limits show it as `jwt:` with its value.",
    )
    models_claim: Annotated[str, Field(max_length=256, pattern=r"^[!-~]+$")] | None = Field(
        default=None,
        description="Claim with the models that the client may use: a list, or names with spaces between them. A token "
        "without it may use none. Unset: all models.",
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.jwksUri) != has(self.jwks)",
            "auth.jwt needs the public keys of the issuer once: set jwksUri or jwks",
        ),
    )


class Auth(Model):
    """API keys of the clients, or tokens of an identity provider."""

    api_keys: Annotated[list[ClientKey], Field(max_length=1000), ListMap("id")] = Field(
        default_factory=list, description="Keys one by one."
    )
    secrets: Annotated[list[LocalObjectReference], Field(max_length=64), ListMap("name")] = Field(
        default_factory=list,
        description="Secrets with many keys. Each entry is one key: its name is the id, and its value is the API key, "
        "`sha256:` with its SHA-256, or a JSON object with `key` or `sha256`, `models` and `expiresAt`.",
    )
    jwt: Jwt | None = Field(default=None, description="Tokens of an identity provider. Unset: none are accepted.")

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.apiKeys) && self.apiKeys.size() > 0 || has(self.secrets) && self.secrets.size() > 0 || "
            "has(self.jwt)",
            "auth needs a source of keys: set auth.apiKeys, auth.secrets or auth.jwt, or remove auth",
        ),
    )


class Limit(Model):
    """A limit for each key, or for one of them."""

    key: Annotated[str, Field(max_length=128, pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._@|:/-]*)$")] = Field(
        default="*",
        description="Id of the key, or `jwt:` with the client of a token; * for each of them, counted one by one.",
    )
    model: Annotated[str, Field(max_length=253, pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._:/@-]*)$")] = Field(
        default="*", description="Model that is counted; * for all models together."
    )
    requests_per_minute: Rate | None = Field(default=None, description="Requests in 60 seconds. Unset: no limit.")
    tokens_per_minute: Rate | None = Field(
        default=None,
        description="Tokens of prompts and answers in 60 seconds, counted when an answer ends. Unset: no limit.",
    )
    concurrent: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Requests at once. Unset: no limit."
    )
    max_body_bytes: Annotated[int, Field(ge=1024, le=1_073_741_824)] | None = Field(
        default=None, description="Longest body in bytes. Unset: spec.maxBodyBytes."
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.requestsPerMinute) || has(self.tokensPerMinute) || has(self.concurrent) || "
            "has(self.maxBodyBytes)",
            "a limit needs a number: set requestsPerMinute, tokensPerMinute, concurrent or maxBodyBytes",
        ),
    )
