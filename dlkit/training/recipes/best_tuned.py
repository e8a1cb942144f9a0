"""`best`, trained for three epochs more: a second, smaller cycle of the learning rate.

A restart (Loshchilov and Hutter, arXiv 1608.03983): digits are deformed as far as at first, then
less and less through all of it. It begins with the weights of a run of `best`, by `--init`.
"""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes.best import RECIPE as BEST

RECIPE = replace(
    BEST,
    about="three epochs more for a run of best: give it --init",
    epochs=3,
    optimizer=replace(BEST.optimizer, learning_rate=0.02),
    schedule=replace(BEST.schedule, warmup=0.05),
    augmentation=replace(BEST.augmentation, settle=0.99),
)
