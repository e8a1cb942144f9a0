"""Inputs for graphs of others: photographs, pages, sound, ids; the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

Array = NDArray[Any]
# Photographs that scikit-image ships (skimage.data), no two of one scene.
_PHOTOS = (data.astronaut, data.coffee, data.chelsea, data.rocket)
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of ImageNet
_CALIBRATED = (2, 3, 6, 7, 10, 11, 14, 15)  # calls whose photographs are the last two
_RATE = 16000  # samples a second
_MORE = 16  # calls: there are few scenes and texts; from then on they are moved, or have a number


def write(path: Path, inputs: Mapping[str, tuple[str, tuple[int, ...]]], calls: int) -> None:
    """Arrays of several calls, named ``CALL/INPUT``."""
    arrays = {f"{one}/{name}": array
              for one in numbers(calls) for name, array in call(inputs, one).items()}  # fmt: skip
    np.savez(path, **arrays)  # type: ignore[arg-type]


def numbers(calls: int) -> list[int]:
    """Of calls that are compared: none of what is calibrated on."""
    return [4 * (one // 2) + one % 2 for one in range(calls)]


def call(inputs: Mapping[str, tuple[str, tuple[int, ...]]], number: int) -> dict[str, Array]:
    """Arrays of one call, by the names of the inputs.

    Args:
        inputs: by name, the kind of input (a function of this file) and its shape.
        number: of the call; each has inputs of its own.
    """
    return {
        name: _KINDS[kind](tuple(shape), np.random.default_rng([number, place]), number)
        for place, (name, (kind, shape)) in enumerate(inputs.items())
    }


def read(path: Path) -> list[dict[str, Array]]:
    """What ``write`` wrote, a mapping for each call."""
    calls: dict[int, dict[str, Array]] = {}
    with np.load(path) as stored:
        for key in stored.files:
            number, name = key.split("/", 1)
            calls.setdefault(int(number), {})[name] = stored[key]
    return [calls[number] for number in sorted(calls)]


def calibration(folder: Path, inputs: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
    """Files of arrays to calibrate on, a call each.

    No scene or voice of the calls that are compared is among them.
    """
    folder.mkdir()
    for number in _CALIBRATED:
        np.savez(folder / f"{number}.npz", **call(inputs, number))  # type: ignore[arg-type]


def _rgb(shape: tuple[int, ...], call: int) -> Array:
    """Photographs, uint8 (N, H, W, 3)."""
    chosen = []
    for number in range(call, call + shape[0]):
        whole = _PHOTOS[number % len(_PHOTOS)]()
        edge = min(40 * (number // len(_PHOTOS)), whole.shape[0] // 3)  # each time a smaller part
        moved = max(0, call - _MORE)
        chosen.append(np.roll(whole[edge:, edge:], (3 * moved, 5 * moved), axis=(0, 1)))
    size = (shape[-1], shape[-2])
    return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in chosen])


def photo_255(shape: tuple[int, ...], _: np.random.Generator, call: int) -> Array:
    """Photographs (N, 3, H, W), 0 to 255."""
    return np.ascontiguousarray(_rgb(shape, call).transpose(0, 3, 1, 2), np.float32)


def photo_01(shape: tuple[int, ...], generator: np.random.Generator, call: int) -> Array:
    """Photographs, 0 to 1."""
    return photo_255(shape, generator, call) / np.float32(255)


def photo(shape: tuple[int, ...], generator: np.random.Generator, call: int) -> Array:
    """Photographs as networks of ImageNet take them."""
    pixels = photo_01(shape, generator, call).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(((pixels - _MEAN) / _STD).transpose(0, 3, 1, 2), np.float32)


def photo_last(shape: tuple[int, ...], _: np.random.Generator, call: int) -> Array:
    """Photographs (N, H, W, 3), blue first, the mean of ImageNet taken off values to 255."""
    pixels = _rgb((*shape[:1], 3, *shape[1:3]), call)[..., ::-1]
    return np.asarray(pixels - 255 * _MEAN[::-1], np.float32)


def photo_moved(shape: tuple[int, ...], generator: np.random.Generator, call: int) -> Array:
    """The photographs of ``photo``, a little later: moved by some pixels."""
    return np.roll(photo(shape, generator, call), (3, 5), axis=(2, 3))


def _text(height: int, width: int, call: int, lines: int) -> Array:
    page = np.full((height, width), 255, np.uint8)
    words = ("Engine 4711", "measured, never", "claimed: 0.95", "fp16 on 23 May", "invoice no. 8")
    step = height / lines
    for line in range(lines):
        place = (4, int(step * (line + 0.72)))
        text = words[(line + call) % len(words)] + (f" {call}" if call >= _MORE else "")
        cv2.putText(page, text, place, cv2.FONT_HERSHEY_SIMPLEX, step / 44, 20, 1 + lines // 4)
    return page


def page(shape: tuple[int, ...], _: np.random.Generator, call: int) -> Array:
    """A page of text (1, 3, H, W) as networks of ImageNet take it."""
    grey = _text(shape[-2], shape[-1], call, 5)[..., None] / 255
    return np.ascontiguousarray(((grey - _MEAN) / _STD).transpose(2, 0, 1)[None], np.float32)


def line(shape: tuple[int, ...], _: np.random.Generator, call: int) -> Array:
    """A line of text (1, C, H, W), -1 to 1."""
    grey = _text(shape[-2], shape[-1], call, 1) / 127.5 - 1
    return np.ascontiguousarray(np.broadcast_to(grey, shape), np.float32)


def grey_line(shape: tuple[int, ...], generator: np.random.Generator, call: int) -> Array:
    """A line of text, 0 to 1."""
    return line(shape, generator, call) / 2 + np.float32(0.5)


def sound(shape: tuple[int, ...], generator: np.random.Generator, call: int) -> Array:
    """Like speech, -1 to 1: harmonics of a voice that rises and falls, syllables, and hiss."""
    time = np.arange(np.prod(shape)) / _RATE
    pitch = 110 + 60 * (call % 4) + 15 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / _RATE
    voice = sum(np.sin(phase * k) / k for k in range(1, 24))
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time + generator.uniform(0, 6))
    hiss = generator.normal(0, 0.01, time.shape)
    return (0.15 * voice * syllables + hiss).astype(np.float32).reshape(shape)


def sound_16_bits(shape: tuple[int, ...], generator: np.random.Generator, call: int) -> Array:
    """The same in values of 16 bits."""
    return (sound(shape, generator, call) * 32767).round()


def spectrogram(shape: tuple[int, ...], generator: np.random.Generator, call: int) -> Array:
    """Like a log-mel spectrogram (..., frames, bins), -1 to 1."""
    frames, bins = shape[-2:]
    formants = np.sin(np.linspace(0, 9 + call, bins))[None] * np.ones((frames, 1))
    syllables = np.sin(np.linspace(0, frames / 6, frames))[:, None]
    base = 0.3 * formants + 0.3 * syllables - 0.2
    return np.clip(base + generator.normal(0, 0.15, shape), -1, 1).astype(np.float32)


def byte(shape: tuple[int, ...], generator: np.random.Generator, _: int) -> Array:
    """Bytes of a text file, int32, 0 to 255."""
    words = "import numpy as np\n\ndef main(argv: list[str]) -> int:\n    return len(argv)\n"
    start = int(generator.integers(0, len(words)))
    whole = (words * (shape[-1] // len(words) + 2)).encode()[start : start + shape[-1]]
    return np.broadcast_to(np.frombuffer(whole, np.uint8), shape).astype(np.int32)


def normal(shape: tuple[int, ...], generator: np.random.Generator, _: int) -> Array:
    """Numbers of mean 0 and variance 1."""
    return generator.normal(size=shape).astype(np.float32)


def zeros(shape: tuple[int, ...], _: np.random.Generator, __: int) -> Array:
    """A state before the first call."""
    return np.zeros(shape, np.float32)


def rate(shape: tuple[int, ...], _: np.random.Generator, __: int) -> Array:
    """Samples a second, int64."""
    return np.full(shape, _RATE, np.int64)


_KINDS: dict[str, Callable[[tuple[int, ...], np.random.Generator, int], Array]] = {
    "photo_255": photo_255, "photo_01": photo_01, "photo": photo,
    "photo_last": photo_last, "photo_moved": photo_moved,
    "page": page, "line": line, "grey_line": grey_line,
    "sound": sound, "sound_16_bits": sound_16_bits, "spectrogram": spectrogram, "bytes": byte,
    "normal": normal, "zeros": zeros, "rate": rate,
}  # fmt: skip
