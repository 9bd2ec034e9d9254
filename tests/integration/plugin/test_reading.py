"""The commands that read, against statuses that the operator wrote."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import yaml

from tests.integration.plugin.world import Run
from tests.integration.servers import Servers


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
