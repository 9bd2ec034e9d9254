"""Wait until a server serves its model, and report the health of each endpoint."""

import sys

from vllm_operator.client import ModelNotReady, VLLMClient

with VLLMClient(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000") as client:
    try:
        model = client.wait_until_ready(timeout=300)
    except ModelNotReady as error:
        sys.exit(f"{error}")
    print(f"{model.id} serves {model.max_model_len} tokens, by vLLM {client.version()}")
    for report in client.health():
        print(report.endpoint, "healthy" if report.healthy else report.reason, report.models)
