"""Three kills (kill -9) of each command at random moments; ``make kills`` tries fifty."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .kills import attack, cases

pytestmark = pytest.mark.long

KILLS = 3


@pytest.mark.parametrize("name", ["denoise", "recognize --annotate", "train", "export"])
def test_a_run_that_was_killed_goes_on_as_if_it_was_not(name: str, tmp_path: Path) -> None:
    (case,) = (case for case in cases(tmp_path, small=True) if case.name == name)
    assert attack(case, tmp_path / "runs", KILLS, random.Random(name)) >= 1
