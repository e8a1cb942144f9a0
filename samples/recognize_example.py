"""Recognize digits in memory. Run it from anywhere: python samples/recognize_example.py"""

from pathlib import Path

import cv2

import dlkit

paths = sorted((Path(__file__).parent / "digits").glob("*.png"))
model = dlkit.load("digits")  # or the folder of your own bundle
images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
for path, prediction in zip(paths, model.recognize(images), strict=True):
    print(f"{path.name}: {prediction.label} ({prediction.probability:.1%})")
