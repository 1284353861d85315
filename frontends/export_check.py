"""Whether an exported ONNX model computes what the framework's own model does, and where it first does not.

The exporters of the frameworks are others' work and sometimes wrong in silence. ONNX Runtime runs what they wrote on
the inputs that the framework ran the model on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelError, TilewrightWarning
from .opened import OpenedModel
from .taps import exposed

Array = npt.NDArray[Any]

# Of the largest |value|. Engines add in other orders, and deep networks magnify that; a wrong export differs by more.
_TOLERANCE: Mapping[str, float] = {"float64": 1e-4, "float32": 1e-3, "float16": 3e-2, "bfloat16": 1e-1}


def check_export(
    opened: OpenedModel,
    inputs: Mapping[str, Array],
    expected: Mapping[str, Array],
    inner: Callable[[], Mapping[str, Array]],
    exporter: str,
) -> None:
    """Compares an exported model with what it was exported from.

    Args:
        opened: the export.
        inputs: what the framework's model was called with, by the export's names.
        expected: what it returned, by the export's names.
        inner: computes values inside the framework's model, by the names they have in the export; called when an output
            differs.
        exporter: what made the export: ``torch.onnx.export``.

    Raises:
        ModelError: an output differs; the first node that does is named.
    """
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        warnings.warn(
            TilewrightWarning(
                f"the export by {exporter} is not checked: that needs ONNX Runtime; pip install onnxruntime"
            ),
            stacklevel=2,
        )
        return
    try:
        results = _run(opened, inputs)
    except Exception as error:  # what this version lacks, it says in many ways; it is no fault of the export
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        warnings.warn(
            TilewrightWarning(f"the export by {exporter} is not checked: ONNX Runtime cannot run it: {reason}"),
            stacklevel=2,
        )
        return
    failed = {name: problem for name in expected if (problem := _difference(results[name], expected[name]))}
    if not failed:
        return
    raise ModelError(
        f"{exporter} has exported another function than the model",
        where=opened.where,
        details=[*(f"output {name!r}: {problem}" for name, problem in failed.items()), _first(opened, inputs, inner)],
        hint="this is a fault of the exporter: change that layer, or try another version of the framework",
    )


def _first(opened: OpenedModel, inputs: Mapping[str, Array], inner: Callable[[], Mapping[str, Array]]) -> str:
    """The first node of the export whose result differs from the framework's value of the same name."""
    known = inner()
    node_of = {output: node for node in opened.proto.graph.node for output in node.output if output in known}
    if not node_of:
        return "no value inside can be compared"
    results = _run(exposed(opened, node_of), inputs)
    for name, node in node_of.items():
        if problem := _difference(results[name], known[name]):
            return f"the first value that differs: node '{node.name}' ({node.op_type}), value {name!r}: {problem}"
    return "no single value inside differs by this much"


def _run(opened: OpenedModel, inputs: Mapping[str, Array]) -> dict[str, Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    source = opened.for_engine()
    session = onnxruntime.InferenceSession(
        source if isinstance(source, bytes) else str(source), options, providers=["CPUExecutionProvider"]
    )
    wanted = {value.name: inputs[value.name] for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, wanted), strict=True))


def _difference(result: Array, expected: Array) -> str:
    """What is wrong with a result; empty when nothing is."""
    result, expected = np.asarray(result), np.asarray(expected)
    if result.shape != expected.shape:
        return f"shape {list(result.shape)}, {list(expected.shape)} expected"
    if expected.dtype.name not in _TOLERANCE:
        count = int((result != expected).sum())
        return f"{count} of {expected.size} elements differ" if count else ""
    ours, theirs = result.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(theirs)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    if not np.array_equal(finite, np.isfinite(ours)) or not same[~finite].all():
        return "other elements are not finite"
    largest = float(np.abs(theirs[finite]).max(initial=0.0))
    error = float(np.abs(ours[finite] - theirs[finite]).max(initial=0.0))
    if error <= _TOLERANCE[expected.dtype.name] * max(largest, 1e-6):
        return ""
    return f"max |error| {error:.3g}, max |expected| {largest:.3g}"
