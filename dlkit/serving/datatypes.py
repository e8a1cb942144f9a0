"""The Open Inference Protocol's types of tensors.

Source: Open Inference Protocol, "Tensor Data Types"; BF16: Triton's extension of binary tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.errors import BundleError

# Numbers are little-endian in binary tensors. numpy has no bfloat16: its two bytes are kept.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}
BYTES = "BYTES"
RAW_ONLY = ("FP16", "BF16")  # JSON has no numbers of these
_NAMES = {dtype.name: name for name, dtype in DTYPES.items() if name != "BF16"}


def datatype_of(dtype: str) -> str:
    """The protocol's name of a numpy dtype.

    Raises:
        BundleError: it has none, e.g. complex numbers.
    """
    if dtype not in _NAMES:
        raise BundleError(f"tensors of {dtype} have no type in the Open Inference Protocol")
    return _NAMES[dtype]
