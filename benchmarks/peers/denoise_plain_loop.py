"""The plain loop: cv2.imread, one ONNX Runtime session, batch 1, cv2.imwrite."""

import json
import sys
import time
from pathlib import Path

import cv2
import onnxruntime as ort

from dlkit.bundle import Bundle

folder, model, out = sys.argv[1:4]
bundle = Bundle.open(model)
session = ort.InferenceSession(bundle.onnx, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
multiple = bundle.spec.multiple_of
Path(out).mkdir()

begun = time.perf_counter()
for path in sorted(Path(folder).glob("*.png")):
    scan = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    height, width = scan.shape
    padded = cv2.copyMakeBorder(
        scan, 0, -height % multiple, 0, -width % multiple, cv2.BORDER_REPLICATE
    )
    (cleaned,) = session.run(None, {name: padded[None]})
    cv2.imwrite(str(Path(out) / path.name), cleaned[0, :height, :width])
print(json.dumps({"work_s": time.perf_counter() - begun}))
