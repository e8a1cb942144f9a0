"""Engines: what they hold, what they are called, what is refused; with real builds."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest

from dlkit.bundle import SHIPPED, Bundle
from dlkit.bundle.engine import Engine, engine_files
from dlkit.errors import BackendError, BundleError, ExportError, UsageError
from dlkit.export import api
from dlkit.export.api import export
from dlkit.export.build_options import BuildOptions, read_profile, read_sizes
from dlkit.export.engine import build_engine
from dlkit.export.proof.layers import inspected_types
from dlkit.export.proof.precision import measured
from dlkit.runtime.gpu.flavor import load_flavor
from dlkit.tasks import TASKS

from .conftest import untrained_run
from .covered import LOWERED
from .long import long_but

Bundles = Callable[[str, str], Bundle]
ROOT = Path(__file__).parent.parent
NAMES = sorted((Path(__file__).parent / "tensorrt_names").glob("*.json"))


@pytest.fixture
def bundle(bundle_of: Bundles, tmp_path: Path) -> Bundle:
    """A copy of LeNet in float16, to be spoilt."""
    shutil.copytree(bundle_of("lenet", "fp16").path, tmp_path / "bundle")
    shutil.rmtree(tmp_path / "bundle" / "engines", ignore_errors=True)
    return Bundle.open(tmp_path / "bundle")


def test_what_a_callback_raises_is_not_swallowed(bundle: Bundle) -> None:
    def watch(step: str, share: float) -> None:
        raise ValueError(f"mine: {step}")

    with pytest.raises(ValueError, match="mine"):
        build_engine(bundle, watch=watch)
    assert not list(bundle.path.rglob("*.engine"))


@pytest.mark.parametrize(
    ("name", "precision"),
    [("lenet", "fp32"), pytest.param("denoiser", "fp32", marks=pytest.mark.long), *LOWERED],
)
def test_engine_is_built_and_holds_its_precision(
    name: str, precision: str, bundle_of: Bundles
) -> None:
    seen: list[float] = []
    source = bundle_of(name, precision)
    operators = {node.op_type for node in ir.load(source.onnx).graph}
    if precision == "bf16" and "ConvTranspose" in operators:
        with pytest.raises(ExportError, match=r"deconv.*Try --precision fp16"):
            build_engine(source)  # what TensorRT for RTX cannot do is said, not hidden
        return
    free = [axis for axis in source.spec.input.shape[1:] if isinstance(axis, str)]
    own = TASKS.load(source.spec.task).any_graph  # which has no sizes that are usual
    axes = dict.fromkeys(free, (64, 128, 256)) if own else {}
    engine, built = build_engine(
        source, BuildOptions(axes=axes, rebuild=True), watch=lambda _, share: seen.append(share)
    )
    assert built
    assert engine.proof["multiply_adds"][precision] >= 0.95
    assert engine.proof["weights"][precision] >= 0.95
    # what was counted on the graph before it was written is what TensorRT made of it
    share, _ = measured(source.onnx.read_bytes(), source.spec).shares(precision)
    assert share == pytest.approx(engine.proof["multiply_adds"][precision], abs=0.02)
    assert sum(engine.proof["flop"].values()) == pytest.approx(1)
    assert seen == sorted(seen)
    assert 0 <= seen[0] < 0.1
    assert seen[-1] > 0.5
    data = engine.path.read_bytes()
    assert data[:8] == b"vtrt\0\0\0\0"  # TensorRT's own first bytes: nothing of ours before them
    assert hashlib.sha256(data).hexdigest() == engine.sha256
    assert [path.name for path in engine_files(source)] == [engine.path.name]


def test_normalisations_stay_fp32(bundle_of: Bundles) -> None:
    trt = load_flavor()
    source = bundle_of("wgan_small", "fp16")
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert trt.OnnxParser(network, builder.logger).parse(source.onnx.read_bytes())
    kinds = {
        network.get_layer(index).type.name: network.get_layer(index).get_output(0).dtype.name
        for index in range(network.num_layers)
    }
    assert kinds["NORMALIZATION"] == "FLOAT"
    assert kinds["CONVOLUTION"] == kinds["DECONVOLUTION"] == "HALF"


def test_fp32_graph_is_refused_where_fp16_was_asked_for(bundle_of: Bundles) -> None:
    source = bundle_of("lenet", "fp32")
    with pytest.raises(ExportError, match=r"only 0\.0% of the multiply-adds.*node_conv2d.*fp32"):
        build_engine(source, precision="fp16")


def test_half_the_graph_in_fp16_is_refused(bundle_of: Bundles, tmp_path: Path) -> None:
    full = bundle_of("resnet_small", "fp32")
    convolutions = [node.name for node in ir.load(full.onnx).graph if node.op_type == "Conv"]
    kept = [str(name) for name in convolutions[:3]]
    asked = export(full, "fp16", tmp_path / "asked", keep=kept)
    proof = build_engine(asked)[0].proof  # three float32 convolutions, as somebody asked for
    assert set(proof["others"]) == set(kept)
    mixed = Bundle.create(tmp_path / "mixed", asked.onnx.read_bytes(), asked.spec, {})
    with pytest.raises(ExportError, match=r"of the weights are fp16, 95% are needed") as error:
        build_engine(mixed)
    for name in kept:
        assert name in str(error.value)
    spec = json.dumps(asked.spec.to_json())
    (tmp_path / "spec.json").write_text(spec)
    with pytest.raises(ExportError, match=r"is a mixture \(fp32 13%, fp16 87%"):
        export(asked.onnx, out=tmp_path / "claimed", spec=tmp_path / "spec.json")
    assert not (tmp_path / "claimed").exists()


@pytest.mark.long
def test_retraining_and_options_give_other_names(bundle_of: Bundles, tmp_path: Path) -> None:
    source = bundle_of("mlp", "fp16")
    retrained = export(untrained_run(tmp_path, "mlp", seed=8), "fp16")
    names = {
        build_engine(one, options)[0].path.name
        for one, options in (
            (source, BuildOptions()),
            (source, BuildOptions(batch=(1, 2, 4))),
            (source, BuildOptions(compute=("8.6",))),
            (retrained, BuildOptions()),
        )
    }
    assert len(names) == 4


def test_the_same_engine_is_built_once(bundle: Bundle) -> None:
    first, built = build_engine(bundle)
    assert built
    second, again = build_engine(bundle)
    assert not again
    assert second == first


Spoil = Callable[[Engine], object]
SPOILT: dict[str, tuple[Spoil, str]] = {
    "truncated": (lambda e: e.path.write_bytes(e.path.read_bytes()[:-1]), "damaged or was changed"),
    "altered": (lambda e: e.path.write_bytes(b"x" + e.path.read_bytes()[1:]), "its SHA-256 begins"),
    "missing": (lambda e: e.path.unlink(), "is missing"),
    "no sidecar": (lambda e: e.sidecar.unlink(), "has no sidecar"),
    "sidecar empty": (lambda e: e.sidecar.write_text(""), "is damaged"),
    "sidecar binary": (lambda e: e.sidecar.write_bytes(b"\xff\xfe"), "is damaged"),
    "sidecar is a list": (lambda e: e.sidecar.write_text("[]"), "is damaged"),
    "proof altered": (
        lambda e: e.sidecar.write_text(e.sidecar.read_text().replace('"fp16": 1.0', '"fp16": 0.5')),
        "was changed",
    ),
}


@pytest.mark.parametrize("how", long_but(["truncated", "missing", "proof altered"], SPOILT))
def test_spoilt_engines_are_refused_and_built_anew(how: str, bundle: Bundle) -> None:
    engine, _ = build_engine(bundle)
    spoil, message = SPOILT[how]
    spoil(engine)
    with pytest.raises(BundleError, match=message) as error:
        Engine.open(engine.path, bundle).read()
    assert "dlkit export" in str(error.value)
    mended, built = build_engine(bundle)
    assert built
    Engine.open(mended.path, bundle).read()


@pytest.mark.long
def test_renamed_and_copied_engines_are_refused(
    bundle: Bundle, bundle_of: Bundles, tmp_path: Path
) -> None:
    engine, _ = build_engine(bundle)
    other = engine.path.with_name("other.engine")
    shutil.copy(engine.path, other)
    shutil.copy(engine.sidecar, other.with_suffix(".json"))
    with pytest.raises(BundleError, match="was renamed"):
        Engine.open(other, bundle)
    with pytest.raises(BundleError, match="was built from another graph"):
        Engine.open(engine.path, bundle_of("mlp", "fp16"))


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Python in a process of its own, which a test can kill."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell may have told its children to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


BUILD = """
import sys
from dlkit.bundle import Bundle
from dlkit.export.engine import build_engine
engine, built = build_engine(Bundle.open(sys.argv[1]))
print(engine.path.name, built)
"""
SLOW = """
import sys, time
from dlkit.bundle import Bundle
from dlkit.export.engine import build_engine
def slow(phase, share):
    print(share, flush=True)
    time.sleep(0.2)
