"""Which recipes are exported in which precision: every architecture in fp32, every operator lower.

Tracing is what takes time, so no recipe is here that adds neither.
"""

import pytest

ARCHITECTURES_ONCE = [
    "alexnet_small", "best", "cgan", "cyclegan_small", "dcgan", "denoiser", "detector", "finder",
    "gan", "googlenet_small", "lenet", "mlp_plus", "pix2pix_small", "resnet_small", "vgg_small",
    "wgan_small",
]  # fmt: skip
HALF = [
    "cgan", "cyclegan_small", "denoiser", "detector", "lenet", "pix2pix_small", "vgg_small",
    "wgan_small",
]  # fmt: skip
# bfloat16 needs a later opset, and so a trace of its own.
BFLOAT16 = ["cgan", "denoiser", "lenet", "vgg_small", "wgan_small"]
# The denoiser in int8 takes longest: test_int8 has it.
INT8 = ["cgan", "lenet", "resnet_small", "wgan_small"]
QUICK = ("lenet", "wgan_small")  # of make test; the others are traced in make test-long


def _case(name: str, precision: str) -> object:
    quick = name in QUICK and precision in ("fp32", "fp16")
    return pytest.param(name, precision, marks=() if quick else pytest.mark.long)


FULL = [_case(name, "fp32") for name in ARCHITECTURES_ONCE]
LOWERED = [
    *(_case(name, "fp16") for name in HALF),
    *(_case(name, "bf16") for name in BFLOAT16),
    *(_case(name, "int8") for name in INT8),
]
