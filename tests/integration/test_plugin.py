"""The kubectl plugin against a real API server, with statuses that the operator wrote."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.utils.quantity import parse_quantity

from tests.golden.documents import MANIFESTS
from tests.helpers.paths import DATA
from tests.helpers.plugin import Ended, plugin
from tests.helpers.record_plugin import recording
from tests.helpers.signals import default_interrupt
from tests.integration.replica import fake_replica
from tests.integration.servers import Servers, manifest
from tools.harness.control_plane import Plane
from tools.harness.kube import KIND, Object
from tools.harness.operator_process import OperatorProcess
from vllm_operator.offline.judgement import judge
from vllm_operator.offline.manifest_file import Document
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE

ADDRESS = "127.8.9.9"
LONG_AGO = "2026-01-01T00:00:00Z"
BUSY = 'vllm:num_requests_running{engine="0"} 3.0\nvllm:kv_cache_usage_perc{engine="0"} 0.25\n'
LOG = (DATA / "logs" / "context-too-long.log").read_text()
"""The log of a real vLLM; the kubelet takes its end as the message of the container that ended."""
Run = Callable[..., Ended]


def play(servers: Servers, name: str, status: Object) -> None:
    """Write the status of a server's pods as a kubelet would."""

    def pods() -> list[Object]:
        found = servers.kube.list("Pod", servers.namespace, f"app.kubernetes.io/instance={name}")
        assert len(found) == servers.child("Deployment", name)["spec"]["replicas"]
        return found

    for pod in servers.kube.eventually(pods, within=20, namespace=servers.namespace):
        servers.kube.patch("Pod", pod["metadata"]["name"], servers.namespace, {"status": status}, status=True)


def running(ready: bool, container: Object) -> Object:
    """The status of a pod on a node."""
    kinds = {"PodScheduled": True, "ContainersReady": ready, "Ready": ready}
    base = {"name": "vllm", "image": "x", "imageID": "x", "ready": ready, "started": ready, "restartCount": 0}
    return {
        "phase": "Running",
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "conditions": [{"type": kind, "status": str(holds)} for kind, holds in kinds.items()],
        "containerStatuses": [{**base, **container}],
    }


CRASHED = running(
    False,
    {
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {
            "terminated": {
                "exitCode": 1,
                "reason": "Error",
                "message": LOG[-2000:],
                "startedAt": LONG_AGO,
                "finishedAt": LONG_AGO,
            }
        },
    },
)


@pytest.fixture(scope="module")
def world(shared_servers: Servers) -> Iterator[Servers]:
    """Servers in each state: serving, crashed, refused, with an autoscaler that has no metrics, hostile."""
    servers = shared_servers
    with fake_replica(ADDRESS, metrics=BUSY), recording(servers.namespace):
        servers.create("mistral", {"model": {"uri": "hf://tiny-org/tiny", "servedNames": ["tiny"]}, "replicas": 2})
        servers.create("crashed")
        servers.create("scaled", {"autoscaling": {"maxReplicas": 3}})
        servers.create("refused", {"engine": {"extraArgs": ["--max-model-length=3"]}})
        play(servers, "mistral", running(True, {"state": {"running": {"startedAt": LONG_AGO}}}))
        play(servers, "crashed", CRASHED)
        phases = {"mistral": "Serving", "crashed": "Failed", "refused": "Invalid"}

        def settled() -> None:
            assert {name: servers.get(name)["status"]["phase"] for name in phases} == phases
            assert "maxModelLen" in servers.get("crashed")["status"]["message"]

        servers.kube.eventually(settled, within=60, namespace=servers.namespace)
        yield servers


@pytest.fixture(scope="module")
def run(plane: Plane, world: Servers) -> Run:
    """Run the plugin in the namespace of the world."""
    return lambda *words, **options: plugin(
        *words, "-n", world.namespace, "--kubeconfig", str(plane.kubeconfig), **options
    )