build_engine(Bundle.open(sys.argv[1]), watch=slow)
"""


@pytest.mark.long
def test_two_builds_at_once_do_not_disturb_each_other(bundle: Bundle) -> None:
    processes = [run(BUILD, bundle.path) for _ in range(3)]
    lines = []
    for process in processes:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        lines.append(out.split())
    assert len({name for name, _ in lines}) == 1
    assert sorted(built for _, built in lines) == ["False", "False", "True"]
    (path,) = engine_files(bundle)
    Engine.open(path, bundle).read()


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_leaves_no_half_file(how: signal.Signals, bundle: Bundle) -> None:
    process = run(SLOW, bundle.path)
    assert process.stdout is not None
    process.stdout.readline()  # it is building
    process.send_signal(how)
    begun = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    if how is signal.SIGINT:
        assert error.strip().endswith("KeyboardInterrupt")
        assert time.monotonic() - begun < 10  # not a hundred steps of a fifth of a second
    assert [path for path in bundle.engines.iterdir() if path.suffix != ".lock"] == []
    assert build_engine(bundle)[1]  # and the lock is free


def test_parts_of_killed_builds_are_swept(bundle: Bundle) -> None:
    engine, _ = build_engine(bundle)
    stale = engine.path.with_name(f".{engine.path.name}.99999.part")
    stale.write_bytes(b"half")
    build_engine(bundle, BuildOptions(rebuild=True))
    assert not stale.exists()


def test_any_onnx_file_is_built_with_its_spec(bundle_of: Bundles, tmp_path: Path) -> None:
    source = bundle_of("resnet_small", "fp32")
    file, spec = tmp_path / "any.onnx", tmp_path / "spec.json"
    shutil.copy(source.onnx, file)
    spec.write_text(json.dumps(source.spec.to_json()))
    half = export(file, "fp16", spec=spec)
    assert build_engine(half)[0].proof["multiply_adds"] == {"fp16": 1.0}
    claims = replace(source.spec, precision="fp16")  # but the graph is float32
    with pytest.raises(ExportError, match="is fp32, its spec says fp16"):
        export(file, out=tmp_path / "liar", spec=claims)
    liar = Bundle.create(tmp_path / "liar", source.onnx.read_bytes(), claims, {})
    with pytest.raises(ExportError, match="asked for fp16"):
        build_engine(liar)


def test_a_damaged_graph_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    spoilt = Bundle.create(tmp_path / "spoilt", b"no graph", bundle.spec, {})
    with pytest.raises(ExportError, match="cannot parse"):
        build_engine(spoilt)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BuildOptions(batch=(3, 2, 1)), "MIN:OPT:MAX"),
        (BuildOptions(batch=(0, 1, 1)), "MIN:OPT:MAX"),
        (BuildOptions(batch=(1, 1, 1), compute=("0.1",)), "There are:"),
        (BuildOptions(compute=("1.0",)), "There are:"),
        (BuildOptions(hardware_compatible=True, flavor="tensorrt_rtx"), "option of tensorrt"),
    ],
)
def test_options_that_cannot_be(options: BuildOptions, message: str, bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=message):
        build_engine(bundle, options)


def test_profiles_are_read_from_words() -> None:
    assert read_profile("1:16:64") == (1, 16, 64)
    assert read_profile("8") == (8, 8, 8)
    assert read_sizes("64x32:128x64:256x128") == ((64, 32), (128, 64), (256, 128))
    for text in ("", "1:2", "a", "1:2:3:4"):
        with pytest.raises(UsageError, match="MIN:OPT:MAX"):
            read_profile(text)
        with pytest.raises(UsageError, match="MIN:OPT:MAX"):
            read_sizes(text)


def test_engines_of_shipped_bundles_go_into_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (SHIPPED / "digits").iterdir()}
    engine = api.build_engine("digits", profile="1:2:4")
    assert engine.path.parent == Path("digits-fp32/engines")
    assert [shape[0] for shape in engine.key.shapes["pixels"]] == [1, 2, 4]
    assert api.build_engine("digits", profile="1:2:4") == engine  # the same copy, the same engine
    assert Bundle.open("digits-fp32").certificate == Bundle.open("digits").certificate
    assert {path: path.stat().st_mtime_ns for path in (SHIPPED / "digits").iterdir()} == before


def test_unknown_and_missing_flavours_are_named(bundle: Bundle) -> None:
    with pytest.raises(BackendError, match="tensorrt, tensorrt_rtx"):
        build_engine(bundle, BuildOptions(flavor="tensort"))


def test_inspector_report_is_counted_by_type() -> None:
    report = {
        "Layers": [
            {"Name": "a", "Outputs": [{"Format/Datatype": "Row-major linear FP16 format"}]},
            {"Name": "b", "Outputs": [{"Format/Datatype": "Channel major FP16 format"}]},
            {"Name": "c", "Outputs": [{"Format/Datatype": "Float"}]},
            {"Name": "d", "Outputs": [{"Format/Datatype": "Int64"}]},
            "only a name",
        ]
    }
    counts = inspected_types(json.dumps(report))
    assert counts == {"fp16": 2, "fp32": 1, "other": 1, "unknown": 1}


# --- the names of TensorRT's bindings -------------------------------------------------------------
# tensorrt itself cannot be imported without its libraries, so the names of 10.0.1, 10.8 and 11.4
# were recorded from NVIDIA's wheels of the bindings (tests/tensorrt_names/record.py); tensorrt_rtx
# is asked itself.

# What a variable of that name is, in the files that use TensorRT.
OBJECTS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "inspector": "EngineInspector",
    "runtime": "Runtime",
}
# Used only after the flavour or the name itself was asked for.
RTX_ONLY = {
    "trt.ComputeCapability",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}


def used_names(path: Path) -> set[str]:
    """``trt.NAME``, ``trt.NAME.MEMBER`` and ``CLASS.MEMBER`` that a file's code mentions."""
    used = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
            continue
        value = node.value
        if isinstance(value, ast.Name) and value.id == "trt":
            used.add(f"trt.{node.attr}")
        elif isinstance(value, ast.Name) and value.id in OBJECTS:
            used.add(f"{OBJECTS[value.id]}.{node.attr}")
        elif isinstance(value, ast.Attribute) and ast.unparse(value.value) == "trt":
            used.add(f"{value.attr}.{node.attr}")
    return used


