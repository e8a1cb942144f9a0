"""The plain loop: cv2.imread, one ONNX Runtime session, batch 1, a CSV file."""

import csv
import json
import sys
import time
from pathlib import Path

import cv2
import onnxruntime as ort

from dlkit.bundle import resolve

folder, model, out = sys.argv[1:4]
session = ort.InferenceSession(resolve(model) / "model.onnx", providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name

begun = time.perf_counter()
with open(out, "w", newline="") as file:  # noqa: PTH123
    writer = csv.writer(file)
    writer.writerow(["file", "digit"])
    for path in sorted(Path(folder).glob("*.png")):
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        (probabilities,) = session.run(None, {name: pixels[None]})
        writer.writerow([path.name, probabilities[0].argmax()])
print(json.dumps({"work_s": time.perf_counter() - begun}))
