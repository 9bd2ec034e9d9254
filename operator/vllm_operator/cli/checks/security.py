"""Items about API key, TLS, rate limits and audit."""

from __future__ import annotations

from vllm_operator.cli.checks.item import CheckItem, CheckResult, CheckSubject, does_not_apply, passes
from vllm_operator.cli.sanitize import clean

SECTION = "Security"


def api_key(subject: CheckSubject) -> CheckResult:
    """Judge the API key."""
    reference = subject.spec.security.api_key_secret_ref
    if reference is not None:
        return passes(f"clients must send the key of Secret {clean(reference.name)} (security.apiKeySecretRef)")
    if subject.is_public:
        return CheckResult(
            "fail",
            f"service.type is {subject.spec.service.type}, and no API key is set: everyone who reaches it may use it",
            "set security.apiKeySecretRef",
        )
    if subject.routes:
        return CheckResult(
            "fail", f"no API key is set, and {', '.join(subject.routes)} leads to it", "set security.apiKeySecretRef"
        )
    return CheckResult(
        "warn",
        "no API key is set: every pod of the cluster may use the server",
        "set security.apiKeySecretRef, or keep others out by a NetworkPolicy",
    )


def tls(subject: CheckSubject) -> CheckResult:
    """Judge TLS in front of the Service: vLLM itself answers plain HTTP."""
    remedy = "terminate TLS in front: an Ingress or Gateway with a certificate, or the annotations of the load balancer"
    if subject.routes:
        plain = [route for route in subject.routes if "TLS" not in route]
        if plain:
            return CheckResult("fail", f"{', '.join(plain)} leads to the Service without TLS", remedy)
        return passes(f"{', '.join(subject.routes)} terminates TLS")
    if not subject.is_public:
        looked = "no Ingress and no HTTPRoute leads to it" if subject.routes is not None else "unknown what leads to it"
        return does_not_apply(f"service.type is ClusterIP: plain HTTP inside the cluster; {looked}")
    if subject.spec.service.annotations:
        return CheckResult(
            "unknown",
            f"service.type is {subject.spec.service.type}, with annotations that may configure TLS",
            f"check them, or {remedy}",
        )
    return CheckResult("fail", f"service.type is {subject.spec.service.type}, and answers plain HTTP", remedy)


def rate_limits(subject: CheckSubject) -> CheckResult:
    """Judge rate limits, which vLLM does not have."""
    return CheckResult(
        "unknown",
        "neither vLLM nor the Service limits the requests of a client, and a gateway in front is not seen from here",
        "limit them at the gateway: by key or client address",
    )


def audit(subject: CheckSubject) -> CheckResult:
    """Judge the audit of requests."""
    if subject.flag("--enable-log-requests") is not None:
        return passes("--enable-log-requests: vLLM logs each request with its prompt; keep the logs accordingly")
    return CheckResult(
        "unknown",
        "vLLM logs no requests, and a gateway in front is not seen from here",
        "if you must audit, log at the gateway, or add --enable-log-requests to engine.extraArgs (it logs prompts)",
    )


ITEMS = (
    CheckItem("api-key", SECTION, "API key", api_key),
    CheckItem("tls", SECTION, "TLS in front of the Service", tls),
    CheckItem("rate-limits", SECTION, "Rate limits at the gateway", rate_limits),
    CheckItem("audit", SECTION, "Audit of requests", audit),
)
