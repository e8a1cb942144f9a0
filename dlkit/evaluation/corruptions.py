"""Corruptions that a digit survives, to measure how robust recognition is.

The first fifteen are those of MNIST-C (Mu and Gilmer, "MNIST-C: A Robustness Benchmark for
Computer Vision", arXiv 1906.02337) at the default strength of its code
(github.com/google-research/mnist-c), which made its test set; the last three are in that code
beside the benchmark. All are written anew on whole batches; where a result differs in more than
rounding and random numbers, the docstring says so. They are for evaluation: augmentation must not
use them.

Each is a function of uint8 (N, 28, 28), bright digits on black, and a random generator, and gives
uint8 (N, 28, 28). Its other parameters have the strength as their default.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.images import UInt8
from dlkit.training.classify import _strokes

Random: TypeAlias = np.random.Generator
Floats: TypeAlias = NDArray[np.float32]

_SIZE = 28
_FOGS = 256  # different ones; the map of a fog has 256 x 256 values, of which 28 x 28 are used


def corrupt(name: str, images: UInt8, seed: int = 0) -> UInt8:
    """Images with one of ``CORRUPTIONS``; the same seed gives the same bytes.

    Args:
        images: uint8 (N, 28, 28).

    Returns:
        uint8 (N, 28, 28), a new array.
    """
    # By name, so that a further corruption changes no other one.
    return CORRUPTIONS[name](images, np.random.default_rng([seed, zlib.crc32(name.encode())]))


def settings(name: str) -> dict[str, Any]:
    """Strength of a corruption: its parameters by name."""
    parameters = list(inspect.signature(CORRUPTIONS[name]).parameters.values())[2:]
    return {parameter.name: parameter.default for parameter in parameters}


def shot_noise(images: UInt8, random: Random, photons: float = 3.0) -> UInt8:
    """Poisson noise of so many photons in a white pixel (severity 5)."""
    return _pixels(random.poisson(_floats(images) * photons) / photons)


def impulse_noise(images: UInt8, random: Random, share: float = 0.17) -> UInt8:
    """So many pixels become black or white (severity 4)."""
    draw = random.random(images.shape)
    return np.where(draw < share, np.where(draw < share / 2, 0, 255), images).astype(np.uint8)


def glass_blur(images: UInt8, random: Random, sigma: float = 0.7, rounds: int = 2) -> UInt8:
    """Blurred, neighbouring pixels swapped at random, blurred again (severity 1).

    MNIST-C's blur runs along columns only; this one along rows as well.
    """
    mixed = np.ascontiguousarray(_pixels(_blur(_floats(images), sigma)).transpose(1, 2, 0))
    for _ in range(rounds):
        for row in range(_SIZE - 1, 1, -1):
            for column in range(_SIZE - 1, 1, -1):
                (which,) = np.nonzero(random.random(len(images)) < 0.5)
                up, left = random.integers(0, 2, (2, len(which)))
                here = mixed[row, column, which]
                mixed[row, column, which] = mixed[row - up, column - left, which]
                mixed[row - up, column - left, which] = here
    return _pixels(_blur(_floats(np.ascontiguousarray(mixed.transpose(2, 0, 1))), sigma))


def motion_blur(
    images: UInt8, random: Random, radius: int = 10, sigma: float = 3.0, degrees: float = 45.0
) -> UInt8:
    """A smear to one side, in a direction within +-``degrees`` of the rows (severity 1).

    Weights and steps are those of ImageMagick's MotionBlurImage, which MNIST-C calls: a half
    Gaussian over 2 radius + 1 whole steps.
    """
    angles = np.deg2rad(random.uniform(-degrees, degrees, len(images)))
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    place = np.arange(_SIZE)
    count = np.arange(len(images))[:, None, None]
    smeared = np.zeros(images.shape, np.float32)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        across = np.ceil(step * np.cos(angles) - 0.5).astype(int)
        down = np.ceil(step * np.sin(angles) - 0.5).astype(int)
        rows = np.clip(place + down[:, None], 0, _SIZE - 1)[:, :, None]
        columns = np.clip(place + across[:, None], 0, _SIZE - 1)[:, None, :]
        smeared += np.float32(weight / 255) * images[count, rows, columns]
    return _pixels(smeared)


def shear(images: UInt8, random: Random, radians: float = 0.4) -> UInt8:
    """Slanted to the left or right (severity 2); also 1 / cos(radians) as high, as in MNIST-C."""
    signs = random.choice([-1, 1], len(images))
    return _warp(
        images, [[[1, -np.sin(s * radians)], [0, np.cos(s * radians)]] for s in (-1, 1)], signs > 0
    )


def scale(images: UInt8, random: Random, factor: float = 0.7) -> UInt8:
    """Shrunk to so much of its size (severity 3)."""
    return _warp(images, [np.eye(2) / factor], np.zeros(len(images), int))


def rotate(images: UInt8, random: Random, radians: float = 0.4) -> UInt8:
    """Turned to the left or right, 23 degrees (severity 2)."""
    signs = random.choice([-1, 1], len(images))
    turns = [
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        for angle in (-radians, radians)
    ]
    return _warp(images, turns, signs > 0)


def brightness(images: UInt8, random: Random, more: float = 0.5) -> UInt8:
    """So much of the full range added to every pixel (severity 5)."""
    return _pixels(_floats(images) + more)


def translate(images: UInt8, random: Random, pixels: int = 3) -> UInt8:
    """Shifted along a diagonal, in one of its four directions (severity 3)."""
    moved = np.zeros_like(images)
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels)))
    choice = random.integers(0, 4, len(images))
    for corner in range(4):
        top, left = 2 * pixels * (corner // 2), 2 * pixels * (corner % 2)
        window = padded[:, top : top + _SIZE, left : left + _SIZE]
        moved[choice == corner] = window[choice == corner]
    return moved


def stripe(images: UInt8, random: Random, columns: int = 7) -> UInt8:
    """So many columns at the left and at the right are inverted."""
    striped = images.copy()
    striped[:, :, :columns] = 255 - striped[:, :, :columns]
    striped[:, :, -columns:] = 255 - striped[:, :, -columns:]
    return striped


def fog(images: UInt8, random: Random, amount: float = 3.0, decay: float = 1.4) -> UInt8:
    """A plasma fractal, ``amount`` times as strong as the digit, over it (severity 5).

    MNIST-C draws one for each image; here 256 are drawn and handed out in turn.
    """
    fogs = np.stack([_plasma(random, decay) for _ in range(min(_FOGS, max(1, len(images))))])
    pixels = _floats(images)
    brightest = pixels.max(axis=(1, 2), keepdims=True, initial=0)
    over = pixels + amount * fogs[np.arange(len(images)) % len(fogs)]
    return _pixels(over * brightest / (brightest + amount))


def spatter(
    images: UInt8,
    random: Random,
    mean: float = 0.65,
    deviation: float = 0.3,
    sigma: float = 1.0,
    threshold: float = 0.65,
    edge: float = 1.5,
    grey: float = 63 / 255,
) -> UInt8:
    """Drops of dark grey mud that hide what is under them (severity 4)."""
    liquid = _blur(random.normal(mean, deviation, images.shape).astype(np.float32), sigma)
    drops = _blur((liquid > threshold).astype(np.float32), edge)
    drops[drops < 0.8] = 0
    return _pixels(_floats(images) * (1 - drops) + grey * drops)


def dotted_line(images: UInt8, random: Random, dash: int = 2) -> UInt8:
    """A dashed line from the left edge to the right one; dashes and gaps are ``dash`` wide."""
    starts, ends = random.integers(0, _SIZE - 1, (2, len(images)))
    return _pixels(_floats(images) + _strokes.dashed(starts, ends, dash))


def zigzag(images: UInt8, random: Random, length: float = 2.0, height: float = 2.0) -> UInt8:
    """A zigzag line across the image; ``length`` of a quarter of its period."""
    starts = random.integers(0, _SIZE - 1, len(images))
    slopes = random.integers(-5, 5, len(images))
    return _pixels(_floats(images) + _strokes.zigzags(starts, slopes, length, height))


def canny_edges(images: UInt8, random: Random, sigma: float = 1.0) -> UInt8:
    """Its edges alone, white on black, by Canny's detector (scikit-image's, its defaults)."""
    from skimage.feature import canny

    edges = [canny(one, sigma=sigma) for one in images / 255]
    return np.stack(edges).astype(np.uint8) * np.uint8(255)


def gaussian_blur(images: UInt8, random: Random, sigma: float = 2.0) -> UInt8:
    """Out of focus (severity 2); MNIST-C's code blurs along columns only, this along rows too."""
    return _pixels(_blur(_floats(images), sigma))


