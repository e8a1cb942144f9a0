"""The whole way on the bundled samples: train, export, verify, build, recognize, denoise, generate.

Every step is a command that you could type; it is shown before it runs.

python samples/demo.py [FOLDER]
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from dlkit.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "demo").resolve()
DIGITS, SCANS = Path("samples/digits"), Path("samples/scans")

console = Console()
summary = Table("step", "result", "seconds", title="dlkit demo")


def dlkit(*arguments: object) -> float:
    """Run a command of dlkit, shown; gives its seconds. Ends the demo if it fails."""
    words = [str(word) for word in arguments]
    console.print(f"\n$ dlkit {' '.join(words)}", style="bold", highlight=False)
    begun = time.monotonic()
    sys.argv = ["dlkit", *words]
    try:
        main()  # as the command does, but the libraries are loaded once
    except SystemExit as end:
        if end.code:
            sys.exit(f"demo: that command ended with exit code {end.code}")
    return time.monotonic() - begun


def step(name: str, result: str, seconds: float) -> None:
    """A row of the summary."""
    summary.add_row(name, result, f"{seconds:.1f}")


def accuracy(table: Path) -> str:
    """How many digits are what their file's name begins with."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["file"][0] == row["digit"] for row in rows)
    return f"{right} of {len(rows)} right"


def picture(path: Path) -> None:
    """Scans before and after, side by side."""
    columns = []
    for scan in sorted((ROOT / SCANS).glob("*.png")):
        for image in (scan, OUT / "cleaned" / scan.name):
            columns.append(cv2.imread(str(image), cv2.IMREAD_GRAYSCALE))
    half = cv2.resize(np.hstack(columns), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), half)


def demo() -> None:
    """All steps, then the table and the picture."""
    os.chdir(ROOT)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    run = OUT / "lenet_relu"
    step(
        "train LeNet",
        "run in lenet_relu",
        dlkit("train", "lenet_relu", "--set", "epochs=6", "--out", run),
    )
    for precision in ("fp32", "fp16"):
        bundle = run / f"bundle-{precision}"
        engine = ["--trt"] if precision == "fp16" and has_tensorrt() else []
        seconds = dlkit("export", run, "--precision", precision, *engine)
        size = (bundle / "model.onnx").stat().st_size / 1000
        step(f"export {precision}", f"{size:.0f} kB", seconds)
        if engine:
            built = next((bundle / "engines").glob("*.engine"))
            step("TensorRT engine", f"{built.stat().st_size / 1000:.0f} kB", seconds)
        step(f"verify {precision}", "within tolerance", dlkit("verify", bundle))
    for name, model in (("yours", run / "bundle-fp32"), ("shipped", "digits")):
        table = OUT / f"predictions-{name}.csv"
        seconds = dlkit("recognize", DIGITS, "--model", model, "--out", table)
        step(f"recognize, {name}", accuracy(table), seconds)
    step("denoise", "3 scans", dlkit("denoise", SCANS, "--out", OUT / "cleaned"))
    picture(OUT / "before-after.png")
    seconds = dlkit("generate", "--count", 100, "--columns", 10, "--out", OUT / "generated.png")
    step("generate", "100 digits", seconds)
    console.print()
    console.print(summary)
    console.print(f"table of digits: {OUT}/predictions-yours.csv")
    console.print(f"before and after: {OUT}/before-after.png")
    console.print(f"digits that nobody wrote: {OUT}/generated.png")


def has_tensorrt() -> bool:
    """Whether a TensorRT is installed; it has no wheels for some machines."""
    from dlkit.errors import BackendError
    from dlkit.runtime.gpu.flavor import load_flavor

    try:
        load_flavor()
    except BackendError as error:
        console.print(f"no engine will be built: {error}")
        return False
    return True


if __name__ == "__main__":
    demo()
