"""dlkit: small vision networks from PyTorch to production.

    >>> import dlkit
    >>> digits = dlkit.load("digits")          # a bundle's folder, or one that ships with dlkit
    >>> digits.recognize([image])              # [Prediction(label='7', probability=0.9997)]
    >>> digits.read(page).text                 # '98 915114\\n02794', with boxes in .lines
    >>> scans = dlkit.load("mmwave")
    >>> cleaned = scans.denoise([scan])        # same sizes, dtypes and channels as came in

Images are numpy arrays, uint8 or uint16, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlkit.runtime.model import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `import dlkit` and `dlkit --help` load neither numpy nor OpenCV.
    if name == "load":
        from dlkit.runtime.model import load

        return load
    raise AttributeError(f"module 'dlkit' has no attribute '{name}'")
