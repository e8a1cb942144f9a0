"""What was put around a graph, in numpy: a reference must not share what it is to judge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.export.pixels import Around, Pixels
from dlkit.tasks import Feeds


def feeds_within(feeds: Feeds, around: Around) -> Feeds:
    """What the graph itself takes, of what its bundle takes."""
    pixels = around.pixels
    if pixels is None:
        return feeds
    image = feeds[around.name].astype(np.float64)
    if image.ndim == 3:
        image = image[..., None]
    image = (image * pixels.scale - np.array(pixels.mean)) / np.array(pixels.std)
    if not around.last:
        image = np.moveaxis(image, 3, 1)
    return {**feeds, around.name: np.ascontiguousarray(image.astype(around.dtype))}


def outputs_without(outputs: dict[str, NDArray[Any]], around: Around) -> dict[str, NDArray[Any]]:
    """What the bundle gives, of what the graph itself gives."""
    for end in around.ends:
        name, array = next(iter(outputs.items()))
        outputs = {name: _end(array, end, around)}
    return outputs


def _end(array: NDArray[Any], end: str, around: Around) -> NDArray[Any]:
    wide: NDArray[np.float64] = array.astype(np.float64)
    if end == "flatten":
        return array.reshape(len(array), -1).astype(np.float32)
    if end == "exp":
        return np.asarray(np.exp(wide), np.float32)
    if end == "percent":
        return np.asarray(wide / 100, np.float32)
    if end == "softmax":
        powers = np.exp(wide - wide.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
    pixels = around.pixels or Pixels().of(1)
    if not around.last:
        wide = np.moveaxis(wide, 1, 3)
    levels = (wide * np.array(pixels.std) + np.array(pixels.mean)) / pixels.scale
    rounded: NDArray[np.uint8] = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
    return rounded[..., 0] if len(pixels.mean) == 1 else rounded
