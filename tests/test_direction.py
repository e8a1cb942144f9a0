"""The rules of direction, on the imports of every module; no circles; what the front door loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from dlkit.tasks import TASKS

ROOT = Path(__file__).parent.parent / "dlkit"
BASE = {"errors", "plugins", "spec", "bundle", "atomic", "versions", "processors", "limits"}
BASE |= {"array_errors", "disk", "environment", "given", "kept", "printable", "ranges", "typed"}
PIXELS = BASE | {"images", "idx", "npy"}
TASK = PIXELS | {"mmwave", "paper", "reading", "tasks"}
RUNTIME = TASK | {"runtime", "storage"}
TRAINING = TASK | {"training"}
NUMPY = {"numpy", "cv2"}
TORCH = {"torch", "torchvision", "lightning_fabric", "scipy", "skimage", "matplotlib"}
ONNX = {"onnx", "onnx_ir", "onnxscript", "ml_dtypes", "google"}
# part -> (parts of dlkit, other packages) that it may import; the standard library is free
ALLOWED = {
    **dict.fromkeys(BASE, (BASE, set())),
    "images": (PIXELS, NUMPY | {"simplejpeg", "PIL"}),
    **dict.fromkeys(("idx", "npy"), (PIXELS, {"numpy"})),
    "mmwave": (PIXELS | {"mmwave"}, NUMPY),
    "paper": (PIXELS | {"paper"}, NUMPY),
    "reading": (PIXELS | {"reading"}, NUMPY),
    "storage": (BASE | {"storage"}, {"obstore"}),
    "tasks": (TASK, NUMPY),
    "runtime": (RUNTIME, NUMPY),
    "graph": (BASE | {"graph"}, {"numpy", "onnx", "onnx_ir", "onnxscript", "google"}),
    "training": (TRAINING, NUMPY | TORCH | {"platformdirs"}),
    "evaluation": (TRAINING | {"runtime", "graph", "evaluation"}, NUMPY | TORCH),
    "export": (
        TRAINING | {"runtime", "evaluation", "graph", "export"},
        NUMPY | TORCH | ONNX | {"onnxruntime", "filelock", "platformdirs", "safetensors"},
    ),
    "bench": (RUNTIME | {"graph", "bench"}, NUMPY | {"psutil", "jinja2", "uvloop"}),
    "hub": (TASK | {"hub"}, {"huggingface_hub"}),
    "doctor": (RUNTIME | {"doctor"}, NUMPY),
    "serving": (
        RUNTIME | {"serving"},
        {"numpy", "starlette", "uvicorn", "uvloop", "grpc", "grpc_health", "google"}
        | {"prometheus_client"},
    ),
}
# What single files may import besides, and only late in functions where the last part says so.
INFERENCE = {
    "onnxruntime": "onnxruntime",
    "_onnx_session": "onnxruntime",
    "_openvino_core": "openvino",
}
LATE = {
    "tasks": {"torch", "skimage", "platformdirs", "torchvision"},
    "runtime": {"pyarrow"},
}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, when: str = "ever") -> set[str]:
    """Dotted names that a module imports: ``ever``; or ``loading``, which leaves out functions."""

    def walk(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
        for node in nodes:  # except and match blocks are no statements, and hold some
            if when == "loading" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            yield node
            yield from walk(ast.iter_child_nodes(node))

    names: set[str] = set()
    for node in walk(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_imports_are_found_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "try:\n    import one\nexcept OSError:\n    import two\nelse:\n    import three\n"
        "match one:\n    case 1:\n        from four import five\n"
        "def later():\n    with one:\n        import six\n"
    )
    loading = {"one", "two", "three", "four.five"}
    assert imported(tmp_path / "a.py", "loading") == loading
    assert imported(tmp_path / "a.py") == loading | {"six"}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_follow_the_rules(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part in ("__init__", "__main__", "cli"):
        return
    own, other = ALLOWED[part]
    if path.parent.name == "backends":
        other = other | {INFERENCE.get(path.stem, "")}
    if path == ROOT / "runtime" / "gpu" / "cuda.py":
        other = other | {"cuda"}
    if part == "tasks" and path.stem == "pixels":
        other = other | {"torch"}
    loading = imported(path, "loading")
    for name in imported(path):
        top, _, rest = name.partition(".")
        late = LATE.get(part, set()) if name not in loading else set()
        if top == "dlkit":
            assert rest.split(".")[0] in own, f"{path} imports {name}"
        else:
            assert top in sys.stdlib_module_names | other | late, f"{path} imports {name}"


def test_no_circles() -> None:
    """Modules that need each other while they load, or in functions: each a step of a circle."""
    names = {name_of(path): path for path in modules()}

    def module_of(dotted: str) -> str | None:
        while dotted and dotted not in names:
            dotted = dotted.rpartition(".")[0]
        return dotted or None

    # The front door names all that it opens, late and as texts: `dlkit` needs nothing.
    graph = {
        name: {
            found for one in imported(path)
            if (found := module_of(one)) not in (None, name, "dlkit")
        }
        for name, path in names.items()
    }  # fmt: skip
    state: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert state.get(name) != 1, " -> ".join((*path[path.index(name) :], name))
        if name in state:
            return
        state[name] = 1
        for one in sorted(graph[name]):
            visit(one, (*path, name))
        state[name] = 2

    for name in graph:
        visit(name, ())


def test_a_task_is_known_in_tasks_alone() -> None:
    """No other code holds a task's name, but the command that is called so."""
    names = set(TASKS.names()) - {"tensors"}
    for path in modules():
        place = path.relative_to(ROOT).as_posix()
        if place.startswith("tasks/") or (place.startswith("cli/") and path.stem in names):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            held = isinstance(node, ast.Constant) and node.value in names
            assert not held, f"{place}:{node.lineno} holds {node.value!r}"


def test_help_loads_nothing_heavy() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dlkit", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert not loaded & {"torch", "cv2", "onnxruntime", "tensorrt", "tensorrt_rtx", "numpy"}


def test_runtime_works_where_torch_and_onnx_cannot_be_imported() -> None:
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


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    import dlkit

    for name in dlkit.__all__:
        value = getattr(dlkit, name)
        assert name == "__version__" or value.__doc__, name
