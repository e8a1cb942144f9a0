"""One file a network. Each provides:

    TASK            the runtime task that it serves: "recognize" or "denoise"
    Config          a frozen dataclass of plain scalars: what of the network can be chosen
    build(config)   an nn.Module, freshly initialised

A classifier takes float32 (N, 1, config.image_size, config.image_size), normalised, and gives
logits (N, config.classes). A denoiser takes float32 (N, 1, H, W), 0 to 1, with H and W multiples
of the file's MULTIPLE_OF, and gives float32 of the same shape, about 0 to 1.
"""
