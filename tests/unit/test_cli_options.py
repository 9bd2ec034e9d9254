"""Values of options are checked before anything starts."""

from __future__ import annotations

import click
import pytest

from vllm_operator.cli_options import pod_template_option, validate_namespaces, validate_runbook_url

CONTEXT, OPTION = click.Context(click.Command("x")), click.Option(["--x"])


@pytest.mark.parametrize("value", ["team-a", "a", ("team-a", "b1")])
def test_names_of_namespaces_are_returned(value: str | tuple[str, ...]) -> None:
    assert validate_namespaces(CONTEXT, OPTION, value) == value  # type: ignore[type-var]


@pytest.mark.parametrize("value", ["Team", "team-*", "", "a" * 64, ("team-a", "-b")])
def test_names_that_no_namespace_has_are_refused(value: str | tuple[str, ...]) -> None:
    with pytest.raises(click.BadParameter, match="is not a valid name of a namespace"):
        validate_namespaces(CONTEXT, OPTION, value)  # type: ignore[type-var]


@pytest.mark.parametrize("value", ["ftp://x/%s", "https://x/", "https://x/%s/%s"])
def test_url_that_leads_to_no_alert_is_refused(value: str) -> None:
    with pytest.raises(click.BadParameter, match="must be an http or https URL"):
        validate_runbook_url(CONTEXT, OPTION, value)


def test_default_of_a_shared_option_is_that_of_its_command() -> None:
    @click.command()
    @pod_template_option(default="restricted")
    def command(pod_template: str) -> None:
        """Do nothing."""

    assert command.params[0].default == "restricted"
