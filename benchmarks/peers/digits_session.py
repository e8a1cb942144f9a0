"""The session alone: the pixels are in memory, and only its calls are timed.

Its batch is what dlkit recognize takes.
"""

import csv
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np

import dlkit
from dlkit.tasks import TASKS

folder, model, out = sys.argv[1:4]
session = dlkit.load(model, device="cpu").opened.session
paths = sorted(Path(folder).glob("*.png"))
pixels = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths])
batch = TASKS.load("recognize").batch["cpu"]
session(pixels[:batch])

begun = time.perf_counter()
outputs = [session(pixels[at : at + batch]) for at in range(0, len(pixels), batch)]
work_s = time.perf_counter() - begun

digits = np.concatenate(outputs).argmax(axis=1)
with open(out, "w", newline="") as file:  # noqa: PTH123
    writer = csv.writer(file)
    writer.writerow(["file", "digit"])
    writer.writerows(zip([path.name for path in paths], digits, strict=True))
print(json.dumps({"work_s": work_s}))
