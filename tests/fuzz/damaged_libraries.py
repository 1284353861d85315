"""Damaged libraries and forged signatures: `python tests/fuzz/damaged_libraries.py`. Each runs, or is refused.

A forged signature is sealed again, as somebody would who wants to be believed. No process may die, none may take 10 s,
and no exception may be other than a `TilewrightError`.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import tilewright
from campaign import Campaign
from children import Outcome
from draft import Array
from mutate import mutate_bytes, mutate_json
from onnx import TensorProto, helper, numpy_helper
from tilewright.compiler.library.artifact import read_signature
from tilewright.compiler.library.integrity import seal
from tilewright.compiler.library.signature import SECTION
from tilewright.errors import TilewrightError

CAMPAIGN = Campaign(
    file=__file__,
    what="Damaged libraries and forged signatures must run or be refused.",
    count=500,
    limit_seconds=10.0,
    failed=("wrong", "raised", "crash", "hang"),
)
_MOST_BYTES = 1 << 32  # a library that takes more than this was not checked
_INPUTS = {"x": np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6), "n": np.asarray([1, 2], np.int64)}


@cache
def _sound() -> tuple[bytes, dict[str, Any]]:
    """A library with constants, a workspace, several kernels, inputs and outputs, and threads; and what it computes."""
    weights = numpy_helper.from_array(np.linspace(-1, 1, 30, dtype=np.float32).reshape(6, 5), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], axis=0),
        helper.make_node("Gather", ["m", "n"], ["z"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 6]),
        helper.make_tensor_value_info("n", TensorProto.INT64, [2]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "z")]
    model = helper.make_model(
        helper.make_graph(nodes, "sound", inputs, outputs, [weights]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    with tempfile.TemporaryDirectory(prefix="tilewright-fuzz-") as folder:
        path = Path(folder) / "sound.so"
        compiled = tilewright.compile(model, output=path, jobs=1)
        return path.read_bytes(), compiled.run(_INPUTS)


def damaged(seed: int, path: Path) -> None:
    """Writes the damaged or forged library of a seed."""
    rng = np.random.default_rng(seed)
    data = _sound()[0]
    if rng.random() < 0.5:
        path.write_bytes(mutate_bytes(rng, data))
        return
    start = data.index(b'{"format_version"')
    stop = data.index(b"\0", start)
    signature = json.loads(data[start:stop])
    for _ in range(int(rng.integers(1, 4))):
        signature = mutate_json(rng, signature)
    text = json.dumps(signature, separators=(",", ":")).encode()
    text = text[: stop - start].ljust(stop - start)  # as long as it was: spaces are no part of JSON
    path.write_bytes(data[:start] + text + data[stop:])
    seal(path, SECTION)


def work(seed: int) -> tuple[str, str]:
    """Loads and runs the library of a seed."""
    with tempfile.TemporaryDirectory(prefix="tilewright-fuzz-") as folder:
        path = Path(folder) / "library.so"
        try:
            damaged(seed, path)
            read_signature(path)
            model = tilewright.load(path)
            sizes = [spec.nbytes for spec in (*model.inputs, *model.outputs)]
            if max([model.workspace_bytes, *sizes]) > _MOST_BYTES:
                return "raised", f"it loaded with tensors of {sizes} and a workspace of {model.workspace_bytes} bytes"
            same = [(spec.name, spec.shape, spec.dtype) for spec in model.inputs] == [
                (name, array.shape, array.dtype.name) for name, array in _INPUTS.items()
            ]
            inputs = _INPUTS if same else {spec.name: np.zeros(spec.shape, spec.dtype) for spec in model.inputs}
            outputs = model.run(inputs)
        except TilewrightError as error:
            return "refused", str(error)
        except BaseException as error:
            return "raised", f"{type(error).__name__}: {error}"
    named = [(outputs[spec.name], at) for at, spec in enumerate(model.signature.outputs) if spec.name]
    return _compared(named) if same else ("runs", "")


def _compared(outputs: list[tuple[Array, int]]) -> tuple[str, str]:
    """Whether what still runs on the same inputs computes the same; outputs with their places."""
    sound = list(_sound()[1].values())
    for array, expected in ((array, sound[at]) for array, at in outputs if at < len(sound)):
        size = min(array.size, math.prod(expected.shape))
        if array.dtype == expected.dtype and array.ravel()[:size].tolist() != expected.ravel()[:size].tolist():
            return "wrong", "the library runs and computes something else"
    return "runs", ""


def report(outcome: Outcome, folder: Path) -> str:
    """Saves a library that was not taken well."""
    path = folder / f"library_{outcome.kind}_{outcome.number}.so"
    damaged(outcome.number, path)
    return f"{path}\n{outcome.text}"


def main() -> int:
    options = CAMPAIGN.parser().parse_args()
    return CAMPAIGN.run(options, work, lambda outcome: report(outcome, options.save))


if __name__ == "__main__":
    raise SystemExit(main())
