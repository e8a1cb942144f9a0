"""OpenVINO by hand: cv2.imread, a scan a request of an AsyncInferQueue, cv2.imwrite."""

import json
import sys
import time
from pathlib import Path

import cv2
import openvino as ov

from dlkit.bundle import Bundle

folder, model, out = sys.argv[1:4]
bundle = Bundle.open(model)
multiple = bundle.spec.multiple_of
config = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
queue = ov.AsyncInferQueue(ov.Core().compile_model(bundle.onnx, "CPU", config))
Path(out).mkdir()


def done(request: ov.InferRequest, scan: tuple[Path, int, int]) -> None:
    path, height, width = scan
    cleaned = request.get_output_tensor().data[0, :height, :width]
    cv2.imwrite(str(Path(out) / path.name), cleaned)


queue.set_callback(done)

begun = time.perf_counter()
for path in sorted(Path(folder).glob("*.png")):
    scan = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    height, width = scan.shape
    padded = cv2.copyMakeBorder(
        scan, 0, -height % multiple, 0, -width % multiple, cv2.BORDER_REPLICATE
    )
    queue.start_async([padded[None]], (path, height, width))
queue.wait_all()
print(json.dumps({"work_s": time.perf_counter() - begun}))
