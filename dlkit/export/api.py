"""What ``dlkit export``, ``verify`` and ``evaluate`` do, for Python: the same doors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from torch import nn

from dlkit.bundle import Bundle, Certificate, shipped
from dlkit.bundle.engine import Engine
from dlkit.errors import UsageError, refusals
from dlkit.evaluation.evaluate import evaluate_bundles
from dlkit.evaluation.report import Report
from dlkit.export.build_options import BuildOptions, Size, read_profile, read_sizes
from dlkit.export.bundles import Wanted
from dlkit.export.engine import build_engine as build
from dlkit.export.foreign import Meaning, from_onnx
from dlkit.export.left_alone import left_alone
from dlkit.export.load_module import load_module, names_module
from dlkit.export.lower import Say, silent
from dlkit.export.modules import Example, Images
from dlkit.export.pixels import Pixels
from dlkit.export.proof.inputs import Data
from dlkit.export.proof.reference import Against
from dlkit.export.source import from_bundle, from_module, from_run, no_source, own_copy
from dlkit.export.verifying import verified
from dlkit.given import path_of, several
from dlkit.spec import ModelSpec
from dlkit.tasks import TASKS, Task
from dlkit.training.engine.run import Run


@refusals()
def export(
    source: str | Path | Run | Bundle | nn.Module,
    precision: str | None = None,
    out: Path | str | None = None,
    *,
    example: Example | None = None,
    task: str | Task | None = None,
    labels: Sequence[str] = (),
    pixels: Pixels | None = None,
    resize: str = "stretch",
    multiple_of: int = 1,
    spec: ModelSpec | Path | str | None = None,
    weights: Path | str | None = None,
    name: str | None = None,
    keep: Collection[str] = (),
    data: str | None = None,
    say: Say = silent,
) -> Bundle:
    """Export into a bundle: a folder with model.onnx, its precision inside, and model.json.

    Args:
        source: a run (or its folder); a bundle (its folder, or the name of a shipped one), to be
            converted; an ONNX file; a module in torch; or ``package.module:NAME`` or
            ``path/to/file.py:NAME`` of a module or of a function that makes one.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``. By default fp32 of what torch holds,
            else as it is. Only float32 can be converted.
        out: the bundle's folder. By default inside the run, beside the bundle or file, or, of a
            module or a shipped bundle, NAME-PRECISION in the working directory.
        example: of a module: shape of one sample without its batch axis, e.g. ``(3, 224, 224)``
            (float32), or what ``forward`` takes: a tensor or several, first axis the batch, any
            dtype. Of an ONNX file: that shape, where the file leaves axes free that must be fixed.
        task: of a module or an ONNX file: ``recognize`` (images to classes; a module takes float32
            (N, C, H, W) and gives logits (N, classes)), ``denoise`` (images to images), or
            ``tensors`` (it is exported as it is; the default). Of image tasks the graph takes uint8
            pixels, 0 to 255, (N, H, W) grey or (N, H, W, 3); scaling and softmax are put into it.
        labels: recognize: names of the classes, in their order.
        pixels: how uint8 pixels become what it takes. Of an ONNX file also for ``tensors``: its
            image input then takes uint8 pixels. By default pixel / 255 for a module; an ONNX file
            takes what it takes.
        resize: recognize: how an image of another size becomes that of the example: ``stretch``,
            ``letterbox`` or ``crop``.
        multiple_of: denoise: what heights and widths must be multiples of.
        spec: of an ONNX file, instead of task, labels and sizes: all that it takes and gives, or a
            JSON file that says so; it is checked against the file.
        weights: of a module that is named: a .safetensors file, or one of torch that holds a state
            dict. No code in it is run.
        name: of the bundle, for people.
        keep: names of nodes that stay float32, for all but fp32.
        data: int8: training data to calibrate on; what the network was trained on by default. fp16
            and bf16: data on which it is seen what they cannot hold; random values by default.
        say: called with what is done next.

    Returns:
        The bundle; without a certificate, which ``verify`` gives.

    Raises:
        UsageError: no such source, or settings that do not fit it.
        ExportError: the graph cannot be read, made or converted; less than 95 % of its
            multiply-adds or weights would be in its precision; or int8 loses too much.
        BundleError: ``out`` holds something else.
        TrainingError: a damaged run.
        InputError: the calibration data cannot be read.
        MachineError: the bundle cannot be written, e.g. on a full disk.
    """
    wanted = Wanted(precision, _folder(out), several(keep), data, say)
    images = Images(tuple(several(labels)), pixels, resize, multiple_of)
    of_module = isinstance(source, nn.Module) or _names_module(source)
    of_file = _is_file(source)
    if not of_module and not of_file:
        _only_new(example, task, weights, images)
    if spec is not None and not of_file:
        raise UsageError(f"a spec belongs to an ONNX file; {_said(source)} is none")
    serves = task if isinstance(task, Task) or task is None else TASKS.load(task)
    if of_module:
        if example is None:
            raise UsageError(
                "to export a module, it must be said what it takes",
                "Give an example: the shape of one sample, e.g. 3x224x224, or tensors",
            )
        module = source if isinstance(source, nn.Module) else load_module(str(source), weights)
        if isinstance(source, nn.Module) and weights is not None:
            raise UsageError("a module has its weights already: leave weights out")
        serves = serves or TASKS.load("tensors")
        called = name or type(module).__name__.lower()
        origin = None
        if not isinstance(source, nn.Module):
            loaded = "" if weights is None else Path(weights).name
            origin = {"module": str(source), "weights": loaded}
        with left_alone(module):
            return from_module(module, called, serves, example, images, wanted, origin)
    if isinstance(source, Run):
        return from_run(source, wanted)
    if isinstance(source, Bundle):
        return from_bundle(source, wanted)
    assert not isinstance(source, nn.Module)
    path = path_of(source, "the source")
    if of_file:
        if weights is not None:
            raise UsageError(f"{path} has its weights already: leave weights out")
        if spec is not None and (serves or example or images != Images()):
            raise UsageError("a spec says it all: leave task, labels, pixels and sizes out")
        sizes = _sizes(example)
        return from_onnx(
            path,
            Meaning(name or path.stem, serves, labels, pixels, sizes, resize, multiple_of, spec),
            wanted,
        )
    if path.is_dir() and not (path / "model.json").is_file():
        return from_run(Run(source), wanted)
    if not path.exists() and str(source) not in shipped():
        raise no_source(str(source))
    return from_bundle(Bundle.open(source), wanted)


@refusals()
def verify(
    bundle: str | Path | Bundle | Run | nn.Module,
    against: Against | None = None,
    data: Data | None = None,
    count: int | None = None,
    *,
    weights: Path | str | None = None,
    out: Path | str | None = None,
    replace: bool = False,
    say: Say = silent,
) -> Certificate:
    """Compare every way to run a bundle here with an independent reference, and certify it.

    The certificate goes into the bundle's model.json; of a shipped bundle into that of a copy,
    NAME-PRECISION in the working directory. Out of tolerance, no certificate stays. One that says
    more is kept. What is no bundle is compared, on any number of inputs, and nothing is written.

    Args:
        bundle: a bundle, its folder, or the name of a shipped one; or an ONNX file, a run, a module
            in torch or where one is made.
        against: what it was made from: a run, a float32 bundle, an ONNX file, a module in torch, or
            the name of one. By default the run around it, the network that its own graph holds, or
            the float32 graph that it was converted from, beside it or shipped. Never itself.
        data: held-out data: a dataset's name or a folder, as the task takes them; or arrays, of the
            only input or by the inputs' names, dtypes and shapes as ``bundle.spec.inputs``, first
            axis the samples. The task's own by default.
        count: most inputs.
        weights: of the module that ``against`` names.
        out: folder of a copy that gets the certificate instead.
        replace: also a certificate that says more: on more inputs, real ones, or more backends.
        say: called with what is measured next.

    Returns:
        What was measured: differences, task metrics, versions, hardware, and the hashes of all that
        took part.

    Raises:
        VerifyError: out of tolerance; there is nothing independent to compare with; or what there
            is is no better than a guess.
        UsageError: what was named does not fit; or fewer inputs than a certificate needs.
        InputError: the data cannot be read.
        BackendError: no backend runs here.
    """
    return verified(bundle, against, data, count, weights, _folder(out), replace, say).found


@refusals()
def build_engine(
    bundle: str | Path | Bundle,
    profile: str | tuple[int, int, int] | None = None,
    size: str | tuple[Size, Size, Size] | None = None,
    *,
    axes: Mapping[str, tuple[int, int, int]] | None = None,
    flavor: str | None = None,
    compute: Sequence[str] = (),
    hardware_compatible: bool = False,
    version_compatible: bool = False,
    rebuild: bool = False,
    out: Path | str | None = None,
) -> Engine:
    """Build a TensorRT engine into a bundle, or find the same one there.

    Args:
        bundle: a bundle, its folder, or the name of a shipped one, which is copied to
            NAME-PRECISION in the working directory first.
        profile: smallest, best and largest batch, e.g. ``"1:64:256"``; by the task by default.
        size: smallest, best and largest height and width, where the graph leaves them free; of
            images 64 x 64, 688 x 384 and 1376 x 768 by default.
        axes: smallest, best and largest size of other free axes, by their names in the spec.
        flavor: ``tensorrt`` or ``tensorrt_rtx``; the first that is installed by default.
        compute: compute capabilities to build for, e.g. ``("8.6", "8.9")``; TensorRT for RTX only.
        hardware_compatible: ``tensorrt`` only: run on every GPU from Ampere on.
        version_compatible: ``tensorrt`` only: run with later minor versions.
        rebuild: build even if the same engine is there.
        out: folder of a copy of the bundle that gets the engine instead.

    Returns:
        The engine, with its proof: which share of its arithmetic is in which type.

    Raises:
        BackendError: no such TensorRT here.
        UsageError: options that cannot be.
        ExportError: TensorRT refuses the graph, or its arithmetic is not in the bundle's precision.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    options = BuildOptions(
        batch=read_profile(profile) if isinstance(profile, str) else profile,
        size=read_sizes(size) if isinstance(size, str) else size,
        axes=axes or {},
        flavor=flavor,
        compute=tuple(several(compute)),
        hardware_compatible=hardware_compatible,
        version_compatible=version_compatible,
        rebuild=rebuild,
    )
    return build(own_copy(opened, _folder(out)), options)[0]


