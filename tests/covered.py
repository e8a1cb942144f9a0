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
# In fp32 what is lowered, too, and so has every operator; the others take long.
FULL = [
    *((name, "fp32") for name in HALF),
    *(
        pytest.param(name, "fp32", marks=pytest.mark.long)
        for name in ARCHITECTURES_ONCE
        if name not in HALF
    ),
]
LOWERED = [
    *((name, "fp16") for name in HALF),
    *(pytest.param(name, "bf16", marks=pytest.mark.long) for name in BFLOAT16),
    *(pytest.param(name, "int8", marks=pytest.mark.long) for name in INT8),
]
