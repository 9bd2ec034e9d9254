"""Send many requests from synchronous code, and continue from a file when the program was interrupted."""

import sys
import tempfile
from pathlib import Path

from vllm_operator.client import VLLMClient, run_batch_threaded, stream_batch_threaded

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"
questions = [f"Question {number}" for number in range(40)]

with VLLMClient(base_url) as client, tempfile.TemporaryDirectory() as folder:
    results_file = Path(folder) / "results.jsonl"
    outcomes = run_batch_threaded(client, questions[:25], max_concurrency=10, results_file=results_file)
    print(f"{len(outcomes)} outcomes in the order of the questions")

    # As after a crash: what has an answer in the file is not sent again.
    results = list(stream_batch_threaded(client, questions, ordered=True, results_file=results_file))
    print(f"{sum(result.resumed for result in results)} resumed, {sum(not result.resumed for result in results)} sent")
