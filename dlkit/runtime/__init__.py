"""Fast batched inference: numpy, OpenCV and one inference library. No torch, no onnx."""
