"""Which of several processes of one training this is."""

from __future__ import annotations

import os


def is_first() -> bool:
    """Is this the one that speaks? By what torchrun and Lightning put into the environment."""
    names = ("RANK",) if "RANK" in os.environ else ("LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)
