"""Compares a compiled library with ONNX Runtime running the model it came from, on random or given inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import ComparisonError, UsageError
from ...sizes import Dimension
from ..inputs.random_inputs import first_inputs
from ..library.dimensions import at, values_of
from ..precision import rtol_of
from .compare import Comparison, compare

if TYPE_CHECKING:
    from ..library.signature import Signature
    from ..runners.runner import Library, Runner
    from .reference_engines import ReferenceEngine

Array = npt.NDArray[Any]
DEFAULT_RUNS = 3
_NOTHING: Mapping[str, Any] = MappingProxyType({})


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
    library: Library | str | Path,
    model: Any,
    *,
    inputs: Mapping[str, Array] = _NOTHING,
    bindings: Mapping[str, Array] = _NOTHING,
    runs: int = DEFAULT_RUNS,
    rtol: float | None = None,
    seed: int = 0,
    runner: Runner | None = None,
) -> Verification:
    """Runs a library and ONNX Runtime on the same inputs and compares every output.

    Args:
        library: a `CompiledModel`, or the path of a library.
        model: the model it was compiled from: a path, an onnx.ModelProto, a Keras model, or what `tilewright.open`
            gave.
        inputs: values by name; what is not given is random, or for the first run the example that came with the model.
            When all are given, there is one run.
        bindings: inputs that were bound at compile time, with the same values.
        runs: how many sets of random inputs: of a library for a range the first of the largest sizes, the second of
            the least, and others of any.
        rtol: max |error| <= rtol * max |reference| must hold for each output; integers must be equal. By default what
            `precision.rtol_of` allows the library; one of `compile --quantize WAY` is held to the model with the same
            integers, as floats (`rounded_references`).
        seed: seed of the first run; the next has the next.
        runner: where the library runs; by default this process.

    Returns:
        What was found; it is true when everything agrees. Disagreement is no exception here.

    Raises:
        ToolError: ONNX Runtime is not installed.
        ModelError, LibraryError: one of the files cannot be loaded.
        UsageError: the library was not compiled from this model, or an input needs ``--bind``.
    """
    from ... import frontends
    from ..inputs.input_ranges import integer_bounds
    from ..inputs.requests import request_for
    from ..library.artifact import load
    from ..runners.local import LocalRunner
    from .reference_engines import open_engine
    from .rounded_references import changes, judged, rounded_references

    runner = runner or LocalRunner()
    compiled: Library = load(library) if isinstance(library, str | Path) else library
    signature = compiled.signature
    dimensions = signature.dimensions
    opened = frontends.open(model, request_for(signature.model_inputs))
    engine = open_engine("onnxruntime", opened.for_engine(), 0)
    _check_pair(signature, engine, bindings)
    way, rounded = signature.quantize, None
    if way and rtol is None:
        rounded = rounded_references(opened, signature, bindings)
    rtol = rtol_of(signature.precision) if rtol is None else rtol
    bounds = integer_bounds(opened)
    unknown = set(inputs) - {spec.name for spec in signature.model_inputs}
    if unknown:
        known = ", ".join(spec.name for spec in signature.model_inputs)
        raise UsageError(f"the library has no input {min(unknown)!r}", where="--input", hint=f"its inputs are: {known}")
    if len(inputs) == len(signature.model_inputs):
        runs = 1
    given = {name: np.shape(value) for name, value in inputs.items()}
    done: list[Run] = []
    outputs: list[dict[str, Array]] = []
    told: dict[str, None] = {}
    for number in range(seed, seed + runs):
        examples = opened.examples if number == seed else {}
        sizes = {
            **_sizes_of_run(dimensions, number - seed, number),
            **values_of(dimensions, signature.model_inputs, given),
        }
        specs = [at(spec, dimensions, sizes) for spec in signature.model_inputs]
        values = {**first_inputs(specs, number, bounds, examples), **inputs}
        references = engine.run({**bindings, **values})
        results = runner.run(compiled, values)
        if rounded is None:
            compared = [compare(name, results[name], references[name], rtol) for name in references]
        else:
            written, compared = rounded.nearest(values, bindings, results, rtol)
            compared = judged(way, compared, written, references, rtol)
            told.update(dict.fromkeys(changes(way, signature.precision, written, references)))
        done.append(Run(number, tuple(compared)))
        outputs.append(references)
    passed = all(each.passed for run in done for each in run.comparisons)
    reference = f"{engine.name} {engine.version}" + (f" on the model with {way}" if rounded is not None else "")
    return Verification(passed, rtol, reference, tuple(done), (*told, *_warnings(done, outputs)))


def _sizes_of_run(dimensions: Sequence[Dimension], run: int, seed: int) -> dict[str, int]:
    """The dimensions of a run: the largest, the least, and then any."""
    generator = np.random.default_rng(seed)
    if run < 2:
        return {each.name: each.least if run else each.bound for each in dimensions}
    return {each.name: int(generator.integers(each.least, each.bound + 1)) for each in dimensions}


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


def _check_pair(signature: Signature, engine: ReferenceEngine, bindings: Mapping[str, Array]) -> None:
    """Whether library and model can be the same."""
    ours = {spec.name for spec in signature.model_inputs}
    theirs = set(engine.input_names)
    unbound = sorted(theirs - ours - set(bindings))
    if ours - theirs or {spec.name for spec in signature.model_outputs} != set(engine.output_names):
        raise UsageError(
            "the library was not compiled from this model",
            details=[
                f"the library has inputs {', '.join(sorted(ours))} and outputs "
                f"{', '.join(spec.name for spec in signature.model_outputs)}",
                f"the model has inputs {', '.join(sorted(theirs))} and outputs {', '.join(engine.output_names)}",
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
            first.shape == other[name].shape and np.array_equal(first, other[name], equal_nan=first.dtype.kind == "f")
            for other in references
        ):
            found[f"output {name!r}: the same for all inputs that were tried"] = None
    return tuple(found)
