"""docs/scale.md shows what benchmarks/scale.py reckons."""

from __future__ import annotations

from pathlib import Path

from scale import WORKS, hours, table


def test_the_document_has_the_table() -> None:
    text = (Path(__file__).parent.parent / "docs" / "scale.md").read_text()
    assert table() in text


def test_more_machines_help_until_the_store_is_the_limit() -> None:
    for work in WORKS:
        one, eight = hours(work, 1), hours(work, 8)
        for part in ("processors", "network", "waiting"):
            assert abs(one[part] / eight[part] - 8) < 1e-9
        assert one["store"] == eight["store"]
