"""The classification accuracy score: are generated digits good enough to learn from?"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dlkit.tasks.generate import Generator
from dlkit.tasks.recognize.labelled import Labelled
from dlkit.training.engine.fabric import Hardware
from dlkit.training.engine.start import train

_RECIPE = "lenet_relu"


def classification_accuracy(generator: Generator, real: Labelled, count: int, seed: int) -> float:
    """Accuracy, 0 to 1, on real test digits of a LeNet that was trained on generated ones alone
    (Ravuri and Vinyals, arXiv 1905.10887).

    Args:
        count: generated digits; the classes are even.
        seed: of the noise, which goes on from where that of other figures ends, and of the LeNet.
    """
    classes = np.arange(count) % len(generator.labels)
    made = generator.generate(count, classes.tolist(), seed + 1, batch=256)
    with TemporaryDirectory() as folder:
        data = Path(folder) / "generated.npz"
        np.savez(
            data, x_train=made, y_train=classes, x_test=real.test_images, y_test=real.test_labels,
            classes=np.array(real.classes),
        )  # fmt: skip
        run = train(_RECIPE, str(data), Path(folder) / "run", hardware=Hardware("cpu"), seed=seed)
        return float(run.load_log()[-1]["test_accuracy"])
