"""Which of a test's cases are long ones, that `make test-long` runs."""

from collections.abc import Iterable
from typing import Any

import pytest


def long(case: Any) -> Any:
    return pytest.param(case, marks=pytest.mark.long)


def long_but(quick: Iterable[Any], cases: Iterable[Any]) -> list[Any]:
    """The cases, all of them long but the quick ones."""
    quick, cases = list(quick), list(cases)
    assert all(one in cases for one in quick), f"quick cases that are none: {quick}"
    return [one if one in quick else long(one) for one in cases]
