"""What a user writes; mypy --strict has nothing against it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from torch import nn

import dlkit


def read(folder: Path) -> list[str]:
    images = [np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in folder.iterdir()]
    with dlkit.load("digits") as digits:
        labels = [prediction.label for prediction in digits.recognize(images, batch=64)]
        page = digits.read(images[0])
        return [*labels, page.text, *(line.text for line in page.lines)]


def clean(scan: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    with dlkit.load("runs/a/bundle-fp32", task="denoise") as scans:
        cleaned = scans.denoise([scan])[0]
        done = scans.run_folder("scans/", "cleaned/", workers=2)
        return float(cleaned.mean()) + done.done + len(done.failures)


def find(scan: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[float]:
    with dlkit.load("objects") as model:
        return [one.score for one in model.detect([scan], sensitivity="low")[0].objects]


def arrays(path: str) -> tuple[int, ...]:
    model = dlkit.load(path, task="tensors", backend="onnxruntime")
    shape: tuple[int, ...] = model.run({"x": np.zeros((1, 3), np.float32)})["y"].shape
    model.close()
    return shape


def whole_way(module: nn.Module) -> dlkit.Certificate:
    run: dlkit.Run = dlkit.train("lenet_relu", data="mnist-mini", out="runs/a", epochs=1)
    bundle: dlkit.Bundle = dlkit.export(run, precision="fp16")
    other = dlkit.export(module, example=(3, 32, 32), task="recognize", labels=["a", "b"])
    engine: dlkit.Engine = dlkit.build_engine(other, profile="1:8:32")
    try:
        return dlkit.verify(bundle, count=200)
    except dlkit.VerifyError as error:
        print(error.what, error.mend, engine.key.precision)
        raise
