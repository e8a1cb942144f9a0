"""Encoded images as inputs and outputs: tensors of BYTES, in the task's own preparation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit import images
from dlkit.errors import DlkitError
from dlkit.serving.calls import Arrays
from dlkit.serving.datatypes import BYTES
from dlkit.serving.messages import Tensor
from dlkit.serving.refused import RefusedError, invalid
from dlkit.tasks import Model, Task


@dataclass(frozen=True)
class Encoded:
    """Images that go into a model and, where it gives some, come out of it.

    Attributes:
        model: prepares and finishes them.
        pixels: its answers are images, too.
    """

    model: Model[Any, Any, Any]
    pixels: bool

    @classmethod
    def of(cls, task: Task, model: Model[Any, Any, Any]) -> Encoded | None:
        """None where the task takes no images."""
        return cls(model, task.gives == "pixels") if task.images else None

    def prepare(self, data: bytes) -> tuple[Any, Any]:
        """An image as the graph takes it, and the note for its answer.

        Raises:
            RefusedError: it is none, has several frames, or cannot be taken.
        """
        try:
            found = self.model.decode_all(data, "the image", "all")
            if len(found) != 1:
                raise invalid(f"the image has {len(found)} frames", "Send one each")
            self.model.check(found[0])
            return self.model.prepare(found[0])
        except RefusedError:
            raise
        except DlkitError as error:
            raise invalid(error.what, error.mend) from None

    def outputs(self, rows: Sequence[Arrays], notes: Sequence[Any]) -> dict[str, Tensor]:
        """The outputs for images, in their order: PNG files where the answers are images.

        Raises:
            RefusedError: the model gave nothing that can be an answer.
        """
        if not self.pixels:
            joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
            return {name: Tensor.of(name, array) for name, array in joined.items()}
        ((name, _),) = rows[0].items()
        files = []
        for row, note in zip(rows, notes, strict=True):
            try:
                answer = self.model.finish(row[name][0], note)
            except DlkitError as error:
                raise invalid(error.what, error.mend) from None
            files.append(images.encode(answer, ".png"))
        return {name: Tensor(name, BYTES, (len(files),), files)}