def test_get_lists_all_servers_with_cause(run: Run) -> None:
    ended = run("get")
    assert ended.code == 0
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["NAME", "MODEL", "READY", "PHASE", "VERSION", "AGE", "MESSAGE"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert set(rows) == {"crashed", "mistral", "refused", "scaled"}
    assert "2/2" in rows["mistral"]
    assert "set engine.maxModelLen to" in rows["crashed"]
    assert "did you mean --max-model-len?" in rows["refused"]


def test_get_prints_names_json_and_yaml(run: Run, world: Servers) -> None:
    assert run("get", "mistral", "-o", "name").stdout == "vllmserver.vllm-operator.dev/mistral\n"
    assert json.loads(run("get", "-o", "json").stdout)["kind"] == "List"
    shown = yaml.safe_load(run("get", "vllmserver/mistral", "-o", "yaml").stdout)
    assert shown["spec"] == world.get("mistral")["spec"]
    assert "managedFields" not in shown["metadata"]


def test_status_is_a_tree_of_revisions_and_replicas(run: Run) -> None:
    text = run("status", "mistral").stdout
    assert "2/2 replicas serve" in text
    assert "revision 1, newest: 2/2 ready" in text
    assert len([line for line in text.splitlines() if "─ mistral-" in line and "  Serving " in line]) == 2
    assert "Ready=True" in text


def test_status_names_what_keeps_the_autoscaler(run: Run) -> None:
    def shown() -> None:
        assert "autoscaler: 1 replicas" in (text := run("status", "scaled").stdout), text
        assert "custom metrics API" in text

    time_limit = time.monotonic() + 60
    while True:
        try:
            return shown()
        except AssertionError:
            if time.monotonic() > time_limit:
                raise
            time.sleep(1)


def test_status_as_json_has_each_replica(run: Run) -> None:
    data = json.loads(run("status", "crashed", "-o", "json").stdout)
    [replica] = data["replicas"]
    assert replica["status"]["phase"] == "CrashLooping"
    assert data["revisions"][0]["revision"] == 1


def test_unknown_name_names_the_nearest(run: Run) -> None:
    for words in (["get", "mistrl"], ["status", "mistrl"], ["logs", "mistrl"], ["wait", "mistrl"], ["pause", "mistrl"]):
        ended = run(*words)
        assert ended.code == 4
        assert "did you mean 'mistral'?" in ended.stderr


def test_name_of_another_namespace_is_found_there(plane: Plane, world: Servers) -> None:
    ended = plugin("get", "mistral", "-n", "default", "--kubeconfig", str(plane.kubeconfig))
    assert ended.code == 4
    assert f"add -n {world.namespace}" in ended.stderr


def test_wait_ends_at_once_for_ready_and_for_stalled(run: Run) -> None:
    started = time.monotonic()
    assert run("wait", "mistral").code == 0
    ended = run("wait", "refused")
    assert ended.code == 1
    assert "Stalled (UnknownFlag): spec.engine.extraArgs[0]" in ended.stderr
    ended = run("wait", "crashed", "mistral")
    assert ended.code == 1
    assert "Stalled" in ended.stderr
    assert "mistral: Ready" in ended.stdout
    assert time.monotonic() - started < 20


def test_wait_gives_up_after_its_timeout_and_says_why(run: Run) -> None:
    ended = run("wait", "scaled", "--timeout", "2s")
    assert ended.code == 1
    assert "not Ready in time: Scheduling" in ended.stderr


def test_doctor_names_causes_and_ends_with_1(run: Run) -> None:
    ended = run("doctor")
    assert ended.code == 1
    assert "Accepted (UnknownFlag)" in ended.stdout
    assert "CrashLooping" in ended.stdout
    assert "mistral: Serving  ok" in ended.stdout


def test_logs_print_the_cause_first_and_say_that_no_kubelet_answers(run: Run) -> None:
    ended = run("logs", "crashed")
    assert ended.stderr.startswith("crashed: Failed: ")
    assert "set engine.maxModelLen to" in ended.stderr


def test_logs_of_a_refused_server_say_why_there_are_none(run: Run) -> None:
    ended = run("logs", "refused")
    assert ended.code == 1
    assert "Accepted=False (UnknownFlag)" in ended.stderr
    assert "no pods yet" in ended.stderr


def test_top_prints_one_table_on_a_pipe(run: Run) -> None:
    ended = run("top")
    assert ended.code == 0
    assert ended.stdout.splitlines()[0].startswith("SERVER")
    assert "mistral-" in ended.stdout


def test_check_judges_server_and_cluster(run: Run) -> None:
    ended = run("check")
    assert "established, and has all fields" in ended.stdout
    assert "all 9 rights" in ended.stdout
    data = json.loads(run("check", "mistral", "-o", "json").stdout)
    results = {item["id"]: item["result"]["level"] if "result" in item else item["level"] for item in data[0]["items"]}
    assert results["replicas"] == "pass"
    assert results["api-key"] == "warn"
    crashed = json.loads(run("check", "crashed", "-o", "json").stdout)[0]["items"]
    assert {item["id"]: item["level"] for item in crashed}["replicas"] == "fail"


def test_report_holds_no_secret(run: Run, world: Servers, tmp_path: Path) -> None:
    token = "hf_" + "AbCdEfGh1234567890"
    env = [{"name": "HF_TOKEN", "value": token}, {"name": "MY_PASSWORD", "value": "plain-words"}]
    world.create("secretive", {"replicas": 0, "engine": {"env": env}})
    path = tmp_path / "report.zip"
    ended = run("report", "-o", str(path))
    assert ended.code == 0, ended.text
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert f"{world.namespace}/mistral/vllmserver.yaml" in texts
    assert "CrashLooping" in texts[f"{world.namespace}/crashed/doctor.txt"]
    assert not [name for name, text in texts.items() if token in text or "plain-words" in text]
    assert run("report", "-o", str(path)).code == 1


def test_scale_pause_resume_and_restart_show_the_change(run: Run, world: Servers) -> None:
    world.create("changed", {"replicas": 0})
    assert run("scale", "changed", "--replicas", "2").stdout == "changed: spec.replicas: 0 -> 2\n"
    assert world.get("changed")["spec"]["replicas"] == 2
    assert run("scale", "changed", "--replicas", "2").stdout == "changed: unchanged: spec.replicas is 2\n"
    dry = run("scale", "changed", "--replicas", "5", "--dry-run")
    assert dry.stdout == "changed: spec.replicas: 2 -> 5 (dry run)\n"
    assert world.get("changed")["spec"]["replicas"] == 2
    assert run("pause", "changed").stdout == "changed: spec.paused: false -> true\n"
    assert run("resume", "changed").stdout == "changed: spec.paused: true -> false\n"
    assert "not paused" in run("resume", "changed").stdout
    world.settled("changed")
    assert "restartedAt: unset -> " in run("restart", "changed").stdout
    annotations = world.child("Deployment", "changed")["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations


def test_restart_is_not_undone_by_the_operator(run: Run, world: Servers) -> None:
    world.create("restarted", {"replicas": 0})
    run("restart", "restarted")

    def annotation() -> None:
        template = world.child("Deployment", "restarted")["spec"]["template"]
        assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]

    world.kube.stays(annotation, seconds=3)


def test_scale_of_an_autoscaled_server_is_refused_with_the_way_out(run: Run) -> None:
    ended = run("scale", "scaled", "--replicas", "3")
    assert ended.code == 1
    assert "use --min 3 or --max 3" in ended.stderr
    ended = run("scale", "scaled", "--min", "9")
    assert ended.code == 1
    assert "minReplicas must not exceed maxReplicas" in ended.stderr


def create_references(servers: Servers, body: Object) -> None:
    """Create the Secrets and claims that a manifest refers to."""
    document = Document({**body, "metadata": {**body["metadata"], "namespace": servers.namespace}})
    for note in judge(document).notes:
        if found := re.search(r"the (Secret|PersistentVolumeClaim) (\S+)(?: with the key (\S+))? must exist", note):
            kind, name, key = found.groups()
            metadata = {"name": name, "labels": {SECRET_LABEL: SECRET_LABEL_VALUE}}
            body = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
            if kind == "Secret":
                old = servers.kube.get("Secret", name, servers.namespace) or {}
                data = {**dict.fromkeys(old.get("data", {}), "x"), key or "k": "x"}
                servers.kube.apply({**body, "stringData": data}, namespace=servers.namespace)
            else:
                spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
                servers.kube.apply({**body, "spec": spec}, namespace=servers.namespace)


@pytest.mark.parametrize("name", sorted(path.stem for path in MANIFESTS.glob("*.yaml")))
def test_render_equals_what_the_operator_applies(name: str, plane: Plane, servers: Servers) -> None:
    body = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())
    body["metadata"].pop("namespace", None)
    # The operator writes no child of a paused server.
    body["spec"].pop("paused", None)
    create_references(servers, body)
    servers.kube.create(body, servers.namespace)
    server = body["metadata"]["name"]
    # The operator of these tests takes free pod templates; one of the manifests has a host path.
    options = ("render", "-f", "-", "--pod-template", "free", "-n", servers.namespace)
    options = (*options, "--kubeconfig", str(plane.kubeconfig))
    rendered = list(yaml.safe_load_all(plugin(*options, stdin=json.dumps(body)).stdout))
    assert {child["kind"] for child in rendered} >= {"Deployment", "Service"}

    def applied() -> None:
        accepted = servers.condition(server)
        assert accepted.get("status") == "True", accepted
        for child in rendered:
            live = servers.kube.get(child["kind"], child["metadata"]["name"], servers.namespace)
            assert live, f"no {child['kind']}"
            assert_holds(child, live, child["kind"])

    servers.kube.eventually(applied, within=30, namespace=servers.namespace)
    ended = plugin(*options, "--diff", stdin=json.dumps(body))
    assert (ended.code, ended.stdout) == (0, ""), ended.text
    changed = {**body, "spec": {**body["spec"], "sharedMemory": "17Gi"}}
    ended = plugin(*options, "--diff", stdin=json.dumps(changed))
    assert ended.code == 1
    assert "sizeLimit: 17Gi" in ended.stdout


