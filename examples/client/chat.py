"""Send one chat from synchronous code. Run it with the base URL of a vLLM: `python chat.py http://localhost:8000`."""

import sys

from vllm_operator.client import ChatMessage, ClientConfig, VLLMClient

config = ClientConfig(
    base_url=sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000",
    # No model: the one that the server lists. No key: VLLM_API_KEY, if it is set.
    max_tokens=64,
    temperature=0.0,  # Sent as 0.0: greedy decoding.
)
messages = [
    ChatMessage.system("You are a helpful assistant."),
    ChatMessage.user("What is Kubernetes?"),
]

with VLLMClient(config) as client:
    response = client.chat(messages)
    print(response.content)
    print(f"{response.model}: {response.finish_reason} after {response.latency_ms:.0f} ms")
    if response.usage is not None:
        print(f"{response.usage.prompt_tokens} tokens in, {response.usage.completion_tokens} out")

    # The second call uses the same connection, and options of the call win over those of the configuration.
    print(client.chat("And in one sentence?", max_tokens=32, temperature=0.7).content)