def contrast(images: UInt8, random: Random, factor: float = 0.1) -> UInt8:
    """So much of the contrast around the image's mean is left (severity 4)."""
    pixels = _floats(images)
    means = pixels.mean(axis=(1, 2), keepdims=True)
    return _pixels((pixels - means) * factor + means)


def inverse(images: UInt8, random: Random) -> UInt8:
    """Dark on white."""
    return 255 - images


CORRUPTIONS: Mapping[str, Callable[[UInt8, Random], UInt8]] = {
    function.__name__: function
    for function in (
        shot_noise, impulse_noise, glass_blur, motion_blur, shear, scale, rotate, brightness,
        translate, stripe, fog, spatter, dotted_line, zigzag, canny_edges,
        gaussian_blur, contrast, inverse,
    )
}  # fmt: skip
MNIST_C = tuple(CORRUPTIONS)[:15]


def _floats(images: UInt8) -> Floats:
    return images.astype(np.float32) / np.float32(255)


def _pixels(floats: NDArray[Any]) -> UInt8:
    return np.asarray(np.rint(np.clip(floats, 0, 1) * 255), np.uint8)


def _blur(images: Floats, sigma: float) -> Floats:
    """Gaussian, cut at four sigma, edges repeated: as scikit-image's."""
    size = 2 * int(4 * sigma + 0.5) + 1
    blurred = [
        cv2.GaussianBlur(one, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
        for one in images
    ]
    return np.stack(blurred).astype(np.float32)


def _warp(images: UInt8, maps: list[Any], which: NDArray[Any]) -> UInt8:
    """Bilinear, about the centre. ``maps``: 2 x 2, from a place in the result to the image's."""
    centre = (_SIZE - 1) / 2
    matrices = []
    for linear in np.asarray(maps, float):
        shift = centre - linear @ [centre, centre]
        matrices.append(np.hstack([linear, shift[:, None]]))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = [
        cv2.warpAffine(image, matrices[int(index)], (_SIZE, _SIZE), flags=flags)
        for image, index in zip(images, which, strict=True)
    ]
    return np.stack(warped).astype(np.uint8)


def _plasma(random: Random, decay: float, size: int = 256) -> Floats:
    """The top left 28 x 28 of a plasma fractal, 0 to 1 over the whole, by diamonds and squares."""
    field = np.zeros((size, size))
    step, wibble = size, 100.0
    while step >= 2:
        half = step // 2
        corners, middles = field[::step, ::step], field[half::step, half::step]
        total = corners + np.roll(corners, -1, 0)
        middles[:] = _wobbly(random, wibble, total + np.roll(total, -1, 1))
        total = middles + np.roll(middles, 1, 0) + corners + np.roll(corners, -1, 1)
        field[::step, half::step] = _wobbly(random, wibble, total)
        total = middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 0)
        field[half::step, ::step] = _wobbly(random, wibble, total)
        step, wibble = half, wibble / decay
    field -= field.min()
    return np.asarray(field[:_SIZE, :_SIZE] / field.max(), np.float32)


def _wobbly(random: Random, wibble: float, total: NDArray[Any]) -> NDArray[Any]:
    """The mean of four, and a random amount; squared, as MNIST-C's code has it."""
    return total / 4 + wibble * random.uniform(-wibble, wibble, total.shape)
