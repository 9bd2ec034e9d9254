from __future__ import annotations

import threading
import time

from vllm_operator.benchmark.records import Sample
from vllm_operator.benchmark.sampling import Sampler


def test_samples_are_read_until_the_block_ends() -> None:
    third = threading.Event()
    read = 0

    def sample() -> Sample:
        nonlocal read
        read += 1
        if read == 3:
            third.set()
        return Sample(0.0, running=float(read))

    begin = time.monotonic()
    with Sampler(sample, lambda: time.monotonic() - begin, interval=0.01) as sampler:
        assert third.wait(10)
    assert [one.running for one in sampler.samples[:3]] == [1.0, 2.0, 3.0]
    seconds = [one.seconds for one in sampler.samples]
    assert seconds == sorted(seconds)
    assert not sampler._thread.is_alive()