def assert_holds(wanted: Any, live: Any, path: str) -> None:
    """Each value of the rendered object is in the live one; quantities may be spelled in another way."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            if key in {"uid", "vllm-operator.dev/applied-hash"}:
                continue
            assert isinstance(live, dict), path
            # The API server leaves out what is empty or false.
            assert key in live or value in (None, {}, [], False), f"{path}.{key}"
            assert_holds(value, live.get(key, value), f"{path}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(live, list), path
        assert len(wanted) == len(live), path
        for number, (one, other) in enumerate(zip(wanted, live, strict=True)):
            assert_holds(one, other, f"{path}[{number}]")
    elif str(wanted) != str(live):
        assert parse_quantity(str(wanted)) == parse_quantity(str(live)), f"{path}: {wanted} and {live}"


def test_render_diff_shows_new_and_refused_servers(run: Run) -> None:
    ended = run("render", "-f", "-", "--diff", stdin=json.dumps(manifest("new", {})))
    assert ended.code == 1
    assert "+++ manifest/Deployment/new" in ended.stdout
    ended = run("render", "-f", "-", "--diff", stdin=json.dumps(manifest("new", {"replicas": "x"})))
    assert ended.code == 1
    assert "refused: spec.replicas" in ended.stderr


@pytest.fixture(scope="module")
def powerless(plane: Plane, world: Servers) -> Path:
    """A kubeconfig of a service account that may do nothing."""
    kube = world.kube
    kube.kubectl("-n", world.namespace, "create", "serviceaccount", "powerless")
    token = kube.kubectl("-n", world.namespace, "create", "token", "powerless").stdout.strip()
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = plane.folder / "powerless.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (("get",), "list"),
        (("get", "mistral"), "get"),
        (("status", "mistral"), "get"),
        (("logs", "mistral"), "get"),
        (("wait", "mistral"), "get"),
        (("doctor", "mistral"), "get"),
        (("report", "-o", "/dev/null", "--force"), "list"),
        (("top",), "list"),
        (("scale", "mistral", "--replicas", "1"), "get"),
        (("restart", "mistral"), "get"),
    ],
)
def test_missing_right_names_verb_and_resource(
    words: tuple[str, ...], verb: str, powerless: Path, world: Servers
) -> None:
    ended = plugin(*words, "-n", world.namespace, "--kubeconfig", str(powerless))
    assert ended.code == 3
    assert f"no right to {verb} vllmservers.vllm-operator.dev in namespace {world.namespace}" in ended.stderr
    assert "kubectl auth can-i" in ended.stderr


def test_refused_token_asks_for_a_login(plane: Plane, tmp_path: Path) -> None:
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "wrong"}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    ended = plugin("get", "--kubeconfig", str(path))
    assert ended.code == 3
    assert "refuses the credentials" in ended.stderr


def test_kind_that_the_cluster_does_not_serve_is_named(plane: Plane) -> None:
    from vllm_operator.cli.api_failures import CallError
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.options import ClusterOptions

    with pytest.raises(CallError, match=r"does not serve things\.nowhere\.dev") as caught:
        Cluster(ClusterOptions(kubeconfig=str(plane.kubeconfig))).request("GET", "/apis/nowhere.dev/v1/things")
    assert caught.value.is_missing_kind


def test_ctrl_c_ends_with_130(plane: Plane, world: Servers) -> None:
    command = [sys.executable, "-m", "vllm_operator.cli.entry", "wait", "scaled", "-n", world.namespace]
    process = subprocess.Popen(
        [*command, "--kubeconfig", str(plane.kubeconfig)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=default_interrupt,
    )
    timer = threading.Timer(3, lambda: os.kill(process.pid, signal.SIGINT))
    timer.start()
    _, errors = process.communicate(timeout=30)
    timer.cancel()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.rstrip().endswith("interrupted")


def test_hostile_status_moves_no_cursor(run: Run, world: Servers, operator_session: OperatorProcess) -> None:
    body = manifest("hostile", {"paused": True, "replicas": 0})
    body["metadata"]["annotations"] = {"a": "\x1b[2J"}
    world.kube.create(body, world.namespace)
    world.settled("hostile")
    status = {"message": "\x1b[2J\x1b]0;owned\x07 evil \u202etext", "observedGeneration": 1}
    world.kube.patch(KIND, "hostile", world.namespace, {"status": status}, status=True)
    for words in (["get"], ["status", "hostile"], ["doctor"], ["wait", "hostile", "--timeout", "1s"]):
        text = run(*words, terminal=False).text
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_kubectl_runs_and_completes_the_plugin(plane: Plane, world: Servers) -> None:
    """kubectl finds `kubectl-vllm` and `kubectl_complete-vllm` in the folders of PATH."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["KUBECONFIG"] = str(plane.kubeconfig)
    program = str(world.kube.program)

    def kubectl(*words: str) -> str:
        done = subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "mistral" in kubectl("vllm", "get", "-n", world.namespace)
    assert "status" in kubectl("__complete", "vllm", "stat")
    assert "mistral" in kubectl("__complete", "vllm", "status", "-n", world.namespace, "mis")
