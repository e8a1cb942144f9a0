"""Clean scans in memory. Run it from anywhere: python samples/denoise_example.py"""

from pathlib import Path

import cv2

import dlkit

scans = [
    cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    for path in sorted((Path(__file__).parent / "scans").glob("*.png"))
]
model = dlkit.load("mmwave")  # or the folder of your own bundle
for scan, cleaned in zip(scans, model.denoise(scans), strict=True):
    print(f"{scan.shape} {scan.dtype}: mean {scan.mean():.1f} -> {cleaned.mean():.1f}")
