"""Two field cases on the real cluster, side by side; `make field-cases` serves them all."""

from __future__ import annotations

from tests.e2e.field_cases.serving import check_metadata, check_names, serving
from tools.harness.in_cluster import InCluster
from tools.harness.real_cluster import RealCluster


def test_two_field_cases_are_served_as_their_owners_mean_them(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-24", cluster, inside) as metadata, serving("case-41", cluster, inside) as names:
        check_names(names)
        metadata.ready()
        check_metadata(metadata)
