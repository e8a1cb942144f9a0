"""The task ``segment``: an image in, a mask of the same size out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dlkit import Model, ModelSpec, Task, TensorSpec, images
from dlkit.tasks import Calibration, HeldOut, Outputs, Tolerance, single
from shapes.discs import discs

if TYPE_CHECKING:
    from torch import nn


class Segmenter(Model[images.Image, images.Image, NDArray[np.uint8]]):
    """A loaded bundle that finds discs."""

    suffixes = images.SUFFIXES

    def segment(self, samples: Iterable[images.Image]) -> list[NDArray[np.uint8]]:
        """Masks, uint8 (H, W), 255 where a disc is."""
        return self.answers(samples, 4)

    def decode(self, data: bytes, path: str) -> images.Image:
        """An image."""
        return images.decode(data, path)

    def prepare(self, sample: images.Image) -> tuple[images.UInt8, images.Image]:
        """Grey and padded."""
        return images.pad(images.grey(sample), self.bundle.spec.multiple_of), sample

    def finish(self, output: NDArray[Any], note: images.Image) -> NDArray[np.uint8]:
        """Cropped."""
        return images.crop(output, *note.shape[:2]) * np.uint8(255)

    def output_name(self, name: str) -> str:
        """As the input's."""
        return name

    def encode(self, answer: NDArray[np.uint8], name: str) -> bytes:
        """A mask as an image."""
        return images.encode_frames(name, [answer])


class Segment(Task):
    """Discs."""

    name = "segment"
    about = "where discs are in an image"
    model = Segmenter
    unit = "class"
    agreement_name = "IoU to it"
    least_inputs = 10
    tolerances: ClassVar[Mapping[str, Tolerance]] = {
        precision: Tolerance(1.0, 0.02, {"iou": 0.02}) for precision in ("fp32", "fp16", "int8")
    }

    def check(self, spec: ModelSpec) -> None:
        """Everything goes."""

    def held_out(
        self,
        spec: ModelSpec,
        origin: Mapping[str, Any],
        data: str | None = None,
        count: int | None = None,
    ) -> HeldOut:
        """Discs of a seed of their own."""
        return self._scored(spec, count or 40, seed=99)

    def _scored(self, spec: ModelSpec, count: int, seed: int) -> HeldOut:
        images, masks = discs(count, seed)
        batches = [{spec.input.name: images[at : at + 7]} for at in range(0, len(images), 7)]

        def score(outputs: Outputs) -> dict[str, float]:
            return {"iou": _iou(np.concatenate(single(outputs)), masks)}

        return HeldOut("discs", batches, len(batches), score)

    def calibration(
        self, spec: ModelSpec, origin: Mapping[str, Any], data: str | None, multiply_adds: int
    ) -> Calibration:
        """Discs that training saw."""
        images, _ = discs(16, seed=0)
        return Calibration("discs", [{spec.input.name: images}], self._scored(spec, 40, seed=1))

    def agreement(self, expected: Outputs, outputs: Outputs) -> float:
        """Intersection over union."""
        return _iou(np.concatenate(single(outputs)), np.concatenate(single(expected)))

    def describe(self, config: Any, meaning: Mapping[str, Any], multiple_of: int) -> ModelSpec:
        """uint8 in, uint8 out."""
        shape = ("n", "height", "width")
        return ModelSpec(
            name="",
            task=self.name,
            precision="fp32",
            inputs=(TensorSpec("pixels", "uint8", shape),),
            outputs=(TensorSpec("mask", "uint8", shape),),
            multiple_of=multiple_of,
        )

    def wrap(self, network: nn.Module, config: Any, meaning: Mapping[str, Any]) -> nn.Module:
        """Scaling before, the likelier class behind."""
        from shapes.wrapper import Masks

        return Masks(network.eval()).eval()


def _iou(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


TASK = Segment()
