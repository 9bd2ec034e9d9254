"""The script of `helm test` names what is wrong, against a fake API server that answers as the real one."""

from __future__ import annotations

import datetime
import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tools.chart.files import OPERATOR

Object = dict[str, Any]
READY = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}], "servedModels": ["tiny"]}


class FakeApiServer:
    """Answers of the API server for an installation that works; a test changes one of them."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.status: Object = READY
        self.exists = False

    def __call__(self, method: str, path: str, body: Any = None, url: str = "", timeout: float = 0) -> tuple[int, Any]:
        """Answer one call."""
        self.calls.append((method, url or path))
        for part, answer in self.answers.items():
            if part in (url or path):
                return answer
        if url:
            return 200, {"usage": {"completion_tokens": 4}}
        if "/leases/" in path:
            now = datetime.datetime.now(tz=datetime.UTC).isoformat()
            return 200, {"spec": {"holderIdentity": "vllm-operator-1", "renewTime": now.replace("+00:00", "Z")}}
        if "/vllmservers" in path:
            return self._servers(method, path, body)
        return 200, {"resources": [{}, {}]}

    def _servers(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if "dryRun" in path:
            refused = not body["spec"]["model"]["uri"] or "podTemplate" in body["spec"]
            return (422, {"message": "refused"}) if refused else (201, body)
        if method == "GET":
            return (200, {"metadata": {"generation": 1}, "status": self.status}) if self.exists else (404, {})
        self.exists = method == "POST"
        return 201, {}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with the variables of its pod."""
    specification = importlib.util.spec_from_file_location("helm_test", OPERATOR / "files" / "test.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    variables = {"NAMESPACE": "ops", "LEASE_NAMESPACE": "ops", "POLICY": "true", "SERVER": "{}", "TIMEOUT": "5"}
    for name, value in variables.items():
        monkeypatch.setenv(f"TEST_{name}", value)
    for name in ("PAUSE_SECONDS", "RECONCILE_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)
    return module


@pytest.fixture
def api(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeApiServer:
    server = FakeApiServer()
    monkeypatch.setattr(script, "call", server)
    return server


def test_installation_that_works_passes(
    script: ModuleType, api: FakeApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main() == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split()[1] for line in lines] == ["api", "admission", "policy", "leader", "server"]
    assert api.calls[-1][0] == "DELETE", "the server of the test is deleted"


def test_server_of_the_values_answers_a_completion(
    script: ModuleType, api: FakeApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEST_SERVER", '{"model": {"uri": "file:///models/tiny"}}')

    assert script.main() == 0
    assert "a completion of 4 tokens" in capsys.readouterr().out
    assert ("POST", "http://vllm-operator-helm-test.ops.svc/v1/completions") in api.calls


def no_crd(api: FakeApiServer) -> None:
    api.answers["/apis/vllm-operator.dev/v1alpha1"] = (404, {"message": "not found"})


def no_leader(api: FakeApiServer) -> None:
    api.answers["/leases/"] = (404, {"message": "not found"})


def old_lease(api: FakeApiServer) -> None:
    api.answers["/leases/"] = (200, {"spec": {"holderIdentity": "gone", "renewTime": "2020-01-01T00:00:00.000000Z"}})


def everything_accepted(api: FakeApiServer) -> None:
    api.answers["dryRun"] = (201, {})


def everything_refused(api: FakeApiServer) -> None:
    api.answers["dryRun"] = (422, {"message": "a webhook says no"})


def no_operator(api: FakeApiServer) -> None:
    api.status = {"observedGeneration": -1}


def stalled(api: FakeApiServer) -> None:
    api.status = {
        "observedGeneration": 1,
        "conditions": [{"type": "Stalled", "status": "True"}],
        "message": "image not found: correct spec.image",
    }


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (no_crd, "install the CRD, or set crds.enabled to true"),
        (no_leader, "no operator holds the Lease ops/vllm-operator (HTTP 404)"),
        (old_lease, "no operator holds the Lease ops/vllm-operator (HTTP 200)"),
        (everything_accepted, "not 422: the CRD is an old one"),
        (everything_refused, "a server was refused with HTTP 422: a webhook says no"),
        (no_operator, "the operator has not taken it up"),
        (stalled, "the server is not ready: image not found: correct spec.image"),
    ],
)
def test_fault_is_named(
    script: ModuleType,
    api: FakeApiServer,
    capsys: pytest.CaptureFixture[str],
    fault: Callable[[FakeApiServer], None],
    message: str,
) -> None:
    fault(api)

    assert script.main() == 1
    assert message in capsys.readouterr().out


def test_policy_that_is_missing_is_named(
    script: ModuleType, api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answers["dryRun=All"] = (201, {})

    with pytest.raises(script.CheckError, match="the admission policy is missing"):
        script.check_policy()
    monkeypatch.setenv("TEST_POLICY", "")
    assert script.check_policy() == "not part of this release"
