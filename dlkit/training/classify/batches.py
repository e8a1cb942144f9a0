"""Batches of images out of memory: which images, how deformed, towards which target.

What a batch holds depends on the recipe's seed, the epoch and the step alone: not on the process
that computes it, nor on what ran before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dlkit.tasks.recognize.labelled import Labelled
from dlkit.training.classify.augment import NORMALS, UNIFORMS, Warp
from dlkit.training.classify.distort import UNIFORMS as DISTORT_UNIFORMS
from dlkit.training.classify.distort import Distort
from dlkit.training.classify.outliers import outliers
from dlkit.training.classify.recipe import ClassifyRecipe

_AT_A_TIME = 500  # pictures that are normalised together: what lies between stays small
_MOST_VALIDATION = 5000
_SPLIT_SEED = 5000  # every seed of a recipe has the same validation digits
_MOST_NORMALISED = 1 << 30  # bytes of normalised images that are kept: more would fill a memory
_SETTLED = 0.25  # of the deformation is left at the end of a training that settles


class Batches:
    """The training images of a recipe, split and in order.

    Args:
        recipe: a resolved one.

    Attributes:
        count: batches an epoch.
        normalise: what is done to the pixels of a batch; see ``normalise_by``.
        validation_images: uint8 (M, H, W) or (M, H, W, 3), kept out.
        validation_labels: int64 (M,).
    """

    def __init__(self, recipe: ClassifyRecipe, data: Labelled, device: torch.device) -> None:
        self.recipe = recipe
        deform = recipe.augmentation
        self.warp = Warp(deform.rotate, deform.scale, deform.shear, deform.shift, deform.elastic)
        self.classes: int = recipe.network.config.classes
        total = len(data.train_images)
        held_out = min(_MOST_VALIDATION, round(total * recipe.selection.validation))
        order = torch.randperm(total, generator=torch.Generator().manual_seed(_SPLIT_SEED))
        kept, out = order[held_out:].sort().values.numpy(), order[:held_out].sort().values.numpy()

        def chosen(which: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
            parts = data.train_images[which], data.train_labels[which]
            return tuple(torch.from_numpy(part).to(device) for part in parts)  # type: ignore[return-value]

        self.images, self.labels = chosen(kept)
        self.validation_images, self.validation_labels = chosen(out)
        if recipe.outliers:
            self._add_outliers()
        share = recipe.augmentation.distortions
        self.distort = Distort(share, self.images.device) if share else None
        self.normalise: Callable[[Tensor], Tensor] = lambda pixels: pixels
        self.count = -(-len(self.images) // recipe.batch_size)
        self._order = (-1, torch.empty(0, dtype=torch.long))

    def batch(self, epoch: int, index: int) -> Batch:
        """A batch, by epoch and number, both from 0."""
        size = self.recipe.batch_size
        chosen = self._epoch_order(epoch)[index * size : (index + 1) * size]
        step = epoch * self.count + index
        return Batch(self, chosen, self.recipe.seed * 1_000_003 + step, self._strength(step))

    def normalise_by(self, normalise: Callable[[Tensor], Tensor]) -> None:
        """Let batches hold what this makes of pixels: once and for all where they do not change.

        Those that are enlarged would fill the memory: they are made a batch at a time.
        """
        self.normalise = normalise
        changing = self.warp or self.distort or self.recipe.augmentation.mixup
        side = self.recipe.network.config.image_size
        small = 4 * self.images.numel() <= _MOST_NORMALISED
        if not changing and small and tuple(self.images.shape[1:3]) == (side, side):
            self.images = torch.cat([normalise(part) for part in self.images.split(_AT_A_TIME)])
            self.normalise = lambda pixels: pixels

    def size(self, index: int) -> int:
        """Images in a batch, by its number; the last one may have fewer."""
        return min(self.recipe.batch_size, len(self.images) - index * self.recipe.batch_size)

    def _strength(self, step: int) -> float:
        """Of deformations: 1, then evenly down to _SETTLED in the last part of the training."""
        left = 1 - step / (self.recipe.epochs * self.count)
        settle = self.recipe.augmentation.settle
        if left >= settle:
            return 1.0
        return _SETTLED + (1 - _SETTLED) * left / settle

    def _add_outliers(self) -> None:
        """They are further training pictures with the label -1."""
        share = self.recipe.outliers
        more = round(len(self.images) * share / (1 - share))
        drawn = outliers(more, self.recipe.seed, self.images.cpu().numpy())
        self.images = torch.cat([self.images, torch.from_numpy(drawn).to(self.images.device)])
        self.labels = torch.cat([self.labels, torch.full_like(self.labels[:1], -1).expand(more)])

    def targets(self, labels: Tensor) -> Tensor:
        """int64 (n,) as float32 (n, classes): 1 for its class; equal shares for an outlier."""
        one_hot = F.one_hot(labels.clamp(min=0), self.classes).float()
        return torch.where(labels[:, None] < 0, 1 / self.classes, one_hot)

    def _epoch_order(self, epoch: int) -> Tensor:
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
            order = torch.randperm(len(self.images), generator=generator)
            self._order = (epoch, order.to(self.images.device, non_blocking=True))
        return self._order[1]


class Batch:
    """One batch, any part of which can be made."""

    def __init__(self, source: Batches, chosen: Tensor, seed: int, strength: float) -> None:
        self._source, self._chosen = source, chosen
        self._rows = torch.empty(0)
        self._normal = torch.empty(0)
        count, device = len(chosen), chosen.device
        generator = torch.Generator().manual_seed(seed)
        self._mix = self._distort = torch.empty(0)
        if source.warp:
            even = torch.rand(count, UNIFORMS, generator=generator)
            self._rows = (0.5 + strength * (even - 0.5)).to(device, non_blocking=True)
            if source.warp.elastic:
                normal = strength * torch.randn(count, NORMALS, generator=generator)
                self._normal = normal.to(device, non_blocking=True)
        if source.distort:
            self._distort = torch.rand(count, DISTORT_UNIFORMS, generator=generator)
        if mixup := source.recipe.augmentation.mixup:
            share = np.random.default_rng(seed).beta(mixup, mixup, count)
            self._mix = torch.from_numpy(share.astype(np.float32)).to(device, non_blocking=True)

    def __len__(self) -> int:
        return len(self._chosen)

    def __call__(self, part: slice) -> tuple[Tensor, Tensor]:
        """Pixels and targets of some of its images.

        Returns:
            uint8 or float32 (n, H, W) or (n, H, W, 3), 0 to 255, or what they are normalised to;
            int64 (n,) or float32 (n, classes).
        """
        source, recipe = self._source, self._source.recipe
        pixels, labels = self._pixels(part), source.labels[self._chosen[part]]
        if not recipe.augmentation.mixup:
            targets = source.targets(labels) if recipe.outliers else labels
            return source.normalise(pixels), targets
        partner = slice(len(self) - part.stop, len(self) - part.start)  # the last goes to the first
        mix = self._mix[part]
        other = self._pixels(partner).flip(0)
        share = mix.view(-1, *[1] * (pixels.ndim - 1))
        pixels = pixels * share + other * (1 - share)
        one = source.targets(labels)
        two = source.targets(source.labels[self._chosen[partner]]).flip(0)
        return source.normalise(pixels), one * mix[:, None] + two * (1 - mix[:, None])

    def _pixels(self, rows: slice) -> Tensor:
        source = self._source
        images = source.images.index_select(0, self._chosen[rows])  # faster than by [ ]
        if source.warp:
            normal = self._normal[rows] if source.warp.elastic else self._normal
            images = source.warp(images, self._rows[rows], normal)
        if source.distort:
            images = source.distort(images.float(), self._distort[rows])
        return images
