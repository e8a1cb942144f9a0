"""Images: files and geometry."""

import os

from dlkit.limits import MAX_PIXELS, VARIABLE, allow_pixels, max_pixels

# Before OpenCV is loaded: its limit.
os.environ.setdefault(VARIABLE, str(MAX_PIXELS))

import cv2

from dlkit.images.files import (
    FRAMES,
    SUFFIXES,
    decode,
    decode_frames,
    open_file,
    read,
    read_bytes,
)
from dlkit.images.geometry import (
    Image,
    UInt8,
    check,
    colour,
    crop,
    fit,
    grey,
    is_grey,
    like,
    pad,
    resize,
)
from dlkit.images.lettering import letter
from dlkit.images.stacks import doubt
from dlkit.images.writing import encode, encode_frames, in_colours, write, write_frames

# No lines of its own on people's terminals, since what is wrong with a file is said as that file's
# error; also where OpenCV was loaded before, so that its variable would come too late.
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

__all__ = [
    "FRAMES",
    "MAX_PIXELS",
    "SUFFIXES",
    "Image",
    "UInt8",
    "allow_pixels",
    "check",
    "colour",
    "crop",
    "decode",
    "decode_frames",
    "doubt",
    "encode",
    "encode_frames",
    "fit",
    "grey",
    "in_colours",
    "is_grey",
    "letter",
    "like",
    "max_pixels",
    "open_file",
    "pad",
    "read",
    "read_bytes",
    "resize",
    "write",
    "write_frames",
]
