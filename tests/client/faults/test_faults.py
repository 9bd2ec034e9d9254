"""Every fault, for both clients, as a plain call and as a stream."""

from __future__ import annotations

import pytest

from tests.client.faults import of_answers, of_connections, of_streams, of_time
from tests.client.faults.fault import Fault, check

ALL = {
    f"{group.__name__.rpartition('.')[2]}: {name}": fault
    for group in (of_connections, of_answers, of_streams, of_time)
    for name, fault in group.FAULTS.items()
}
CASES = [
    pytest.param(fault, is_async, streamed, id=f"{name}, {'async' if is_async else 'sync'}, {kind}")
    for name, fault in ALL.items()
    for is_async in (True, False)
    for streamed, kind in ((False, "plain"), (True, "stream"))
    if (fault.stream if streamed else fault.plain) is not None
]


@pytest.mark.parametrize(("fault", "is_async", "streamed"), CASES)
def test_fault_ends_in_its_error_and_leaves_nothing(fault: Fault, is_async: bool, streamed: bool) -> None:
    check(fault, is_async=is_async, streamed=streamed)
