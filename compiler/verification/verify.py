"""Compares a compiled library with ONNX Runtime running the model it came from, on random or given inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import ComparisonError, UsageError
from ..library.tensor_spec import TensorSpec
from .compare import RTOL_OF_PRECISION, Comparison, compare
from .random_inputs import random_inputs

if TYPE_CHECKING:
    import onnx_ir as ir

    from .reference_engines import Peer

Array = npt.NDArray[Any]
DEFAULT_RUNS = 3
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Runnable(Protocol):
    """What is compared: a `CompiledModel`."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What it takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it gives."""

    @property
    def precision(self) -> str:
        """What it multiplies and stores in."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs once."""


@dataclass(frozen=True)
class Run:
    """One set of inputs: the seed that made the random ones, and every output compared."""

    seed: int
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Verification:
    """The result of `verify`.

    Attributes:
        passed: whether every output of every run agrees.
        rtol: the tolerance: max |error| <= rtol * max |reference|.
        reference: the engine and version that made the references.
        runs: one entry for each set of inputs.
        warnings: why passing would show little; empty when it shows something.
    """

    passed: bool
    rtol: float
    reference: str
    runs: tuple[Run, ...]
    warnings: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.passed

    def worst(self) -> dict[str, Comparison]:
        """For each output the run in which it did worst."""
        worst: dict[str, Comparison] = {}
        for run in self.runs:
            for each in run.comparisons:
                known = worst.get(each.output)
                if known is None or (not each.passed, each.relative_error) > (not known.passed, known.relative_error):
                    worst[each.output] = each
        return worst

    def to_json(self) -> dict[str, object]:
        """All of it as JSON takes it."""
        return {
            "passed": self.passed,
            "rtol": self.rtol,
            "reference": self.reference,
            "runs": [{"seed": run.seed, "outputs": [each.to_json() for each in run.comparisons]} for run in self.runs],
            "warnings": list(self.warnings),
        }


def verify(
    library: Runnable | str | Path,
    model: Any,
    *,
    inputs: Mapping[str, Array] = _NOTHING,
    bindings: Mapping[str, Array] = _NOTHING,
    runs: int = DEFAULT_RUNS,
    rtol: float | None = None,
    seed: int = 0,
) -> Verification:
    """Runs a library and ONNX Runtime on the same inputs and compares every output.

    Args:
        library: a `CompiledModel`, or the path of a library.
        model: the model it was compiled from: a path of an ONNX file, or an onnx.ModelProto.
        inputs: values by name; what is not given is random. When all are given, there is one run.
        bindings: inputs that were bound at compile time, with the same values.
        runs: how many sets of random inputs.
        rtol: max |error| <= rtol * max |reference| must hold for each output; integers must be equal. By default what
            `compare.RTOL_OF_PRECISION` allows the library.
        seed: seed of the first run; the next has the next.

    Returns:
        What was found; it is true when everything agrees. Disagreement is no exception here.

    Raises:
        ToolError: ONNX Runtime is not installed.
        ModelError, LibraryError: one of the files cannot be loaded.
        UsageError: the library was not compiled from this model, or an input needs ``--bind``.
    """
    from .reference_engines import open_peer

    compiled = _loaded(library)
    opened, source = reference_source(model)
    peer = open_peer("onnxruntime", source, 0)
    _check_pair(compiled, peer, bindings)
    rtol = RTOL_OF_PRECISION[compiled.precision] if rtol is None else rtol
    bounds = index_bounds(opened)
    unknown = set(inputs) - {spec.name for spec in compiled.inputs}
    if unknown:
        known = ", ".join(spec.name for spec in compiled.inputs)
        raise UsageError(f"the library has no input {min(unknown)!r}", where="--input", hint=f"its inputs are: {known}")
    if len(inputs) == len(compiled.inputs):
        runs = 1
    done: list[Run] = []
    outputs: list[dict[str, Array]] = []
    for number in range(seed, seed + runs):
        values = {**random_inputs(compiled.inputs, number, bounds), **inputs}
        references = peer.run({**bindings, **values})
        results = compiled.run(values)
        done.append(Run(number, tuple(compare(name, results[name], references[name], rtol) for name in references)))
        outputs.append(references)
    passed = all(each.passed for run in done for each in run.comparisons)
    return Verification(passed, rtol, f"{peer.name} {peer.version}", tuple(done), _warnings(done, outputs))


def raise_if_failed(verification: Verification, where: str) -> None:
    """Raises what a script wants instead of a false result.

    Raises:
        ComparisonError: an output differs; `details` has a line for each.
    """
    failed = [each for each in verification.worst().values() if not each.passed]
    if failed:
        raise ComparisonError(
            f"{len(failed)} of {len(verification.worst())} outputs differ from {verification.reference}",
            where=where,
            details=[describe_failure(each) for each in failed],
            hint="run verify with --bisect to find the first operator that differs",
        )


def describe_failure(comparison: Comparison) -> str:
    """One line on an output that differs."""
    reason = comparison.problem or f"max |error| {comparison.max_error:.3g} > {comparison.limit:.3g}"
    at = f", worst at {list(comparison.worst_index)}" if comparison.worst_index else ""
    return f"output {comparison.output!r}: {reason}{at}"


def reference_source(model: Any) -> tuple[ir.Model, Path | bytes]:
    """A model after the checks of the frontend (its files are hostile until parsed), and what an engine can load."""
    from ...frontends.onnx.reader import read_model

    if isinstance(model, str | Path):
        return read_model(Path(model)).model, Path(model)
    return read_model(model).model, model.SerializeToString()


def index_bounds(model: ir.Model) -> dict[str, int]:
    """See `input_ranges.integer_bounds`."""
    from .input_ranges import integer_bounds

    return integer_bounds(model)


def _loaded(library: Runnable | str | Path) -> Runnable:
    if not isinstance(library, str | Path):
        return library
    from ..library.artifact import load

    compiled: Runnable = load(library)
    return compiled


def _check_pair(compiled: Runnable, peer: Peer, bindings: Mapping[str, Array]) -> None:
    """Whether library and model can be the same."""
    ours = {spec.name for spec in compiled.inputs}
    theirs = set(peer.input_names)
    unbound = sorted(theirs - ours - set(bindings))
    if ours - theirs or {spec.name for spec in compiled.outputs} != set(peer.output_names):
        raise UsageError(
            "the library was not compiled from this model",
            details=[
                f"the library has inputs {', '.join(sorted(ours))} and outputs "
                f"{', '.join(spec.name for spec in compiled.outputs)}",
                f"the model has inputs {', '.join(sorted(theirs))} and outputs {', '.join(peer.output_names)}",
            ],
        )
    if unbound:
        raise UsageError(
            "inputs of the model are no inputs of the library",
            details=[f"input {name!r}" for name in unbound],
            hint="give the values they were compiled with: "
            + " ".join(f"--bind {name}=@value.npy" for name in unbound),
        )


def _warnings(runs: list[Run], references: list[dict[str, Array]]) -> tuple[str, ...]:
    """What makes agreement worth little."""
    found: dict[str, None] = {}
    for run in runs:
        for each in run.comparisons:
            if each.warning:
                found[f"output {each.output!r}: {each.warning}"] = None
    for name in references[0] if len(references) > 1 else ():
        first = references[0][name]
        if first.size and all(
            np.array_equal(first, other[name], equal_nan=first.dtype.kind == "f") for other in references
        ):
            found[f"output {name!r}: the same for all inputs that were tried"] = None
    return tuple(found)
