"""Random transitions of live servers: each change arrives or is refused by name, and its reverse leaves no trace."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml

from tests.helpers.random_specs.changes import Changes, changed_fields
from tests.helpers.random_specs.specs import Generator
from tests.helpers.random_specs.values import CLAIMS, SECRETS
from tests.helpers.raw_api import JSON_PATCH, RawApi, Reply
from tests.integration.comparison import assert_same, comparable
from tests.integration.governed import (
    AUTOSCALER,
    CLAIM,
    KEPT_BY_KUBERNETES,
    LOOKS,
    NO_CHILD,
    Situation,
    found,
    names,
    why_quiet,
)
from tests.integration.servers import child_name, manifest
from tools.harness.audit import AuditLog, Request
from tools.harness.kube import Object, condition
from vllm_operator.api.spec import Spec
from vllm_operator.kube.kinds import CHILD_KINDS, SERVER

T = TypeVar("T")

CHANGES_OF_A_SERVER = 5
"""Transitions before the next server takes the place of one."""

WITHIN_SECONDS = 60.0
"""Far more than it takes: the machine may be busy."""

REST_SECONDS = 6.0
"""Longer than a status waits for Kubernetes' controllers."""


@dataclass
class Tally:
    """The results of the transitions so far."""

    outcomes: Counter[str] = field(default_factory=Counter)
    touched: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        return sum(self.outcomes.values())


