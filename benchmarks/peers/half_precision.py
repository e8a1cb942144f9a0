"""A peer's conversion of an ONNX file to float16, run in the environment of the peers.

python half_precision.py PEER FILE OUT [INPUTS.npz]: PEER is onnxruntime, onnxconverter-common,
polygraphy or autocast. Prints the peer's version.
"""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import onnx

PACKAGES = {"onnxruntime": "onnxruntime", "onnxconverter-common": "onnxconverter-common",
            "polygraphy": "polygraphy", "autocast": "nvidia-modelopt"}  # fmt: skip


def convert(peer: str, source: Path, out: Path, inputs: str) -> None:
    """Convert as the peer's documentation says, inputs and outputs kept in their types."""
    if peer == "onnxruntime":
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        model = OnnxModel(convert_float_to_float16(onnx.load(source), keep_io_types=True))
        model.topological_sort()  # it puts casts at the end, which ONNX's checker refuses
        onnx.save(model.model, out)
    elif peer == "onnxconverter-common":
        from onnxconverter_common.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), out)
    elif peer == "polygraphy":
        program = Path(sys.executable).with_name("polygraphy")
        _run([str(program), "convert", str(source), "--fp-to-fp16", "--output", str(out)])
    else:
        _run([sys.executable, "-m", "modelopt.onnx.autocast", "--onnx_path", str(source),
              "--output_path", str(out), "--low_precision_type", "fp16", "--keep_io_types",
              "--calibration_data", inputs])  # fmt: skip


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        said = [line for line in lines if "rror" in line] or lines or ["no message"]
        raise SystemExit(f"exit code {done.returncode}: {said[-1].strip()}")


if __name__ == "__main__":
    print(version(PACKAGES[sys.argv[1]]))
    if len(sys.argv) > 2:
        begun = time.perf_counter()
        convert(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
        print("seconds", round(time.perf_counter() - begun, 1))
