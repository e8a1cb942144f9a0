"""What is compared in one table and one chart: the bundles of one network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dlkit.bench.result import BenchResult, BundleRow, InferenceRow


@dataclass(frozen=True)
class Group:
    """Bundles of one network, in several precisions or from several runs.

    Attributes:
        rows: their inference rows.
        tags: by bundle, what tells it from the others of the group; empty for a single one.
    """

    title: str
    bundles: list[BundleRow]
    rows: list[InferenceRow]
    tags: Mapping[str, str]

    @property
    def sample(self) -> str:
        """What one is called."""
        return self.bundles[0]["sample"]

    def label(self, row: InferenceRow) -> str:
        """A row in words, as short as the group allows."""
        tag = self.tags[row["bundle"]]
        return f"{tag}{', ' if tag else ''}{row['backend']} {row['device']}, batch {row['batch']}"


def shapes(bundle: BundleRow) -> str:
    """Shapes of one sample in words, e.g. ``678x384``."""
    return ", ".join("x".join(map(str, shape)) or "1" for shape in bundle["inputs"].values())


def groups(result: BenchResult) -> list[Group]:
    """The bundles of a result by network, task and shapes of inputs, in their order."""
    together: dict[tuple[str, str, str], list[BundleRow]] = {}
    for bundle in result["bundles"]:
        key = (bundle["network"], bundle["task"], shapes(bundle))
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
