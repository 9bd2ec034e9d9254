"""One item of a checklist, its result, and what it is judged from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vllm_operator.api.engine import set_flags
from vllm_operator.api.spec import Spec
from vllm_operator.cli.sanitize import clean
from vllm_operator.vllm.arguments import extra_flags

Level = Literal["pass", "fail", "warn", "unknown", "n/a"]


@dataclass(frozen=True)
class CheckResult:
    """The result of one item.

    Attributes:
        level: `pass`; `fail` for what must not go to production; `warn` for what should be decided on purpose;
            `unknown` for what cannot be seen from here; `n/a` for what does not apply.
        evidence: what was found, and where.
        remedy: what to do; empty for `pass` and `n/a`.
    """

    level: Level
    evidence: str
    remedy: str = ""


@dataclass(frozen=True)
class CheckSubject:
    """Everything that the checklist of one server is judged from.

    Attributes:
        spec: the spec.
        objects: kind -> child: the rendered ones of a manifest, the live ones of a server.
        status: the status; None for a manifest.
        routes: objects that lead traffic from outside to the Service, as `Ingress a (TLS)`; None if nobody looked.
        nodes: devices that the largest node offers of the accelerator's resource; None if nobody looked.
        api_kinds: kinds that the cluster serves, such as PodMonitor; None if nobody looked.
    """

    spec: Spec
    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    status: Mapping[str, Any] | None = None
    routes: Sequence[str] | None = None
    nodes: int | None = None
    api_kinds: frozenset[str] | None = None

    def flag(self, name: str) -> str | None:
        """Return the value of a flag, from its field or from extraArgs; `""` for a switch; None if it is unset."""
        typed = set_flags(self.spec.engine)
        if name in typed:
            return "" if typed[name] is True else None if typed[name] is False else str(typed[name])
        found = next((flag for flag in extra_flags(self.spec) if flag.name == name), None)
        return None if found is None or found.negated else clean(found.value or "")

    def is_negated(self, name: str) -> bool:
        """Return whether a switch that vLLM turns on by default is turned off."""
        is_off = any(flag.name == name and flag.negated for flag in extra_flags(self.spec))
        return is_off or set_flags(self.spec.engine).get(name) is False

    @property
    def is_live(self) -> bool:
        """Return whether this is a server in a cluster."""
        return self.status is not None

    @property
    def uses_accelerator(self) -> bool:
        """Return whether the replicas run on an accelerator."""
        return bool(self.spec.accelerator.resource_name)

    @property
    def is_public(self) -> bool:
        """Return whether the Service itself can be reached from outside of the cluster."""
        return self.spec.service.type != "ClusterIP"


Judge = Callable[[CheckSubject], CheckResult]


@dataclass(frozen=True)
class CheckItem:
    """One item of a checklist.

    Attributes:
        identity: its name for scripts, such as `prefix-caching`.
        section: heading under which it stands.
        title: the item in words.
        judge: function that judges it.
    """

    identity: str
    section: str
    title: str
    judge: Judge


@dataclass(frozen=True)
class CheckedItem:
    """An item with its result."""

    identity: str
    section: str
    title: str
    result: CheckResult

    def as_data(self) -> dict[str, Any]:
        """Return the item for JSON and YAML."""
        return {"id": self.identity, "section": self.section, "title": self.title, **asdict(self.result)}


def passes(evidence: str) -> CheckResult:
    """Return a result without a remedy."""
    return CheckResult("pass", evidence)


def does_not_apply(evidence: str) -> CheckResult:
    """Return the result of an item that does not apply."""
    return CheckResult("n/a", evidence)
