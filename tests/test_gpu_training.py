"""Training on a real GPU: run by ``make gpu-check``, left out of every other run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

import dlkit
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.engine.loop import Moment
from dlkit.training.engine.run import Run
from dlkit.training.engine.start import train
from dlkit.training.recipe import RECIPES
from dlkit.training.rehearsal import rehearse

pytestmark = pytest.mark.gpu
GPU = Hardware(device="cuda")
DATA = {"reader": "mnist-mini"}  # where a recipe's own data have to be made first
ACCURACY = 0.9  # of lenet_relu on the bundled digits, which the CPU passes in four epochs


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_learns_and_its_bundle_is_proven(precision: str, tmp_path: Path) -> None:
    hardware = Hardware(device="cuda", precision=precision)
    run = train("lenet_relu", out=tmp_path / "run", hardware=hardware, epochs=4)
    log = run.load_log()
    assert (log[0]["device"], log[0]["precision"]) == ("cuda", precision)
    assert log[-1]["test_accuracy"] > ACCURACY
    bundle = dlkit.export(run, precision="fp32", out=tmp_path / "bundle")
    assert dlkit.verify(bundle, against=run).measured


def test_compiled_training_learns(tmp_path: Path) -> None:
    hardware = Hardware(device="cuda", compile=True)
    run = train("lenet_relu", out=tmp_path / "run", hardware=hardware, epochs=4)
    assert run.load_log()[-1]["test_accuracy"] > ACCURACY


@pytest.mark.parametrize("name", RECIPES.names())
def test_every_recipe_takes_steps_and_is_evaluated(name: str) -> None:
    took = rehearse(RECIPES.load(name), DATA.get(name), GPU)
    assert took.seconds_a_step > 0
    assert took.peak_mb > 0


def test_ctrl_c_and_resume_on_the_gpu_and_then_on_the_cpu(tmp_path: Path) -> None:
    def interrupt(now: Moment) -> None:
        if now.metrics is None and now.epoch == 1 + len(stops):
            stops.append(now.step)
            os.kill(os.getpid(), signal.SIGINT)

    stops: list[int] = []
    out = tmp_path / "run"
    assert not train("lenet_relu", out=out, hardware=GPU, epochs=4, watch=interrupt).finished
    again = train("lenet_relu", out=out, hardware=GPU, epochs=4, resume=True, watch=interrupt)
    assert not again.finished
    assert len(stops) == 2
    on_cpu = Hardware(device="cpu")
    assert train("lenet_relu", out=out, hardware=on_cpu, epochs=4, resume=True).finished
    log = Run(out).load_log()
    assert [entry["epoch"] for entry in log if entry["event"] == "epoch"] == [0, 1, 2, 3, 4]
    assert log[-1]["test_accuracy"] > ACCURACY


@pytest.mark.parametrize("name", RECIPES.names())
def test_steps_do_not_wait_for_the_device(name: str) -> None:
    """What a GPU has computed is looked at every few steps, not in each."""
    recipe = RECIPES.load(name)
    data = DATA.get(name, recipe.data)
    compute = open_compute(GPU, recipe.bfloat16)
    trainer = recipe.rehearsed(data).trainer(data, compute)
    for _ in range(3):  # they fill what is kept
        trainer.step(0, 0)
    torch.cuda.set_sync_debug_mode("error")  # names the line that waits
    try:
        for _ in range(3):
            trainer.step(0, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
