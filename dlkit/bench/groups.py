"""What is compared in one table and one chart: the bundles of one network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Bundles of one network, in several precisions or from several runs.

    Attributes:
        rows: their inference rows.
        tags: by bundle, what tells it from the others of the group; empty for a single one.
    """

    title: str
    bundles: list[Row]
    rows: list[Row]
    tags: Mapping[str, str]

    def label(self, row: Row) -> str:
        """A row in words, as short as the group allows."""
        tag = self.tags[row["bundle"]]
        return f"{tag}{', ' if tag else ''}{row['backend']} {row['device']}, batch {row['batch']}"


def groups(result: Mapping[str, Any]) -> list[Group]:
    """The bundles of a result by network, task and size of image, in their order."""
    together: dict[tuple[str, str, tuple[int, ...]], list[Row]] = {}
    for bundle in result["bundles"]:
        key = (bundle["network"], bundle["task"], tuple(bundle["size"]))
        together.setdefault(key, []).append(bundle)
    found = []
    for (network, _, _), bundles in together.items():
        names = {bundle["name"] for bundle in bundles}
        precisions = [bundle["precision"] for bundle in bundles]
        tags = {
            bundle["name"]: bundle["precision"]
            if precisions.count(bundle["precision"]) == 1
            else bundle["name"]
            for bundle in bundles
        }
        if len(bundles) == 1:
            tags = dict.fromkeys(tags, "")
        title = f"{network} {', '.join(dict.fromkeys(precisions))}"
        rows = [row for row in result["inference"] if row["bundle"] in names]
        found.append(Group(title, bundles, rows, tags))
    return found
