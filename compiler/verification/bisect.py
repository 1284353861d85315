"""Finds what makes a library differ: the first operator, whether it takes fusion to go wrong, and the pass to blame.

Three steps, each only when the one before leaves the question open:

1. The model is compiled once with its inner values as outputs, and the first that differs names the operator.
2. When all agree, keeping the values hid the fault: it arises where operators are fused. Then the model is cut after
   ever fewer nodes, each cut compiled as it would be on its own, until the shortest one that differs is found.
3. The end of that model, on the reference's values, is compiled again and again, each time without one pass that a
   right result does not need. A pass without which the results agree is to blame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

from ..build import build
from ..inputs.random_inputs import first_inputs
from ..library.tensor_spec import TensorSpec
from ..options import CompileOptions
from ..process.temporary import temporary_folder
from .compare import Comparison, compare
from .reference_engines import open_engine

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...ir_passes import Pass
    from ...targets import Target
    from ..library.signature import Signature
    from ..process.progress import ProgressCallback

Array = npt.NDArray[Any]
Values = Mapping[str, Array]

# Without these there are no kernels.
_NEEDED = frozenset(("legalize", "schedule"))
# A fused kernel rarely spans more nodes than the first; when the fault is not in there, the cut grows.
_CUT_NODES = (12, 48, 192)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Divergence:
    """The first node, in the model's order, with a result that differs from ONNX Runtime's.

    Attributes:
        node, operator: its name and ONNX operator.
        comparison: of the output that differs.
        only_fused: whether it agrees when all inner values are kept, so that fusion is part of the fault.
        passes: the passes without which it agrees, as `ir_passes.registry.spelled` writes them; empty when leaving out
            one changes nothing.
    """

    node: str
    operator: str
    comparison: Comparison
    only_fused: bool = False
    passes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The fields as JSON takes them."""
        return {
            "node": self.node,
            "operator": self.operator,
            "comparison": self.comparison.to_json(),
            "only_fused": self.only_fused,
            "passes": list(self.passes),
        }


def bisect(
    model: str | Path | OpenedModel,
    options: CompileOptions | None = None,
    *,
    inputs: Values = _NOTHING,
    rtol: float,
    seed: int = 0,
    progress: ProgressCallback = lambda stage, done, total: None,
) -> Divergence | None:
    """Compares the values inside a model with ONNX Runtime's; None when nothing differs.

    Args:
        model: a path, or a model that was opened.
        options: those that the library was compiled with (`options_of`).
        inputs: values by name; what is not given is as in `verify`'s first run.
        rtol: as `verify`'s.

    Raises:
        TilewrightError: of compiling the model, or of ONNX Runtime running it.
    """
    from ... import frontends
    from ...frontends.taps import exposed, inner_values
    from ..inputs.input_ranges import integer_bounds

    asked = options or CompileOptions()
    compiled_shapes = {**asked.shapes, **{name: value.shape for name, value in asked.bindings.items()}}
    opened = frontends.open(model, frontends.Request(shapes=compiled_shapes))
    trial = _Trial(replace(asked, name="part", shapes=_NOTHING, bindings=_NOTHING, jobs=1), rtol, progress)
    progress("reference", 0, 0)
    everything = exposed(opened, inner_values(opened))
    reference = open_engine("onnxruntime", everything.for_engine(), 0)
    specs = [spec for spec in _specs(opened, compiled_shapes) if spec.name not in asked.bindings]
    given = {**asked.bindings, **first_inputs(specs, seed, integer_bounds(opened), opened.examples), **inputs}
    references = {**reference.run(given), **given}

    progress("all values", 0, 0)
    found = trial.first_difference(everything, references)
    node_of = {output: node for node in opened.proto.graph.node for output in node.output}
    if found is None:
        found = _first_fused(trial, opened, [name for name in node_of if name in references], references)
        if found is None:
            return None
        fused = True
    else:
        fused = False
    node = node_of[found.output]
    divergence = Divergence(node.name or found.output, node.op_type, found, fused)
    return replace(divergence, passes=_passes_to_blame(trial, opened, found.output, references))


def options_of(signature: Signature, bindings: Values = _NOTHING) -> CompileOptions:
    """The options that a library was compiled with, its target this machine as far as the library uses it."""
    return CompileOptions(
        target=target_of(signature),
        shapes={spec.name: spec.shape for spec in signature.model_inputs},
        bindings=bindings,
        threads=signature.default_threads or None if signature.threaded else 1,
        precision=signature.precision,
        quantize=signature.quantize or None,
    )


def target_of(signature: Signature) -> Target:
    """This machine, as far as a library uses it: the CPU's name and the features that it was compiled for."""
    from ...targets import parse

    target = parse("host", cpu=signature.cpu)
    has, needs = target.required_features, signature.cpu_features
    possible = dict.fromkeys([*has, *(feature for unit in target.units for feature in unit.required_features)])
    without = [f"-{feature}" for feature in possible if feature not in needs]
    return parse("host", cpu=signature.cpu, features=(*(f"+{name}" for name in needs if name not in has), *without))


