from __future__ import annotations

import pytest

from tools.bench.client import stand_in
from tools.bench.client_run import WrongAnswerError, in_flight, measure
from tools.bench.client_stand_in import ANSWER_CHARACTERS, STREAM_CHUNKS
from tools.bench.client_subjects import ANSWERS_ONLY, SUBJECTS, LineCounter


@pytest.mark.parametrize("name", SUBJECTS)
async def test_every_client_reads_the_whole_answer_and_the_whole_stream(name: str) -> None:
    with stand_in() as url:
        async with SUBJECTS[name](url, {}) as subject:
            assert await subject.answer() == ANSWER_CHARACTERS
            if name not in ANSWERS_ONLY:
                assert await subject.stream() == STREAM_CHUNKS


async def test_measurement_counts_seconds_and_memory() -> None:
    with stand_in() as url:
        options = {"subject": "raw aiohttp", "url": url, "stream": False, "width": 2, "count": 4, "warm_up": 1}
        figures = await measure(options)
    assert figures["seconds"] > 0
    assert figures["rss_mib"] > 1


async def test_wrong_answer_ends_the_measurement() -> None:
    async def call() -> int:
        return 3

    with pytest.RaisesGroup(WrongAnswerError):
        await in_flight(call, 1, 1, expected=4)


def test_lines_that_arrive_in_parts_are_counted_once() -> None:
    counter = LineCounter()
    line = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    for place in range(len(line)):
        counter.feed(line[place : place + 1])
    assert counter.found == 1
