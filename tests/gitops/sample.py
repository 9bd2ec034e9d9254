"""The sample repository of `examples/gitops`, with one served Git repository in place of those that it names."""

from __future__ import annotations

import yaml

from tests.helpers.paths import REPOSITORY
from tools.chart.files import OPERATOR
from tools.harness.gitops.repository import BRANCH, Repository
from tools.harness.kube import Object

SAMPLE = REPOSITORY / "examples" / "gitops"


def write_sample(fleet: Repository, environment: str) -> None:
    """Write the sample and the chart of the operator, without a commit; Argo CD is to apply this environment."""
    fleet.copy(SAMPLE, "")
    fleet.copy(OPERATOR, "charts/vllm-operator")
    fleet.write("argocd/applications.yaml", _applications(fleet.url, environment))


def root(url: str) -> Object:
    """Return the Application of the sample's Applications."""
    (body,) = yaml.safe_load_all((SAMPLE / "argocd" / "root.yaml").read_text())
    body["spec"]["source"] |= {"repoURL": url, "targetRevision": BRANCH}
    found: Object = body
    return found


def write_flux_sample(fleet: Repository, environment: str) -> list[Object]:
    """Write the sample and the chart, without a commit; return what its user applies for this environment of Flux.

    The chart comes from the repository itself, in place of a registry.
    """
    fleet.copy(SAMPLE, "")
    fleet.copy(OPERATOR, "charts/vllm-operator")
    bodies = list(yaml.safe_load_all((SAMPLE / "flux" / "operator" / "operator.yaml").read_text()))
    (release,) = [body for body in bodies if body["kind"] == "HelmRelease"]
    del release["spec"]["chartRef"]
    source, operator, models = yaml.safe_load_all((SAMPLE / "flux" / "fleet.yaml").read_text())
    reference = {"kind": source["kind"], "name": source["metadata"]["name"]}
    release["spec"]["chart"] = {"spec": {"chart": "charts/vllm-operator", "sourceRef": reference}}
    fleet.write("flux/operator/operator.yaml", release)
    source["spec"] |= {"url": fleet.url, "ref": {"branch": BRANCH}}
    models["spec"]["path"] = f"./{environment}"
    return [source, operator, models]


def _applications(url: str, environment: str) -> list[Object]:
    operator, models = yaml.safe_load_all((SAMPLE / "argocd" / "applications.yaml").read_text())
    chart, values = operator["spec"]["sources"]
    del chart["chart"]
    chart |= {"repoURL": url, "path": "charts/vllm-operator", "targetRevision": BRANCH}
    values |= {"repoURL": url, "targetRevision": BRANCH}
    models["spec"]["source"] |= {"repoURL": url, "targetRevision": BRANCH, "path": environment}
    return [operator, models]