@dataclass
class Player:
    """Create one server after another, change it and change it back, next to other players.

    Attributes:
        api: the API server.
        namespace: where the servers are.
        name: begins the names of the servers.
        rng: source of randomness: the same seed gives the same changes.
        tally: the results, shared by all players.
    """

    api: RawApi
    namespace: str
    name: str
    rng: random.Random
    tally: Tally
    servers: int = 0

    async def play(self, transitions: int) -> None:
        """Make `transitions` changes and their reverses."""
        changes = Changes(Generator(self.rng))
        left = transitions
        while left > 0:
            server = await self._fresh(changes.generator)
            for _ in range(min(left, CHANGES_OF_A_SERVER)):
                left -= 1
                if not await self._one(server, changes):
                    break
            await self.api.call("DELETE", SERVER.path(self.namespace, server))

    async def _one(self, server: str, changes: Changes) -> bool:
        """One transition; False when the server is no basis for another."""
        base = (await self._server(server))["spec"]
        wanted, words = changes.changed(base)
        try:
            outcome = await self._transition(server, base, wanted)
        except AssertionError as error:
            outcome = "failed"
            self.tally.failures.append(f"{server}: {words}\n{error}\n{_in_short(base, wanted)}")
        self.tally.outcomes[outcome] += 1
        return outcome != "failed"

    async def _fresh(self, generator: Generator) -> str:
        """A new server with a random spec that is accepted."""
        while True:
            self.servers += 1
            name = f"{self.name}-{self.servers}"
            spec = {**generator.spec(), "paused": False}
            reply = await self.api.call("POST", SERVER.path(self.namespace), manifest(name, spec))
            if not reply.ok:
                assert reply.status == 422, f"{reply.status} {reply.message}"
                continue
            if await self._accepted(name):
                return name
            await self.api.call("DELETE", SERVER.path(self.namespace, name))

    async def _transition(self, server: str, base: Object, wanted: Object) -> str:
        children = await self._children(server)
        former = await self._server(server)
        reply = await self._put(server, wanted)
        if reply.status == 422:
            is_named = names(reply.message, changed_fields(base, wanted))
            assert is_named, f"the API server names none of what was changed: {reply.message}"
            return "refused by the API server"
        assert reply.ok, f"{reply.status} {reply.message}"
        stored = reply.body["spec"]
        changed = changed_fields(base, stored)
        self.tally.touched.update(changed)
        if not changed:
            return "no change"
        outcome = await self._arrives(server, changed, Situation(base, stored, children))
        await self._back(server, base, children, former)
        return outcome

    async def _arrives(self, server: str, changed: list[str], case: Situation) -> str:
        if not await self._accepted(server):
            return await self._refused(server, changed, case)
        missing = [path for path in changed if not why_quiet(path, case)]

        async def all_arrive() -> None:
            now = await self._children(server)
            silent = [path for path in missing if LOOKS[path](now) == LOOKS[path](case.children)]
            assert not silent, f"silently ignored: {', '.join(silent)}"

        await self._eventually(all_arrive)
        return "arrived" if missing else "nothing to arrive"

    async def _refused(self, server: str, changed: list[str], case: Situation) -> str:
        accepted = condition(await self._server(server), "Accepted")
        assert names(accepted["message"], changed), f"names none of {changed}: {accepted['message']}"
        if accepted["reason"] == "ChildRefused":
            return "child refused"
        assert_same(case.children, await self._children(server), "a refused change touched the children")
        return "refused by the status"

    async def _back(self, server: str, base: Object, children: dict[str, Object], former: Object) -> None:
        reply = await self._put(server, base)
        assert reply.ok, f"the reverse: {reply.status} {reply.message}"
        assert await self._accepted(server), f"the reverse: {condition(await self._server(server), 'Accepted')}"

        async def restored() -> None:
            now = await self._children(server)
            cache = base.get("cache") or {}
            if not cache.get("size") or cache.get("perReplica"):
                await self._drop_kept_claim(server, now, children)
            assert_same(children, now, "the reverse left a trace")
            for path in KEPT_BY_KUBERNETES:
                wanted = found(base, path)
                assert wanted in (None, LOOKS[path](now)), f"the reverse did not bring back {path}: {wanted}"

        await self._eventually(restored)
        now = await self._server(server)
        assert now["spec"] == former["spec"], "the spec is another"
        for name in ("endpoint", "selector"):
            assert now["status"].get(name) == former["status"].get(name), f"status.{name} is another"

    async def _drop_kept_claim(self, server: str, now: dict[str, Object], children: dict[str, Object]) -> None:
        """A claim that was made by the change and is retained stays: that is the meaning of `retain`."""
        if CLAIM not in now or CLAIM in children:
            return
        assert not now[CLAIM]["metadata"].get("ownerReferences"), "a claim that is not kept stayed behind"
        path = CHILD_KINDS[CLAIM].path(self.namespace, child_name(CLAIM, server))
        await self.api.call("DELETE", path)
        del now[CLAIM]

    async def _put(self, server: str, spec: Object) -> Reply:
        patch = [{"op": "replace", "path": "/spec", "value": spec}]
        return await self.api.call("PATCH", SERVER.path(self.namespace, server), patch, JSON_PATCH)

    async def _server(self, server: str) -> Object:
        body = await self.api.get(SERVER.path(self.namespace, server))
        assert body is not None, f"{server} is gone"
        return body

    async def _accepted(self, server: str) -> bool:
        """Wait until the present generation was judged; whether it is accepted."""

        async def judged() -> bool:
            body = await self._server(server)
            status = body.get("status") or {}
            assert status.get("observedGeneration") == body["metadata"]["generation"], (
                f"{server} is not judged: {status}"
            )
            return bool(condition(body, "Accepted")["status"] == "True")

        return await self._eventually(judged)

    async def _children(self, server: str) -> dict[str, Object]:
        """Kind -> child, without what the API server and controllers write."""
        paths = {kind: CHILD_KINDS[kind].path(self.namespace, child_name(kind, server)) for kind in CHILD_KINDS}
        bodies = await asyncio.gather(*(self.api.get(path) for path in paths.values()))
        present = {kind: body for kind, body in zip(paths, bodies, strict=True) if body is not None}
        alive = {kind: body for kind, body in present.items() if not body["metadata"].get("deletionTimestamp")}
        children = {kind: comparable(body) for kind, body in alive.items()}
        if AUTOSCALER in children:
            children["Deployment"]["spec"].pop("replicas")
        return children

    async def _eventually(self, check: Callable[[], Awaitable[T]]) -> T:
        deadline, pause = time.monotonic() + WITHIN_SECONDS, 0.05
        while True:
            try:
                return await check()
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)