def files_that_use_tensorrt() -> list[Path]:
    found = [path for path in (ROOT / "dlkit").rglob("*.py") if "trt." in path.read_text()]
    assert len(found) >= 4
    return found


@pytest.mark.parametrize("path", files_that_use_tensorrt(), ids=lambda path: path.name)
@pytest.mark.parametrize("version", [*(path.stem for path in NAMES), "tensorrt_rtx, installed"])
def test_names_exist_in_every_tensorrt(path: Path, version: str) -> None:
    if version in {recorded.stem for recorded in NAMES}:
        names = json.loads((ROOT / "tests" / "tensorrt_names" / f"{version}.json").read_text())
        allowed = RTX_ONLY
    else:
        trt = load_flavor("tensorrt_rtx")
        names = {name: dir(getattr(trt, name)) for name in dir(trt)}
        allowed = set()
    for used in used_names(path) - allowed:
        owner, _, member = used.partition(".")
        there = set(names) if owner == "trt" else set(names[owner])
        assert member in there, f"{path.name} uses {used}, which {version} does not have"


def test_recorded_names_tell_the_versions_apart() -> None:
    flags = {
        path.stem: set(json.loads(path.read_text())["BuilderFlag"]) & {"FP16"} for path in NAMES
    }
    assert flags == {"10.0.1": {"FP16"}, "10.8.0.43": {"FP16"}, "11.4.0.106": set()}
