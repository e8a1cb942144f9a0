"""Record the public names of a TensorRT binding, on a machine that lacks TensorRT's libraries.

pip download --no-deps tensorrt-cu13-bindings && unzip *.whl
python record.py tensorrt_bindings/tensorrt.so 11.4.0.106.json

The bindings' wheel is real, the libraries come from elsewhere. So empty stand-ins with the symbols
that the binding wants are compiled (gcc, nm, readelf), and the binding is imported behind them: it
then lists its classes and their members, and can do nothing else.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def output(*command: object) -> list[str]:
    """Lines that a command prints."""
    done = subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def main(binding: Path, target: Path) -> None:
    """Import ``binding`` behind stand-ins and write its names to ``target``."""
    folder = Path(tempfile.mkdtemp())
    libraries = [
        line.split("[")[1].rstrip("]")
        for line in output("readelf", "-d", binding)
        if "NEEDED" in line and "libnv" in line
    ]
    missing = [line.split() for line in output("nm", "-D", "--undefined-only", binding)]
    symbols = sorted(
        parts[-1]
        for parts in missing
        if parts[-2] == "U" and "@" not in parts[-1] and not parts[-1].lstrip("_").startswith("Py")
    )
    for index, library in enumerate(libraries):
        source = folder / f"{index}.c"
        source.write_text("\n".join(f"void *{name}[64];" for name in symbols) if index == 0 else "")
        output("gcc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", folder / library, source)
        ctypes.CDLL(str(folder / library), mode=ctypes.RTLD_GLOBAL)
    sys.setdlopenflags(os.RTLD_LAZY)
    spec = importlib.util.spec_from_file_location("tensorrt", binding)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = {
        name: sorted(member for member in dir(value) if not member.startswith("_"))
        for name in sorted(dir(module))
        if not name.startswith("_") and isinstance(value := getattr(module, name), type)
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(names[name])}" for name in names)
    target.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