def _in_short(base: Object, wanted: Object) -> str:
    """A spec without its defaults, and what was to be changed in it: enough to make it again."""
    own = Spec.model_validate(base).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    changed = {path: found(wanted, path) for path in changed_fields(base, wanted)}
    return yaml.safe_dump({"base": own, "changed": changed}, default_flow_style=None, width=150)


async def prepare(api: RawApi, namespace: str) -> None:
    """Create all that the generated specs refer to."""
    core = f"/api/v1/namespaces/{namespace}"
    for name in SECRETS:
        await api.create(f"{core}/secrets", {"metadata": {"name": name}, "stringData": {"token": "t", "other": "o"}})
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    for name in CLAIMS:
        await api.create(f"{core}/persistentvolumeclaims", {"metadata": {"name": name}, "spec": spec})


async def play(api: RawApi, namespace: str, transitions: int, seed: int, players: int) -> Tally:
    """Make `transitions` changes and their reverses, with `players` servers at a time."""
    await prepare(api, namespace)
    tally = Tally()
    shares = [transitions // players + (number < transitions % players) for number in range(players)]
    await asyncio.gather(
        *(
            Player(api, namespace, f"s{number}", random.Random(f"{seed}-{number}"), tally).play(share)
            for number, share in enumerate(shares)
        )
    )
    return tally


@dataclass(frozen=True)
class Run:
    """Transitions against one API server on which the operator runs.

    Attributes:
        kubeconfig: of the API server.
        audit: its audit log.
        namespace: where the servers are made.
        transitions: how many.
        seed: the same seed makes the same ones.
        players: servers at a time.
    """

    kubeconfig: Path
    audit: AuditLog
    namespace: str
    transitions: int
    seed: int
    players: int

    async def check(self) -> None:
        """Play them all, print what came of them, and fail if any went wrong."""
        started, mark = time.monotonic(), self.audit.mark()
        async with RawApi(self.kubeconfig) as api:
            tally = await play(api, self.namespace, self.transitions, self.seed, self.players)
        print(f"\n{report(tally, self.seed, time.monotonic() - started)}")
        print(f"  {len(self._writes(mark))} children written or deleted by the operator")
        for failure in tally.failures:
            print(f"\n{failure}")
        failed = f"{len(tally.failures)} of {tally.done} transitions failed: TRANSITION_SEED={self.seed}"
        assert not tally.failures, failed
        await self._rests()

    async def _rests(self) -> None:
        """Whatever is left of the servers, nobody writes a child any more."""
        await asyncio.sleep(REST_SECONDS)
        mark = self.audit.mark()
        await asyncio.sleep(REST_SECONDS)
        writes = self._writes(mark)
        assert not writes, f"written at rest: {[request.target for request in writes][:20]}"

    def _writes(self, mark: int) -> list[Request]:
        found = self.audit.writes(mark, namespace=self.namespace)
        return [request for request in found if request.resource not in {"vllmservers", "events"}]


def report(tally: Tally, seed: int, seconds: float) -> str:
    """The outcomes in a few lines."""
    lines = [f"seed {seed}: {tally.done} transitions and their reverses in {seconds:.0f} s"]
    lines += [f"  {count:5} {outcome}" for outcome, count in tally.outcomes.most_common()]
    never = sorted({*LOOKS, *NO_CHILD} - set(tally.touched))
    lines.append(f"  {len(tally.touched)} fields changed")
    lines.append(f"  never: {', '.join(path for path in never if '[]' not in path) or 'none'}")
    return "\n".join(lines)
