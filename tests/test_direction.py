"""The rules of direction, on the imports of every module; and what the front door may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "dlkit"
BASE = {"errors", "plugins", "spec", "bundle", "engine", "atomic", "versions"}
# part -> (parts of dlkit, other packages) that it may import; the standard library is free
INFERENCE = {"onnxruntime", "openvino"}
TRAINING = {
    "torch",
    "torchvision",
    "torchmetrics",
    "lightning_fabric",
    "skimage",
    "matplotlib",
    "platformdirs",
    "bm3d",
}
ALLOWED = {
    "images": (BASE, {"numpy", "cv2"}),
    "idx": (BASE, {"numpy"}),
    "runtime": (BASE | {"images", "idx", "runtime"}, {"numpy", "cv2"}),
    "bench": (BASE | {"images", "runtime", "bench"}, {"numpy", "cv2", "psutil", "jinja2"}),
    "training": (BASE | {"images", "idx", "training"}, {"numpy", "cv2"} | TRAINING),
    "export": (
        BASE | {"images", "idx", "training", "runtime", "export"},
        {"numpy", "ml_dtypes", "torch", "onnx", "onnx_ir", "onnxruntime"}
        | {"filelock", "platformdirs"},
    ),
}


def imports(path: Path, top_level: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_rules(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part in ("__init__", "__main__", "cli"):
        return
    own, other = ALLOWED.get(part, (BASE, set()))
    if path.parent.name == "backends":
        other = other | ({path.stem} & INFERENCE)
    if path == ROOT / "runtime" / "cuda.py":
        other = other | {"cuda"}
    if path.relative_to(ROOT).as_posix() == "bench/graph.py":
        other = other | {"onnx"}  # where it is installed; it says n/a elsewhere
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "dlkit":
            assert rest.split(".")[0] in own, f"{path} imports {name}"
        else:
            assert top in sys.stdlib_module_names | other, f"{path} imports {name}"


def test_help_loads_nothing_heavy() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dlkit", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert not loaded & {"torch", "cv2", "onnxruntime", "tensorrt", "tensorrt_rtx", "numpy"}


def test_runtime_works_where_torch_and_onnx_cannot_be_imported(tmp_path: Path) -> None:
    code = """
import sys
for name in ("torch", "torchvision", "onnx", "onnxscript", "onnx_ir", "matplotlib", "skimage"):
    sys.modules[name] = None
import dlkit, numpy as np
print(dlkit.load("digits").recognize([np.zeros((28, 28), np.uint8)])[0].label)
print(dlkit.load("mmwave").denoise([np.zeros((70, 50), np.uint8)])[0].shape)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[1] == "(70, 50)"
