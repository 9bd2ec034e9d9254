"""Give each class of the product its own name: two with the same one are confused in every discussion."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.helpers.paths import REPOSITORY

PRODUCT = REPOSITORY / "operator"


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PRODUCT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(f"{path.relative_to(PRODUCT)}:{node.lineno}")

    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
