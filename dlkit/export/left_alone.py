"""A module of the user's, as it was before something looked at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def left_alone(module: nn.Module) -> Iterator[nn.Module]:
    """The module in eval mode. In the end, its modes and buffers and torch's random numbers are as
    they were, after an error, too.

    It is no copy: a training with all its data may hang on it.
    """
    parts = list(module.modules())
    modes = [one.training for one in parts]
    buffers = [(one, dict(one.named_buffers(recurse=False))) for one in parts]
    values = [{name: held.detach().clone() for name, held in there.items()} for _, there in buffers]
    with torch.random.fork_rng(devices=[]):
        try:
            yield module.eval()
        finally:
            for one, mode in zip(parts, modes, strict=True):
                if one.training != mode:
                    one.training = mode
            with torch.inference_mode():  # which may write into any tensor
                for (one, there), before in zip(buffers, values, strict=True):
                    for name, held in there.items():
                        setattr(one, name, held)
                        if not held.is_meta and not torch.equal(held, before[name]):
                            held.copy_(before[name])
