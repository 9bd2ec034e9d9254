"""Let each step of vLLM's engine last as long as on a large model, without the CPU: a logits processor that waits.

Without it, the tiny model answers in seconds and keeps the cores busy while it does: no request lasts a minute, and
replicas that start have no CPU. The rest of vLLM is as it is.
"""

from __future__ import annotations

from tools.harness.kube import Object

STEP_SECONDS = 0.03
"""Time of one step, and so of one token: 30 tokens in a second."""

PACE_FOLDER = "/etc/drain-pace"
PACE_ARGUMENTS = ("--logits-processors", "drain_pace:Pace")
PACE_VOLUME: Object = {"name": "pace", "configMap": {"name": "drain-pace"}}
PACE_MOUNT: Object = {"name": "pace", "mountPath": PACE_FOLDER, "readOnly": True}

PACE_SOURCE = f"""\
import time

from vllm.v1.sample.logits_processor import LogitsProcessor


class Pace(LogitsProcessor):
    def __init__(self, vllm_config, device, is_pin_memory):
        pass

    def apply(self, logits):
        time.sleep({STEP_SECONDS})
        return logits

    def is_argmax_invariant(self):
        return False

    def update_state(self, batch_update):
        pass
"""


def pace_config_map() -> Object:
    """Return the ConfigMap that holds the logits processor."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "drain-pace"},
        "data": {"drain_pace.py": PACE_SOURCE},
    }
