"""What the manifest and the table of a folder run keep of what was found."""

from __future__ import annotations

from typing import Any

from dlkit.tasks.detect.objects import Detection


def line(answer: Detection | list[Detection] | None) -> dict[str, Any]:
    """Fields of the manifest's line: of the one scan, or of the frames of a file; none of what
    failed."""
    if answer is None:
        return {}
    if isinstance(answer, list):
        return {"frames": [one.record() for one in answer]}
    return answer.record()
