"""FUZZ_MANIFESTS generated manifests through parse, plan and render; FUZZ_SAMPLE of them to a real API server."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.fuzz.against_server import Verdict, judge
from tests.fuzz.pipeline import Share, run
from tests.helpers.random_specs.hostile import OPEN
from tools.harness.control_plane import control_plane, missing
from tools.harness.crds import install_monitoring_crds
from vllm_operator.api.crd import crd

MANIFESTS = int(os.environ.get("FUZZ_MANIFESTS", "100000"))
SAMPLE = int(os.environ.get("FUZZ_SAMPLE", "500"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.randrange(1, 1_000_000)
WORKERS = int(os.environ.get("FUZZ_WORKERS", "0")) or os.cpu_count() or 1
CHUNK = 500


def main() -> int:
    """Print the result; return 1 if anything failed."""
    print(f"seed {SEED}: {MANIFESTS} manifests, {WORKERS} processes", flush=True)
    shares = list(_shares())
    crashed = sum(share.crashed for share in shares)
    for text in [text for share in shares for text in share.crashes][:20]:
        print(f"\n{text}")
    verdict = _against_server()
    return 1 if crashed or (verdict and verdict.faults) else 0


def _shares() -> Iterator[Share]:
    """Run all manifests, and print the figures at the end."""
    started, done = time.monotonic(), []
    chunks = [(SEED, range(at, min(at + CHUNK, MANIFESTS))) for at in range(0, MANIFESTS, CHUNK)]
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        for share in pool.map(run, *zip(*chunks, strict=True)):
            done.append(share)
            yield share
            if len(done) % 40 == 0:
                print(f"  {len(done) * CHUNK} manifests, {time.monotonic() - started:.0f} s", flush=True)
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcomes: Counter[str] = sum((share.outcomes for share in done), Counter())
    print(f"{MANIFESTS / seconds:.0f} manifests a second, {(used.ru_utime + used.ru_stime) / MANIFESTS * 1000:.2f} "
          f"CPU-milliseconds each, {sum(share.documents for share in done)} documents, "
          f"slowest {max(share.slowest for share in done)[0]:.2f} s")  # fmt: skip
    print(f"  {sum(share.crashed for share in done):6} uncaught exceptions")
    for outcome, count in outcomes.most_common():
        print(f"  {count:6} {outcome}")


def _against_server() -> Verdict | None:
    if not SAMPLE:
        return None
    if reason := missing():
        print(f"no sample: {reason}")
        return None
    numbers = random.Random(SEED).sample(range(MANIFESTS), min(SAMPLE, MANIFESTS))
    with control_plane() as plane:
        kube = plane.kube()
        kube.apply(crd(), "--server-side")
        kube.wait_for_crds("vllmservers.vllm-operator.dev")
        install_monitoring_crds(kube)
        with kube.namespace("fuzz") as namespace:
            verdict = asyncio.run(judge(plane.kubeconfig, namespace, SEED, numbers))
    print(f"of {len(numbers)} manifests sent to the API server, with {verdict.documents} documents:")
    for outcome, count in verdict.outcomes.most_common():
        print(f"  {count:6} {outcome}")
    print(f"  {verdict.open_refusals:6} documents refused for an open part ({', '.join(OPEN)})")
    print(f"  {len(verdict.faults):6} disagreements, or documents refused for anything else")
    for text in _by_message(verdict.faults):
        print(f"    {text}")
    return verdict


def _by_message(faults: list[str]) -> list[str]:
    """Return the first of the findings that are alike, with their number."""
    kinds: dict[str, list[str]] = {}
    for fault in faults:
        kinds.setdefault(re.sub(r'[0-9]+|"[^"]*"', "", fault)[:160], []).append(fault)
    return [f"{len(alike)} x {alike[0]}" for alike in sorted(kinds.values(), key=len, reverse=True)[:40]]


if __name__ == "__main__":
    sys.exit(main())
