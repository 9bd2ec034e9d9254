"""Two endpoints, one of which is dead: retries, fail-over and a circuit breaker, and an observer that shows them."""

import asyncio
import sys

from vllm_operator.client import (
    AsyncVLLMClient,
    BreakerState,
    CircuitBreakerConfig,
    ClientConfig,
    Observer,
    RequestInfo,
    RetryPolicy,
    Timeouts,
    VLLMClientError,
)

DEAD = "http://127.0.0.1:9"
"""The discard port: nothing listens."""


class Reporter(Observer):
    """Prints retries and changes of circuit breakers."""

    def request_retried(self, request: RequestInfo, error: VLLMClientError, attempt: int, delay: float) -> None:
        """Print a failed attempt."""
        print(f"attempt {attempt} failed with {type(error).__name__}: next one in {delay:.2f} s")

    def breaker_changed(self, endpoint: str, old: BreakerState, new: BreakerState) -> None:
        """Print a change."""
        print(f"circuit breaker of {endpoint}: {old.value} -> {new.value}")


async def main(base_url: str) -> None:
    """Send requests one after the other: after a failure the dead endpoint gets no more of them."""
    config = ClientConfig(
        base_url=(DEAD, base_url),
        timeouts=Timeouts(connect=2, first_token=60, between_tokens=30, whole=120),
        retries=RetryPolicy(max_attempts=4, base_delay=0.2, max_delay=5),
        circuit_breaker=CircuitBreakerConfig(failure_threshold=1, recovery_timeout=30),
    )
    async with AsyncVLLMClient(config, observers=[Reporter()]) as client:
        for number in range(8):
            answer = await client.chat(f"Question {number}", max_tokens=8)
            print(f"answer {number} from {answer.endpoint} after {answer.attempts} attempts")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"))
