from __future__ import annotations

import click
import pytest

from tests.helpers.plugin import plugin
from vllm_operator.cli.options import ClusterOptions, Duration, cluster_options, output_option


def given(*arguments: str) -> tuple[ClusterOptions, str | None]:
    """Return what a command receives for these arguments."""
    received: list[tuple[ClusterOptions, str | None]] = []

    @click.command()
    @cluster_options(all_namespaces=True)
    @output_option("json", "yaml")
    def command(cluster: ClusterOptions, output: str | None) -> None:
        received.append((cluster, output))

    command.main(list(arguments), standalone_mode=False)
    return received[0]


def test_options_have_the_names_of_kubectl() -> None:
    cluster, output = given(
        "-n", "llm", "-A", "--context", "prod", "--kubeconfig", "k", "--request-timeout", "5s", "-o", "json"
    )
    assert cluster == ClusterOptions("llm", True, "prod", "k", 5.0)
    assert output == "json"


def test_defaults_leave_the_choice_to_the_kubeconfig() -> None:
    assert given() == (ClusterOptions(None, False, None, None, 30.0), None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("0.5s", 0.5), ("7", 7), ("250ms", 0.25)]
)
def test_durations_are_read_as_kubectl_writes_them(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 m", "-1s", "5d", "1m2h", "9" * 400])
def test_other_durations_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 90s, 5m or 1h30m"):
        Duration().convert(text, None, None)


def test_zero_means_no_bound() -> None:
    assert given("--request-timeout=0")[0].request_timeout is None


def test_impossible_namespace_is_a_usage_error() -> None:
    with pytest.raises(click.BadParameter, match="not a valid name of a namespace"):
        given("-n", "../kube-system")


def test_unknown_option_is_a_usage_error() -> None:
    ended = plugin("render", "--nope")
    assert ended.code == 2
    assert "No such option" in ended.stderr
