"""Changes under load at the real Envoy: nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.gateway_process import GatewayProcess, key_entry, server_state
from tests.gateway.load import Load
from tests.gateway.requests import bearer, chat, post
from tests.helpers.fake_vllm_server import FakeVLLMServer
from vllm_operator.gateway.envoy.clusters import MAX_WATCHED
from vllm_operator.gateway.refusals import EnvoyRefusals

KEYS = (key_entry("alice", "sk-alice"),)
AUTH = {"secrets": [{"name": "keys"}]}


@pytest.mark.parametrize("others", [0, 300])
async def test_replicas_that_come_and_go_lose_no_request(replicas: list[FakeVLLMServer], others: int) -> None:
    # With many servers, the endpoints of most are parts of their clusters: Envoy can watch only a few files.
    more = [server_state(f"other-{number:03}", replicas[0]) for number in range(others)]
    gateway = GatewayProcess()
    gateway.set(*more, server_state("tiny", *replicas))
    async with gateway, Load(gateway.url) as load:
        for number in range(15):
            leaving = replicas[number % 3]
            gateway.set(*more, server_state("tiny", *(replica for replica in replicas if replica is not leaving)))
            await asyncio.sleep(0.4)
            await leaving.__aexit__()
            await asyncio.sleep(0.1)
            await leaving.__aenter__()
            gateway.set(*more, server_state("tiny", *replicas))
            await asyncio.sleep(0.2)
    assert load.lost == {}
    assert sum(load.outcomes.values()) > 500


@pytest.mark.parametrize("others", [0, MAX_WATCHED])
async def test_streams_go_on_while_endpoints_change(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], others: int
) -> None:
    more = [server_state(f"other-{number:03}", replicas[0]) for number in range(others)]
    replicas[0].word_seconds, replicas[0].words = 0.3, ("word",) * 8
    gateway = GatewayProcess()
    gateway.set(*more, server_state("tiny", replicas[0]))
    async with gateway:
        streams = [asyncio.create_task(post(session, gateway, chat(stream=True))) for _ in range(5)]
        for chosen in (replicas[:2], replicas[1:], replicas, replicas[:1], []):
            await asyncio.sleep(0.4)
            gateway.set(*more, server_state("tiny", *chosen))
        assert all("[DONE]" in answer.text for answer in await asyncio.gather(*streams))
        waiting = asyncio.create_task(post(session, gateway, chat()))
        await asyncio.sleep(0.5)
        assert gateway.holder.held == {"tiny": 1}
        gateway.set(*more, server_state("tiny", replicas[1]))
        assert (await waiting).status == 200


async def test_a_replica_that_ends_without_a_word_loses_only_its_open_streams(
    replicas: list[FakeVLLMServer],
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", *replicas))
    async with gateway, Load(gateway.url) as load:
        await asyncio.sleep(0.5)
        await replicas[0].__aexit__()
        await asyncio.sleep(2)
        await replicas[0].__aenter__()
    assert not {name for name in load.lost if name != "cut"}
    assert load.outcomes["cut"] <= 4


async def test_a_hundred_changes_of_the_configuration_lose_no_request(replicas: list[FakeVLLMServer]) -> None:
    gateway = GatewayProcess({"auth": AUTH})
    gateway.set(server_state("tiny", *replicas), keys=KEYS)
    async with gateway, Load(gateway.url, bearer("sk-alice")) as load:
        for number in range(100):
            match number % 5:
                case 0:
                    gateway.set(keys=(*KEYS, key_entry(f"k{number}", f"sk-{number}")))
                case 1:
                    gateway.set(server_state("tiny", *replicas), server_state(f"more-{number}", replicas[0]))
                case 2:
                    gateway.set(routing="LeastRequest" if number % 2 else "PrefixAware")
                case 3:
                    gateway.set(limits=[{"requestsPerMinute": 100_000 + number}])
                case 4:
                    gateway.set(audit={} if number % 2 else None)
            await asyncio.sleep(0.1)
        assert "rejected" not in gateway.log
        rejected = await gateway.admin("/stats?filter=update_rejected")
        assert {line.split(":")[1].strip() for line in rejected.splitlines() if line} == {"0"}
    assert load.lost == {}
    assert sum(load.outcomes.values()) > 500


async def test_a_configuration_that_envoy_refuses_is_named_and_the_former_one_serves(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        refusals = EnvoyRefusals(gateway.layout.admin_socket)
        await refusals.refresh()
        assert refusals.refused == []
        gateway.set(audit={"path": "/no/such/folder/audit.log"})
        await gateway.until_applied("audit")
        assert await refusals.refresh()
        assert refusals.refused == ["listeners"]
        assert (await post(session, gateway)).status == 200
        gateway.set(audit={})
        await gateway.until_applied("audit")
        assert await refusals.refresh()
        assert refusals.refused == []


async def test_an_agent_that_ends_and_comes_back_loses_no_request(replicas: list[FakeVLLMServer]) -> None:
    gateway = GatewayProcess({"auth": AUTH, "limits": [{"requestsPerMinute": 1_000_000, "concurrent": 1000}]})
    gateway.set(server_state("tiny", *replicas), keys=KEYS)
    async with gateway, Load(gateway.url, bearer("sk-alice")) as load:
        for _ in range(3):
            await asyncio.sleep(0.5)
            await gateway.stop_agent()
            await asyncio.sleep(0.5)
            await gateway.start_agent()
    assert load.lost == {}


def certificate(folder: Path, name: str) -> None:
    """Write a certificate as the kubelet writes a Secret: in a new folder, to which the link `..data` moves."""
    version = folder / f"..{name}"
    version.mkdir(parents=True)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(version / "tls.key"), "-out", str(version / "tls.crt"), "-days", "2"]
    subprocess.run([*command, "-subj", f"/CN={name}"], check=True, capture_output=True)
    spare = folder / "..spare"
    spare.symlink_to(version.name)
    os.replace(spare, folder / "..data")
    for file in ("tls.crt", "tls.key"):
        if not (folder / file).is_symlink():
            (folder / file).symlink_to(f"..data/{file}")


async def certificate_name(gateway: GatewayProcess) -> str:
    command = f"openssl s_client -connect 127.0.0.1:{gateway.layout.port} -alpn h2 </dev/null 2>/dev/null"
    process = await asyncio.create_subprocess_shell(command, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert b"ALPN protocol: h2" in output
    return next(line.split("CN = ")[-1].split("CN=")[-1] for line in output.decode().splitlines() if "subject" in line)


async def test_a_certificate_is_replaced_without_a_loss(replicas: list[FakeVLLMServer]) -> None:
    gateway = GatewayProcess({"tls": {"secretName": "chat-tls"}})
    certificate(Path(gateway.layout.tls), "first")
    gateway.set(server_state("tiny", *replicas))
    async with gateway, Load(gateway.url) as load:
        assert await certificate_name(gateway) == "first"
        certificate(Path(gateway.layout.tls), "second")
        await asyncio.sleep(2)
        assert await certificate_name(gateway) == "second"
    assert load.lost == {}


async def test_a_gateway_that_drains_ends_its_streams(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    replicas[0].word_seconds = 0.5
    replicas[0].words = ("word",) * 6
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        streams = [
            asyncio.create_task(post(session, gateway, {"model": "tiny", "messages": [], "stream": True}))
            for _ in range(5)
        ]
        await asyncio.sleep(0.5)
        from vllm_operator.gateway.drain import drain

        await drain(gateway.layout.admin_socket, seconds=10)
        answers = [task.result() for task in streams]
        assert all("[DONE]" in answer.text for answer in answers)
        async with session.get(f"http://127.0.0.1:{gateway.layout.health_port}/ready") as response:
            assert response.status == 503
        os.kill(gateway.pid, signal.SIGTERM)


@pytest.mark.parametrize("origin", ["https://chat.example.com", "https://evil.example.org"])
async def test_browsers_of_allowed_origins_may_call(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], origin: str
) -> None:
    gateway = GatewayProcess({"auth": AUTH, "cors": {"allowOrigins": ["https://chat.example.com"]}})
    gateway.set(server_state("tiny", replicas[0]), keys=KEYS)
    async with gateway:
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        async with session.options(gateway.url + "/v1/chat/completions", headers=asked) as response:
            allowed = response.headers.get("access-control-allow-origin")
        assert allowed == (origin if "chat" in origin else None)
        answer = await post(session, gateway, headers={**bearer("sk-alice"), "Origin": origin})
        assert answer.status == 200
        assert answer.headers.get("access-control-allow-origin") == allowed
