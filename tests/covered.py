"""Which recipes are exported in which precision: every architecture in fp32, every operator lower.

Tracing is what takes time, so no recipe is here that adds neither.
"""

ARCHITECTURES_ONCE = [
    "alexnet_small", "best", "denoiser", "googlenet_small", "lenet", "mlp_plus", "resnet_small",
    "vgg_small", "wgan_small",
]  # fmt: skip
HALF = ["denoiser", "lenet", "vgg_small", "wgan_small"]
# The denoiser in int8 takes longest: test_int8 has it.
INT8 = ["lenet", "resnet_small", "wgan_small"]
LOWERED = [
    *((name, "fp16") for name in HALF),
    *((name, "bf16") for name in HALF),
    *((name, "int8") for name in INT8),
]
