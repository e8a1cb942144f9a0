"""``dlkit doctor`` in a process of its own, and what is planted for it to find.

The planted parts are real where they can be: ONNX files written by onnx, wheels' metadata on the
path, and a driver library compiled here that claims a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from dlkit.bundle import Bundle
from dlkit.doctor.examination import Examination

ROOT = Path(__file__).parent.parent

DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *v) { *v = 11080; return 0; }
int cuDeviceGetCount(int *n) { *n = GPUS; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, "Planted GPU", n); return NAME_CODE; }
int cuDeviceTotalMem_v2(unsigned long *b, int d) { *b = 8ul << 30; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 8 : a == 76 ? 9 : 0; return 0; }
"""
NVML = """
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *s, unsigned n) { strncpy(s, "999.12.34", n); return 0; }
"""


@dataclass(frozen=True)
class Told:
    """What ``dlkit doctor --json`` said: exit code and JSON."""

    code: int
    data: dict[str, Any]

    def findings(self, about: str) -> list[str]:
        """``what | mend`` of each problem with something."""
        return [
            f"{finding['what']} | {finding['mend']}"
            for finding in self.data["findings"]
            if finding["about"] == about and finding["problem"]
        ]

    def library(self, module: str) -> dict[str, Any]:
        (found,) = [library for library in self.data["libraries"] if library["module"] == module]
        return dict(found)


def findings(found: Examination, about: str, problem: bool = True) -> list[str]:
    """``what | mend`` of each finding about something."""
    return [
        f"{one.what} | {one.mend}"
        for one in found.findings
        if one.about == about and one.problem is problem
    ]


def run(
    *arguments: str, path: Path | None = None, python: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    paths = [str(path)] if path else []
    return subprocess.run(
        [sys.executable, *python, "-m", "dlkit", "doctor", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*paths, str(ROOT)]), **environment},
        timeout=120,
    )


def doctor(
    *arguments: str, path: Path | None = None, python: Sequence[str] = (), **environment: str
) -> Told:
    done = run(*arguments, "--json", path=path, python=python, **environment)
    data = json.loads(done.stdout)  # nothing but one document
    problems = [finding for finding in data["findings"] if finding["problem"]]
    assert done.returncode == (1 if problems else 0)
    assert data["ok"] is not bool(problems)
    return Told(done.returncode, data)


def wheel(folder: Path, name: str, version: str) -> None:
    """Metadata of an installed wheel, as pip leaves it."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def bundle(folder: Path, ir_version: int = 10, opset: int = 18) -> Bundle:
    """The shipped digits with another IR version or opset; onnx writes the file."""
    source = Bundle.open("digits")
    model = onnx.load(source.onnx)
    model.ir_version = ir_version
    (stamp,) = [stamp for stamp in model.opset_import if stamp.domain in ("", "ai.onnx")]
    stamp.version = opset
    return Bundle.create(folder, model.SerializeToString(), source.spec, {})


def plant_driver(folder: Path, gpus: int = 1, name_code: int = 0) -> Path:
    """A driver that claims GPUs of compute capability 8.9; gives the folder of its libraries.

    Args:
        name_code: what it answers when it is asked for a GPU's name; not 0 is an error.
    """
    folder.mkdir()
    for text, library in ((DRIVER, "libcuda.so.1"), (NVML, "libnvidia-ml.so.1")):
        source = folder / f"{library}.c"
        source.write_text(text)
        macros = [f"-DGPUS={gpus}", f"-DNAME_CODE={name_code}"]
        output = ["-o", str(folder / library)]
        subprocess.run(["cc", "-shared", "-fPIC", *macros, *output, str(source)], check=True)
    return folder
