"""Names of images, and of what holds images, that dlkit does not read: passing them over in silence
would look like a loss."""

from __future__ import annotations

from collections.abc import Callable

_ENDINGS = frozenset(
    (
        # pictures
        ".gif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".heic", ".heif", ".heics", ".avif",
        ".jxl", ".jfif", ".jpe", ".pnm", ".ppm", ".pbm", ".pam", ".pfm", ".exr", ".hdr", ".tga",
        ".dib", ".psd", ".sgi", ".rgb", ".ras", ".pcx", ".ico", ".svg", ".pdf", ".djvu",
        # of cameras and of science
        ".raw", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".raf", ".rw2", ".dcm", ".dicom",
        ".fits", ".fit", ".nii", ".nrrd", ".mha", ".mat", ".h5", ".hdf5", ".npy", ".npz",
        # films
        ".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg",
        # what is packed
        ".zip", ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst",
    )
)  # fmt: skip


def is_unread(name: str, wanted: Callable[[str], bool]) -> bool:
    """Whether a file that is not wanted looks like one that its owner would miss.

    Args:
        wanted: which names are; ``a.png~`` and ``a.png`` with a space behind it are near to one.
    """
    return name[name.rfind(".") :].lower() in _ENDINGS or wanted(name.rstrip(" ~"))
