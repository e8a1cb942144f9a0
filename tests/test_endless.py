"""Graphs that never end are ended by Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from dlkit.bundle import Bundle
from dlkit.spec import ModelSpec, TensorSpec


def endless() -> bytes:
    """A Loop whose condition stays true, with 2^63 - 1 turns."""
    turn = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
    going = helper.make_tensor_value_info("going", TensorProto.BOOL, [])
    still = helper.make_tensor_value_info("still", TensorProto.BOOL, [])
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, None)
    more = helper.make_tensor_value_info("more", TensorProto.FLOAT, None)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Cos", ["value"], ["more"]),
        ],
        "body",
        [turn, going, value],
        [still, more],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["most", "yes", "x"], ["y"], body=body)],
        "endless",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [
            helper.make_tensor("most", TensorProto.INT64, [], [2**63 - 1]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_ctrl_c_ends_a_graph_that_never_ends(tmp_path: Path) -> None:
    x = TensorSpec("x", "float32", ("n", 4))
    y = TensorSpec("y", "float32", ("n", 4))
    spec = ModelSpec(name="endless", task="tensors", precision="fp32", inputs=(x,), outputs=(y,))
    bundle = Bundle.create(tmp_path / "b", endless(), spec, {})
    np.save(tmp_path / "x.npy", np.zeros((1, 4), np.float32))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "dlkit", "run", bundle.path, tmp_path / "x.npy", "--out", out,
            "--backend", "onnxruntime",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (out / "manifest.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)  # by now the graph runs
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "terminate flag" not in errors  # what ONNX Runtime would say of itself
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert not [line for line in lines if line.get("status") == "done"]
