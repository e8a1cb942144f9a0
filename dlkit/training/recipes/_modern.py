"""What the recipes for two cores add to the article's plain ones.

Deformed digits (affine and elastic: Simard et al. 2003), less and less of it towards the end (He et
al., arXiv 1909.09148), one cycle of the learning rate with
Nesterov's momentum (Smith, arXiv 1708.07120), a little label smoothing (Szegedy et al., arXiv
1512.00567), a moving average of the weights, and bfloat16 where the processor has it.
"""

from __future__ import annotations

from typing import Any

from dlkit.training.classify.recipe import Augmentation, Optimizer, Schedule, Selection

OPTIMIZER = Optimizer("sgd", learning_rate=0.1, momentum=0.9, weight_decay=5e-4)
AUGMENTATION = Augmentation(rotate=12.0, scale=0.12, shear=0.12, shift=2.0, elastic=1.0, settle=0.7)
MODERN: dict[str, Any] = {
    "batch_size": 128,
    "optimizer": OPTIMIZER,
    "schedule": Schedule("one_cycle"),
    "init": "default",
    "augmentation": AUGMENTATION,
    "label_smoothing": 0.05,
    "ema_decay": 0.998,
    "bfloat16": True,
    "channels_last": True,
    # the cycle ends at its best; 5,000 digits would choose by chance
    "selection": Selection(keep_best=False),
}
