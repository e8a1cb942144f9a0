"""OpenVINO by hand: cv2.imread, batches of 64 through an AsyncInferQueue."""

import csv
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import openvino as ov

from dlkit.bundle import resolve

folder, model, out = sys.argv[1:4]
config = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
compiled = ov.Core().compile_model(resolve(model) / "model.onnx", "CPU", config)
queue = ov.AsyncInferQueue(compiled)
found = []


def done(request: ov.InferRequest, paths: list[Path]) -> None:
    digits = request.get_output_tensor().data.argmax(axis=1)
    found.extend((path.name, digit) for path, digit in zip(paths, digits, strict=True))


queue.set_callback(done)

begun = time.perf_counter()
files = sorted(Path(folder).glob("*.png"))
for at in range(0, len(files), 64):
    paths = files[at : at + 64]
    queue.start_async(
        [np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths])], paths
    )
queue.wait_all()
with open(out, "w", newline="") as file:  # noqa: PTH123
    writer = csv.writer(file)
    writer.writerow(["file", "digit"])
    writer.writerows(sorted(found))
print(json.dumps({"work_s": time.perf_counter() - begun}))