@dataclass(frozen=True)
class _Trial:
    """How one part of the model is compiled and compared, and the passes that this ran, in order."""

    options: CompileOptions
    rtol: float
    progress: ProgressCallback
    pass_names: dict[str, None] = field(default_factory=dict)

    def first_difference(self, model: OpenedModel, references: Values, without: str = "") -> Comparison | None:
        """Compiles a part without one pass, runs it on the references, and compares its outputs in their order."""
        inputs = {value.name: references[value.name] for value in model.proto.graph.input}
        results = self._run(model, inputs, without)
        for value in model.proto.graph.output:
            found = compare(value.name, results[value.name], references[value.name], self.rtol)
            if not found.passed and _matters(references[value.name], found, self.rtol):
                return found
        return None

    def _run(self, model: OpenedModel, inputs: Values, without: str) -> dict[str, Array]:
        from ...ir_passes.registry import spelled
        from ..library import artifact

        def passes(order: list[Pass]) -> list[Pass]:
            self.pass_names.update((spelled(each), None) for each in order if each.name not in _NEEDED)
            return [each for each in order if spelled(each) != without]

        options = replace(self.options, shapes={name: value.shape for name, value in inputs.items()})
        with temporary_folder() as folder:
            output = folder / "part.so"
            build(model, output, options, passes=passes)
            return artifact.load(output).run(inputs)


def _first_fused(trial: _Trial, model: OpenedModel, candidates: Sequence[str], references: Values) -> Comparison | None:
    """The earliest value that differs when the model ends there and only its result is kept.

    A difference usually lasts to the end, so halving finds its start; where it does not last, some value that differs
    is found, if not the first.
    """
    outputs = [value.name for value in model.proto.graph.output if value.name in references]
    last = next((found for name in outputs if (found := _difference_at(trial, model, name, references))), None)
    if last is None:
        return None
    names = list(candidates)[: list(candidates).index(last.output) + 1]
    low, high = 0, len(names) - 1
    steps = len(names).bit_length()
    while low < high:
        middle = (low + high) // 2
        trial.progress("cuts", steps - (high - low).bit_length(), steps)
        found = _difference_at(trial, model, names[middle], references)
        if found is None:
            low = middle + 1
        else:
            last, high = found, middle
    return last


def _difference_at(trial: _Trial, model: OpenedModel, name: str, references: Values) -> Comparison | None:
    from ...frontends.taps import cut

    return trial.first_difference(cut(model, [name], references), references)


def _passes_to_blame(trial: _Trial, model: OpenedModel, name: str, references: Values) -> tuple[str, ...]:
    """The passes without which the value agrees, found on the shortest end of the model that still differs."""
    from ...frontends.taps import cut

    for nodes in (*_CUT_NODES, len(model.proto.graph.node)):
        part = cut(model, [name], references, nodes)
        if trial.first_difference(part, references) is not None:
            break
    else:
        return ()
    blamed = []
    names = list(trial.pass_names)
    for done, each in enumerate(names):
        trial.progress("passes", done, len(names))
        try:
            if trial.first_difference(part, references, without=each) is None:
                blamed.append(each)
        except Exception:  # another pass needs what this one makes, and says so in TVM's many ways
            continue
    return tuple(blamed)


def _matters(reference: Array, found: Comparison, rtol: float) -> bool:
    """Whether a difference is more than rounding: integers made by rounding floats may differ by one here and there."""
    if found.problem and reference.dtype.kind in "iu":
        return found.max_error > rtol * reference.size
    return bool(np.isfinite(reference).any()) if reference.dtype.kind == "f" else True


def _specs(model: OpenedModel, shapes: Mapping[str, Sequence[int]]) -> list[TensorSpec]:
    """What the model takes, with its unknown dimensions fixed."""
    constants = {tensor.name for tensor in model.proto.graph.initializer}
    specs = []
    for value in model.proto.graph.input:
        if value.name not in constants:
            tensor = value.type.tensor_type
            known = tuple(dim.dim_value for dim in tensor.shape.dim)
            dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
            specs.append(TensorSpec(value.name, tuple(shapes.get(value.name, known)), dtype))
    return specs


def describe(culprit: Divergence | None) -> str:
    """What `bisect` found, for people."""
    if culprit is None:
        return "no single operator differs by this much: small errors add up, or the library came from another model"
    found = culprit.comparison
    lines = [
        f"first operator that differs: node {culprit.node!r} ({culprit.operator}), output {found.output!r}: "
        + (found.problem or f"max |error| {found.max_error:.3g}, max |reference| {found.max_reference:.3g}")
    ]
    if culprit.only_fused:
        lines.append("it agrees when every value is kept: the fault arises where operators are fused")
    if culprit.passes:
        lines.append(f"it agrees without the pass: {', '.join(culprit.passes)}")
    return "\n".join(lines)
