"""The parts that a classifier is trained with: deformations, distortions, averages, networks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from dlkit.bundle import SHIPPED
from dlkit.errors import UsageError
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.tasks.recognize.pixels import PixelClassifier
from dlkit.training.classify.augment import NORMALS, UNIFORMS, Warp
from dlkit.training.classify.distort import UNIFORMS as DISTORT_UNIFORMS
from dlkit.training.classify.distort import Distort
from dlkit.training.classify.temperature import fit_temperature
from dlkit.training.engine.average import MovingAverage
from dlkit.training.networks import simple_cnn, vgg
from dlkit.training.recipe import RECIPES

pytestmark = pytest.mark.usefixtures("one_thread")

MNIST = {"channels": 1, "classes": 10}


DIGITS = {"image_size": 28, "channels": 1, "classes": 10}


LENET = RECIPES.load("lenet_relu").network


def test_warp_moves_a_digit_as_told() -> None:
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    image[0, 10:18, 12:16] = 255
    middle, normal = torch.full((1, UNIFORMS), 0.5), torch.zeros(1, NORMALS)
    assert torch.allclose(Warp(10, 0.1, 0.1, 3, 1)(image, middle, normal), image.float(), atol=0.1)
    end = middle.clone()
    end[0, 4] = 1.0  # the x shift, all of it: what is seen is taken from 3 pixels to the right
    assert torch.allclose(Warp(shift=3)(image, end, normal), image.roll(-3, 2).float(), atol=0.1)
    end = middle.clone()
    end[0, 0] = 1.0
    turned = Warp(rotate=90)(image, end, normal)
    assert torch.allclose(turned[0], image[0].float().rot90(), atol=1.0) or torch.allclose(
        turned[0], image[0].float().rot90(-1), atol=1.0
    )


def test_elastic_field_is_smooth_and_as_strong_as_told() -> None:
    """A ramp shows the displacement: its values are its columns."""
    ramp = torch.arange(28.0).expand(400, 28, 28) * 9
    normal = torch.randn(400, NORMALS, generator=torch.Generator().manual_seed(0))
    moved = (Warp(elastic=1.5)(ramp, torch.full((400, UNIFORMS), 0.5), normal) - ramp) / 9
    inside = moved[:, 8:20, 8:20]
    assert float(inside.square().mean().sqrt()) == pytest.approx(1.5, rel=0.15)
    assert float(inside.diff(dim=1).square().mean().sqrt()) < 0.5


def test_average_follows_weights_statistics_and_counters() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    average = MovingAverage(network, decay=0.5)
    with torch.no_grad():
        network[0].weight += 1  # type: ignore[operator]
    network[1].running_mean += 2  # type: ignore[operator]
    network[1].num_batches_tracked += 3  # type: ignore[operator]
    before = average.module.state_dict()["0.weight"].clone()
    average.n_averaged.fill_(100)
    average.update_parameters(network)
    found = average.module.state_dict()
    assert torch.allclose(found["0.weight"], before + 0.5)
    assert float(found["1.running_mean"]) == 1.0
    assert int(found["1.num_batches_tracked"]) == 3


def test_average_forgets_the_start_and_then_moves_slowly() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = MovingAverage(network, decay=0.99)
    nn.init.ones_(network.weight)
    average.update_parameters(network)
    assert float(average.module.weight) > 0.8
    nn.init.zeros_(network.weight)
    before = float(average.module.weight)
    average.n_averaged.fill_(10**6)
    average.update_parameters(network)
    assert float(average.module.weight) == pytest.approx(0.99 * before)


def test_temperature_undoes_what_made_logits_too_sure() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 10, generator=generator)
    labels = torch.multinomial(F.softmax(logits, 1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits, labels) == pytest.approx(1.0, abs=0.05)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3.0, rel=0.05)
    assert fit_temperature(logits[:0], labels[:0]) == 1.0


def test_a_dark_digit_on_white_is_as_good_as_mnist() -> None:
    network = LENET.filled(image_size=28, channels=1, classes=10).build()
    model = PixelClassifier(network, 28, temperature=2.0).eval()
    digits = torch.from_numpy(load_labelled("mnist-mini").test_images[:50].copy())
    with torch.inference_mode():
        one, other = model(digits), model(255 - digits)
        grey = model((digits.float() * 0.4 + 140).round().byte())
        raw = F.softmax(model.logits(digits) / 2, 1)
    assert torch.allclose(one, other, atol=1e-5)
    assert torch.allclose(one, grey, atol=0.01)
    assert torch.allclose(one, raw)
    assert np.allclose(one.sum(1), 1, atol=1e-5)


def test_distortions_change_their_share_and_leave_the_rest() -> None:
    images = torch.from_numpy(load_labelled("mnist-mini").train_images[:1000].copy()).float()
    uniform = torch.rand(1000, DISTORT_UNIFORMS, generator=torch.Generator().manual_seed(0))
    distorted = Distort(0.5, images.device)(images, uniform)
    assert float(distorted.min()) >= 0
    assert float(distorted.max()) <= 255
    same = (distorted == images).flatten(1).all(1)
    assert torch.equal(same | (uniform[:, 0] < 0.5), torch.ones(1000, dtype=torch.bool))
    assert 480 < int((~same).sum()) < 540


@pytest.mark.parametrize("depth", [11, 13])
def test_vgg_is_the_papers_but_for_the_colours(depth: int) -> None:
    with torch.device("meta"):
        ours = vgg.build(vgg.Config(depth=depth, **MNIST))
        theirs = getattr(torchvision.models, f"vgg{depth}")(num_classes=10)
    colours = 2 * 64 * 3 * 3  # weights of the first layer for two more colours
    assert count(ours) == count(theirs) - colours
    fewer = vgg.build(vgg.Config(depth=depth, blocks=3, width=0.1, **DIGITS))
    assert fewer.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    for wrong in ({"depth": 12}, {"blocks": 0}, {"blocks": 6}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            vgg.build(vgg.Config(**{**MNIST, **wrong}))


def test_simple_cnn_is_the_papers_m3_and_may_pool_once() -> None:
    def shapes(config: simple_cnn.Config) -> tuple[list[int], int]:
        network = simple_cnn.build(config)
        assert network.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
        layers = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
        return [len(layer.weight) for layer in layers[:-1]], layers[-1].weight.shape[1]

    assert shapes(simple_cnn.Config(**DIGITS)) == (list(range(32, 177, 16)), 176 * 8 * 8)
    pooled = simple_cnn.Config(convolutions=4, pooled=2, width=0.5, **DIGITS)
    assert shapes(pooled) == ([16, 24, 48, 64], 64 * 8 * 8)
    for wrong, said in (
        ({"kernel": 0}, "kernel is 0"),
        ({"growth": -1}, "growth is -1"),
        ({"convolutions": 14}, "image_size is too small"),
    ):
        with pytest.raises(UsageError, match=said):
            simple_cnn.build(simple_cnn.Config(**{**DIGITS, **wrong}))


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("width", [0.05, 0.215, 0.3, 1.0])
def test_resnet_has_channels_that_are_fast_on_onnx_runtime(width: float) -> None:
    network = RECIPES.load("reader").example().network.replace(width=width).build()
    channels = [one.out_channels for one in network.modules() if isinstance(one, nn.Conv2d)]
    assert max(channels) >= 512 * width
    assert not any(count % 4 for count in channels)


def test_the_shipped_reader_has_such_channels() -> None:
    graph = onnx.load(SHIPPED / "digit_reader" / "model.onnx").graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    channels = [shapes[node.input[1]][0] for node in graph.node if node.op_type == "Conv"]
    assert len(channels) == 20
    assert not any(count % 4 for count in channels)
