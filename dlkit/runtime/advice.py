"""Which command certifies a bundle: as it can be copied, in capitals what only its user knows."""

from __future__ import annotations

import json
import shlex

from dlkit.bundle import Bundle, shipped
from dlkit.bundle.bundle import SHIPPED
from dlkit.tasks import TASKS

HELD_OUT = "HELD_OUT"  # data that neither training nor calibration saw
_MADE_FROM = "MADE_FROM"  # a module, run or file that nothing is known of


def how_to_verify(bundle: Bundle, against: str = "", data: str = "") -> str:
    """``dlkit verify`` with all that this bundle needs.

    Args:
        against: its reference, with its weights, as words of the command; what the bundle finds by
            itself, or says of itself, by default.
        data: held-out data; the task's own by default, where it has some.
    """
    words = ["dlkit verify", shlex.quote(str(bundle.path))]
    if against := against or _against(bundle):
        words.append(f"--against {against}")
    known = TASKS.load(bundle.spec.task).has_held_out(bundle.spec, bundle.origin)
    if data or not known:
        words.append(f"--data {shlex.quote(data or HELD_OUT)}")
    return " ".join(words)


def _against(bundle: Bundle) -> str:
    """Nothing where ``verify`` finds a reference without being told."""
    origin = bundle.origin
    if _finds_run(bundle) or _finds_source(bundle):
        return ""
    if "weights" in origin:
        weights = " --weights WEIGHTS" if origin["weights"] else ""
        return f"{shlex.quote(str(origin['module']))}{weights}"
    return _MADE_FROM


def _finds_run(bundle: Bundle) -> bool:
    """A bundle of a recipe holds its network by name in float32; else there is the run around it,
    or the bundle that ships with dlkit."""
    checkpoint = bundle.origin.get("checkpoint_sha256")
    if not bundle.origin.get("recipe") or checkpoint is None:
        return False
    if bundle.spec.precision == "fp32":
        return True
    if (bundle.path.resolve().parent / "recipe.json").is_file():
        return True
    for name in shipped():
        origin = json.loads((SHIPPED / name / "model.json").read_bytes()).get("origin", {})
        if origin.get("checkpoint_sha256") == checkpoint:
            return True
    return False


def _finds_source(bundle: Bundle) -> bool:
    """What it was converted from lies where it lay, and is another graph."""
    origin, folder = bundle.origin, bundle.path.resolve()
    if origin.get("converted_from_sha256") in (None, bundle.sha256) or origin.get("as_it_was"):
        return False
    source, name = origin.get("source"), origin.get("onnx_file")
    return bool(source and (folder / str(source)).exists()) or bool(
        name and (folder.parent / str(name)).is_file()
    )