@refusals()
def evaluate(
    bundle: str | Path | Bundle,
    data: str | None = None,
    *,
    compare: Sequence[str | Path | Bundle] = (),
    count: int | None = None,
    seed: int | None = None,
    slow: int = 10,
    out: Path | str | None = None,
    backend: str = "auto",
    device: str = "auto",
) -> Report:
    """Measure how good a bundle is, as it is deployed, beside other bundles and classical methods.

    Args:
        bundle: a bundle, its folder, or the name of a shipped one.
        data: a dataset's name or a folder, as the task takes them; the task's own by default.
        compare: other bundles of the same task.
        count: most samples; the task's own number by default.
        seed: of what is made at random.
        slow: images that slow classical methods run on; 0 leaves their rows out.
        out: folder for pictures; None makes none.
        backend, device: as ``dlkit.load`` takes them.

    Returns:
        Means a bundle or method, figures an image, tables as they are shown.

    Raises:
        BundleError: bundles that cannot be evaluated, or not beside each other.
        UsageError, InputError: the data cannot be used.
        BackendError: nothing here can run a bundle.
    """
    return evaluate_bundles(
        [bundle, *several(compare)], data, count, seed, slow, _folder(out),
        backend, device,
    )  # fmt: skip


def _folder(out: Path | str | None) -> Path | None:
    return None if out is None else path_of(out, "out")


def _names_module(source: object) -> bool:
    return isinstance(source, str) and names_module(source) and not Path(source).exists()


def _is_file(source: object) -> bool:
    return isinstance(source, str | Path) and Path(source).is_file()


def _said(source: object) -> str:
    return str(source.path if isinstance(source, Run | Bundle) else source)


def _sizes(example: Example | None) -> Sequence[int]:
    if example is None:
        return ()
    if not all(isinstance(one, int) for one in example):
        raise UsageError("an ONNX file takes a shape as example, e.g. 3x224x224")
    return [int(one) for one in example]


def _only_new(
    example: Example | None,
    task: str | Task | None,
    weights: Path | str | None,
    images: Images,
) -> None:
    given = {"example": example, "task": task, "weights": weights}
    names = [name for name, value in given.items() if value is not None]
    if images != Images():
        names.append("labels, pixels, resize or multiple_of")
    if names:
        raise UsageError(
            f"{', '.join(names)}: these are for a module in torch or an ONNX file; runs and "
            "bundles know them",
            "Leave them out",
        )
