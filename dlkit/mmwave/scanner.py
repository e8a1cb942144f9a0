"""The scanner: optics, receivers with their stripes and noise, and the eight-bit picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dlkit.mmwave.fields import ByteImage, FloatImage, smooth_field, smooth_line, uniform
from dlkit.mmwave.parameters import Parameters

# Below this sigma, in pixels, a Gaussian is not worth its time.
LEAST_SIGMA = 0.25


def blur(image: FloatImage, across: float, down: float) -> FloatImage:
    """Gaussian blur of a float32 image with a sigma in pixels for each direction."""
    if max(across, down) < LEAST_SIGMA:
        return image
    sigmas = (max(across, LEAST_SIGMA), max(down, LEAST_SIGMA))
    kernel = (2 * round(2.6 * sigmas[0]) + 1, 2 * round(2.6 * sigmas[1]) + 1)
    return np.asarray(
        cv2.GaussianBlur(
            image, kernel, sigmas[0], sigmaY=sigmas[1], borderType=cv2.BORDER_REPLICATE
        )
    )


@dataclass(frozen=True)
class Optics:
    """Point-spread function of one scan; all sigmas in canvas pixels."""

    across: float
    down: float
    defocus: float
    halo_share: float
    halo_sigma: float

    @classmethod
    def draw(cls, rng: np.random.Generator, parameters: Parameters, scale: float) -> Optics:
        """Draw one; `scale` is canvas pixels in a reference pixel."""
        return cls(
            uniform(rng, parameters.psf_across) * scale,
            uniform(rng, parameters.psf_down) * scale,
            uniform(rng, parameters.defocus),
            uniform(rng, parameters.halo_share),
            uniform(rng, parameters.halo_sigma) * scale,
        )

    def apply(self, scene: FloatImage) -> FloatImage:
        """Blur a scene, float32 (H, W): sharp at the top, less so at the feet, and a faint halo."""
        sharp = blur(scene, self.across, self.down)
        soft = blur(scene, self.across * self.defocus, self.down * self.defocus)
        rows = np.linspace(-0.6, 1.0, scene.shape[0], dtype=np.float32)[:, None].clip(0.0, 1.0)
        image = sharp + (soft - sharp) * rows
        if self.halo_share > 0:
            # The halo is so smooth that a quarter of the resolution serves it.
            height, width = scene.shape
            small_size = (max(2, width // 4), max(2, height // 4))
            small = cv2.resize(scene, small_size, interpolation=cv2.INTER_AREA)
            small = blur(np.asarray(small), self.halo_sigma / 4, self.halo_sigma / 4)
            halo = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
            image += (halo - image) * np.float32(self.halo_share)
        return np.asarray(image, dtype=np.float32)


def _columns(
    rng: np.random.Generator, parameters: Parameters, width: int, scale: float
) -> tuple[FloatImage, FloatImage]:
    """Offset in kelvin and relative gain of each column, float32 (width,), spikes included."""
    p = parameters
    sigma = max(0.4, uniform(rng, p.column_sigma) * scale)
    offset = smooth_line(rng, width, sigma) * uniform(rng, p.column_offset_kelvin)
    for octave in (9.0, 26.0, 70.0):  # about 1/f: as much in each octave
        offset += (
            smooth_line(rng, width, octave * scale) * uniform(rng, p.column_drift_kelvin) / 1.7
        )
    gain = smooth_line(rng, width, sigma) * uniform(rng, p.column_gain)
    gain += smooth_line(rng, width, 20.0 * scale) * uniform(rng, p.column_gain) * 0.5
    places = np.arange(width, dtype=np.float32)
    for _ in range(int(rng.poisson(p.spike_count))):
        shape = np.exp(-0.5 * ((places - rng.uniform(0, width)) / (1.3 * sigma)) ** 2)
        sign = float(rng.choice([-1.0, 1.0]))
        if rng.random() < 0.7:
            offset += (sign * uniform(rng, p.spike_kelvin) * shape).astype(np.float32)
        else:
            gain += (sign * uniform(rng, p.spike_gain) * shape).astype(np.float32)
    return offset, gain


def receive(
    rng: np.random.Generator,
    parameters: Parameters,
    image: FloatImage,
    scale: float,
    surroundings: float,
) -> FloatImage:
    """Add stripes, drift and noise to a blurred scene in kelvin: float32 (H, W) to the same.

    Gains act on the excess over the `surroundings`, which the receivers are balanced to.
    """
    p = parameters
    height, width = image.shape
    shift = uniform(rng, p.row_shift) * scale
    if shift > 0.05:
        columns = np.broadcast_to(np.arange(width, dtype=np.float32), (height, width))
        moved = columns + rng.normal(0, shift, (height, 1)).astype(np.float32)
        rows = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], (height, width))
        image = np.asarray(
            cv2.remap(
                image, moved, np.ascontiguousarray(rows), cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )  # fmt: skip
    offset, gain = _columns(rng, p, width, scale)
    fading = uniform(rng, p.column_fading)
    # Stripes change slowly down the scan: two fields, each as wide as a stripe and very tall.
    change = 1.0 + fading * smooth_field(rng, (height, width), 6.0 * scale, 130.0 * scale)
    wander = smooth_field(rng, (height, width), 5.0 * scale, 110.0 * scale)
    striped = (image - surroundings) * (1.0 + gain * change) + offset * change
    striped += wander * np.float32(fading * uniform(rng, p.column_offset_kelvin) * 0.8)
    rows_drift = smooth_line(rng, height, 60.0 * scale) * uniform(rng, p.drift_kelvin)
    rows_drift += smooth_line(rng, height, max(0.4, 0.9 * scale)) * uniform(rng, p.row_kelvin)
    noise = rng.standard_normal((height, width), dtype=np.float32)
    across, down = uniform(rng, p.noise_across) * scale, uniform(rng, p.noise_down) * scale
    noise = blur(noise, across, down)
    noise *= np.float32(uniform(rng, p.noise_kelvin) / max(float(noise.std()), 1e-6))
    return np.asarray(striped + rows_drift[:, None] + noise, dtype=np.float32)


def to_grey(parameters: Parameters, kelvin: FloatImage) -> tuple[FloatImage, float]:
    """Normalise a scan to the display's mean and deviation: float32 (H, W), not yet clipped, and
    the grey levels of a kelvin."""
    deviation = float(kelvin.std())
    gain = min(parameters.grey_deviation / max(deviation, 1e-6), parameters.greatest_gain)
    grey = (kelvin - float(kelvin.mean())) * np.float32(gain) + np.float32(parameters.grey_mean)
    return np.asarray(grey, dtype=np.float32), gain


def quantise(grey: FloatImage) -> ByteImage:
    """Round and clip to uint8."""
    return np.asarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))


def kill_columns(rng: np.random.Generator, parameters: Parameters, image: ByteImage) -> ByteImage:
    """Now and then one or two dead columns, at a constant grey level: uint8 (H, W)."""
    if rng.random() >= parameters.dead_column_probability:
        return image
    image = image.copy()
    for _ in range(int(rng.integers(1, 3))):
        column = int(rng.integers(image.shape[1]))
        image[:, column : column + int(rng.integers(1, 3))] = int(rng.choice([0, 40, 90, 255]))
    return image
