"""Train a network that makes images of noise: GAN, DCGAN, and with classes the conditional GAN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dlkit import images
from dlkit.errors import UsageError
from dlkit.tasks.generate.grid import grid
from dlkit.tasks.generate.noise import codes
from dlkit.tasks.generate.pixels import PixelGenerator
from dlkit.tasks.recognize.datasets import NAMES, load_labelled
from dlkit.training.engine.fabric import Compute
from dlkit.training.gan.adversarial import AdversarialTrainer, Batch, Contest
from dlkit.training.gan.distance import sliced_wasserstein
from dlkit.training.gan.recipe import GenerateRecipe
from dlkit.training.networks._image_critic import build_image_critic

_MOST_HELD_OUT = 5000
_SPLIT_SEED = 5000  # every seed of a recipe has the same kept-out images
_MEASURED = 2000  # images
_AT_A_TIME = 500
_ROWS, _COLUMNS = 8, 10  # of a picture of the film
_FILM_SEED = 0


class GenerateTrainer(AdversarialTrainer):
    """A batch is real images, -1 to 1, their classes (N, classes), and noise (N, latent)."""

    recipe: GenerateRecipe

    def __init__(self, recipe: GenerateRecipe, data: str, compute: Compute) -> None:
        side = recipe.network.config.image_size
        found = load_labelled(data, (side, side) if side else None)
        conditional = hasattr(recipe.network.config, "classes")
        there = {"channels": found.channels, "image_size": max(found.size)}
        if conditional:
            there["classes"] = len(found.classes)
        network = recipe.network.filled(**there)
        for name, size in there.items():
            if (wanted := getattr(network.config, name)) != size:
                raise UsageError(
                    f"{name} is {wanted} in the recipe, {found.name} has {size}",
                    f"Leave it to the data: --set network.{name}=0",
                )
        if found.size[0] != found.size[1]:
            raise UsageError(
                f"{found.name} has images of {found.size[0]}x{found.size[1]}, a generator makes "
                "square ones",
                "Give the side: --set image_size=32",
            )
        where = data if data in NAMES else str(Path(data).resolve())
        self.recipe = recipe = replace(recipe, network=network, data=where)
        self.dataset, self.fingerprint = found.name, found.fingerprint()
        self.notes = list(found.notes)
        self.labels = found.classes if conditional else ()
        self.latent: int = network.config.latent
        device = compute.device
        total = len(found.train_images)
        held_out = min(_MOST_HELD_OUT, round(total * recipe.held_out))
        order = torch.randperm(total, generator=torch.Generator().manual_seed(_SPLIT_SEED))
        kept, out = order[held_out:].sort().values.numpy(), order[:held_out].sort().values.numpy()
        self.images, self.classes = (
            torch.from_numpy(part[kept]).to(device)
            for part in (found.train_images, found.train_labels)
        )
        self.held_out, self.held_out_classes = (
            torch.from_numpy(part[out[:_MEASURED]]).to(device)
            for part in (found.train_images, found.train_labels)
        )
        trained = network.build().to(device)
        critic = build_image_critic(
            recipe.critic, found.channels, max(found.size), len(self.labels)
        ).to(device)
        self.assemble(compute, trained, trained, critic)
        self.generate, self.score = compute.called(trained), compute.called(critic)
        self.model = PixelGenerator(self.network, found.channels)

    def _batch(self) -> Batch:
        chosen = torch.randint(len(self.images), (self.recipe.batch_size,)).to(
            self.device, non_blocking=True
        )
        noise = torch.randn(len(chosen), self.latent).to(self.device, non_blocking=True)
        real = self.images[chosen]
        real = real.unsqueeze(1) if real.ndim == 3 else real.permute(0, 3, 1, 2)
        return real.float() / 127.5 - 1, self._one_hot(self.classes[chosen]), noise

    def _make(self, batch: Batch) -> Batch:
        _, classes, noise = batch
        return (self.generate(torch.cat([noise, classes], dim=1)),)

    def _contests(self, batch: Batch, made: Batch) -> Iterator[Contest]:
        real, classes, _ = batch
        yield Contest(lambda image: self.score(image, classes), real, made[0])

    def _one_hot(self, classes: Tensor) -> Tensor:
        if not self.labels:
            return torch.zeros(len(classes), 0, device=self.device)
        return F.one_hot(classes, len(self.labels)).float()

    @torch.inference_mode()
    def _measure(self) -> Mapping[str, float]:
        """``distance``, sliced Wasserstein, of as many generated images to those kept out; with
        classes also ``label_knn``: the share whose nearest kept-out image has the asked class."""
        if not len(self.held_out):
            return {}
        made = self._images(self.held_out_classes)
        real = self.held_out.flatten(1).float() / 255
        flat = made.flatten(1).float() / 255
        found = {"distance": sliced_wasserstein(flat, real)}
        if self.labels:
            nearest = torch.cdist(flat, real).argmin(1)
            right = self.held_out_classes[nearest] == self.held_out_classes
            found["label_knn"] = float(right.float().mean())
        return found

    @torch.inference_mode()
    def _picture(self) -> images.UInt8:
        """A column a class where there are classes, else any images; the same noise each time."""
        columns = min(len(self.labels), _COLUMNS) or _COLUMNS
        classes = torch.arange(_ROWS * columns, device=self.device) % columns
        return grid(self._images(classes).cpu().numpy(), columns)

    def _images(self, classes: Tensor) -> Tensor:
        """One image for each class index, uint8 (N, H, W) or (N, H, W, 3), as it is exported."""
        self.model.eval()
        asked = classes.cpu().numpy() if self.labels else None
        made = codes(len(classes), self.latent, _FILM_SEED, asked, len(self.labels))
        parts = torch.from_numpy(made).to(self.device).split(_AT_A_TIME)
        return torch.cat([self.model(part) for part in parts])

    def meaning(self) -> dict[str, Any]:
        """Numbers of noise, size and channels of the images, and the names of their classes."""
        config = self.recipe.network.config
        return {
            "latent": self.latent,
            "size": [config.image_size, config.image_size],
            "channels": config.channels,
            "labels": list(self.labels),
        }
