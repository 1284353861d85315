"""Whether a compiled graph computes what ONNX Runtime does, as far as arithmetic of so many bits can tell.

How far two right results may differ depends on the graph: a difference of the last bit before an `exp` is many after
it, and before a `Floor` it is one or nothing. So ONNX Runtime runs the graph again and again with every float in it
(inputs, weights, results of all nodes) moved by some units in the last place, up or down at random, as a rounding
moves it. What then moves may differ so much; what stays must be met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import tilewright
from draft import Array, typed
from generate import Sample
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from reference import Session
from tilewright.errors import CompilerError, TilewrightError, UnsupportedError

# How far every float is moved, relative to itself. Approximations of exp, tanh and erf in ONNX Runtime and here are a
# few units in the last place off: 8 are allowed, and 2 of float16, which is converted at every operator. Attributes are
# float32 even where tensors are float64, so that an epsilon or alpha is known to no more than that.
_RELATIVE = {"float32": 8 * 2.0**-23, "float64": 2.0**-25, "float16": 2 * 2.0**-10}


def _largest(y: Array, x: Array | None) -> Array:
    return np.abs(y).max(initial=0.0) * 0.25


def _input(y: Array, x: Array | None) -> Array:
    return y * 0 if x is None else np.abs(x)


def _largest_input(y: Array, x: Array | None) -> Array:
    return np.full_like(y, 0.0 if x is None else np.abs(x).max(initial=0.0))


def _one(y: Array, x: Array | None) -> Array:
    return np.ones_like(y)


def _smallest(y: Array, x: Array | None) -> Array:
    least = float(np.finfo(np.float16).smallest_subnormal) / _RELATIVE["float16"] if y.dtype == np.float16 else 0.0
    return np.full(y.shape, least)


# What loses digits inside one operator moves by more: sums of products (Resize by cubics is one) may be taken in any
# order, or by Winograd's transform, so that errors are relative to the largest result; x * (1 + erf(x / sqrt(2))) has
# an error relative to x; the logarithm of a sum has that of the sum, which is relative to 1 where it is nearly 1, as
# exp(x) is of a small x, of which ELUs take 1; ONNX Runtime's LRN moves its sum of squares along the channels, so that
# the largest one leaves its rounding behind. A product too small for float16 is 0, which ONNX Runtime, where it leaves
# out the rounding, does not make it.
_ABSOLUTE = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "Resize", "RNN", "GRU", "LSTM"), _largest),
    **dict.fromkeys(("Gelu",), _input),
    **dict.fromkeys(("LRN",), _largest_input),
    **dict.fromkeys(("LogSoftmax", "ReduceLogSumExp", "Celu", "Elu", "Selu"), _one),
    **dict.fromkeys(("Mul", "Div", "Pow", "ReduceProd"), _smallest),
}
_FACTOR = 4.0  # how often the largest difference seen may be exceeded: few draws do not meet the worst case
_DRAWS = 6
_MORE_DRAWS = 64  # before something is called wrong


@dataclass(frozen=True)
class Verdict:
    """What became of a graph: `right`, `wrong`, `refused`, `internal` or `raised`, and what was seen."""

    kind: str
    text: str = ""


def judge(sample: Sample, **options: Any) -> Verdict:
    """Compiles a graph, runs it and compares."""
    try:
        compiled = tilewright.compile(sample.model, threads=1, jobs=1, **options)
        got = compiled.run(dict(sample.inputs))
    except UnsupportedError as error:
        return Verdict("refused", str(error))
    except CompilerError as error:
        return Verdict("internal", str(error))
    except TilewrightError as error:
        return Verdict("raised", f"{type(error).__name__}: {error}")
    except Exception as error:
        return Verdict("raised", f"{type(error).__name__}: {error}")
    return compare(sample, got)


def compare(sample: Sample, got: Mapping[str, Array]) -> Verdict:
    """Compares results with ONNX Runtime's."""
    names = [value.name for value in sample.model.graph.output]
    expected = dict(zip(names, Session(sample.model).run(sample.inputs), strict=True))
    wrong: dict[str, Array] = {}
    for name in names:
        if got[name].shape != expected[name].shape or got[name].dtype != expected[name].dtype:
            return Verdict("wrong", f"{name}: {_kind(got[name])} instead of {_kind(expected[name])}")
        wrong[name] = ~_same(got[name], expected[name])
    if not any(each.any() for each in wrong.values()):
        return Verdict("right")
    noise = Noise(sample)
    for draws in (_DRAWS, _MORE_DRAWS):
        moved = noise.spread(expected, draws)
        for name in names:
            wrong[name] &= ~_within(got[name], expected[name], moved[name])
        if not any(each.any() for each in wrong.values()):
            return Verdict("right")
    truth = in_float64(sample)
    for name in names:
        if name in truth and truth[name].shape == got[name].shape:
            met = _within(got[name], truth[name], moved[name])
            wrong[name] &= ~(met | _nearer(got[name], expected[name], truth[name]))
    if not any(each.any() for each in wrong.values()):
        return Verdict("right", "by float64")
    return Verdict("wrong", "\n".join(_describe(n, got[n], expected[n], wrong[n]) for n in names if wrong[n].any()))


def _kind(array: Array) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _same(a: Array, b: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray((a == b) | ((a != a) & (b != b)))


def _within(got: Array, expected: Array, moved: Array) -> Array:
    """Whether values differ by no more than rounding can move them."""
    if got.dtype.kind != "f":
        return np.asarray(_same(got, expected) | (moved > 0))
    tiny = float(np.finfo(got.dtype).tiny) * 16
    a, b = got.astype(np.float64), expected.astype(np.float64)
    with np.errstate(all="ignore"):
        allowed = _FACTOR * moved + _FACTOR * _RELATIVE[got.dtype.name] * np.abs(b) + tiny
        near = np.abs(a - b) <= allowed
    return np.asarray(_same(a, b) | near | np.isinf(moved))


def _nearer(got: Array, expected: Array, truth: Array) -> Array:
    """Whether float64 shows that ONNX Runtime's approximation is the coarser one, and by no more than one can be.

    Of what is no float it shows which is right: between operators of float16, ONNX Runtime leaves out the rounding.
    """
    if got.dtype.kind != "f":
        return _same(got, truth)
    a, b = got.astype(np.float64), expected.astype(np.float64)
    small = np.abs(a - b) <= 1e-5 * np.abs(b).max(initial=0.0) + 1e-7
    return np.asarray(small & (np.abs(a - truth) <= np.abs(b - truth)))


def _describe(name: str, got: Array, expected: Array, wrong: Array) -> str:
    at = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.ndim else ()
    return (
        f"{name} {_kind(got)}: {int(wrong.sum())} of {wrong.size} elements differ; "
        f"first at {list(at)}: {got[at]!r} instead of {expected[at]!r}"
    )


class Noise:
    """A graph whose floats can be moved: each is multiplied by one more input, and to some another one is added."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._moves: dict[str, tuple[str, tuple[int, ...], Array | None]] = {}
        self._arrays = values_of(sample)
        self._graph = onnx.GraphProto(name="noisy")
        self._renamed: dict[str, str] = {}
        given = sample.model.graph
        self._graph.input.extend(given.input)
        self._graph.initializer.extend(given.initializer)
        for leaf in [*given.input, *given.initializer]:
            self._move(leaf.name, None)
        for node in given.node:
            copy = self._graph.node.add()
            copy.CopyFrom(node)
            copy.input[:] = [self._renamed.get(name, name) for name in node.input]
            for name in node.output:
                self._move(name, node)
        self._graph.output.extend(
            onnx.ValueInfoProto(name=self._renamed.get(name, name))
            for name in dict.fromkeys(value.name for value in given.output)  # one may be there twice
        )
        model = onnx.ModelProto()
        model.CopyFrom(sample.model)
        model.graph.CopyFrom(self._graph)
        self._session = Session(model)

    def _move(self, name: str, node: onnx.NodeProto | None) -> None:
        """Lets whatever reads a tensor read it moved."""
        if name not in self._sample.noisy or self._arrays[name].dtype.kind != "f":
            return
        array = self._arrays[name]
        moved = f"{name}_moved"
        absolute = None
        if node is not None and node.op_type in _ABSOLUTE:
            first = self._arrays.get(node.input[0])
            absolute = np.asarray(_ABSOLUTE[node.op_type](array, first), np.float64)
        target = moved if absolute is None else f"{name}_scaled"
        self._graph.node.append(helper.make_node("Mul", [name, f"{name}_factor"], [target]))
        self._graph.input.append(typed(f"{name}_factor", array))
        if absolute is not None:
            self._graph.node.append(helper.make_node("Add", [target, f"{name}_addend"], [moved]))
            self._graph.input.append(typed(f"{name}_addend", array))
        self._renamed[name] = moved
        self._moves[name] = (array.dtype.name, array.shape, absolute)

    def spread(self, expected: Mapping[str, Array], draws: int) -> dict[str, Array]:
        """How far each element of each output moved at most, infinite where it became none or stopped being one."""
        moved = {name: np.zeros(array.shape) for name, array in expected.items()}
        for draw in range(draws):
            results = self._session.run({**self._sample.inputs, **self._drawn(draw)})
            for (name, array), result in zip(expected.items(), results, strict=True):
                with np.errstate(all="ignore"):
                    step = np.abs(result.astype(np.float64) - array.astype(np.float64))
                step = np.where(_same(result, array), 0.0, np.where(np.isfinite(step), step, np.inf))
                moved[name] = np.maximum(moved[name], step)
        return moved

    def _drawn(self, draw: int) -> dict[str, Array]:
        """Factors and addends: all up, all down, then each at random."""
        rng = np.random.default_rng(draw)
        drawn = {}
        for name, (dtype, shape, absolute) in self._moves.items():
            size = _RELATIVE[dtype]
            signs = rng.choice([-1.0, 1.0], shape) if draw >= 2 else np.full(shape, 1.0 - 2.0 * draw)
            drawn[f"{name}_factor"] = np.asarray(1.0 + size * signs).astype(dtype)
            if absolute is not None:
                drawn[f"{name}_addend"] = np.asarray(size * absolute * rng.choice([-1.0, 1.0], shape)).astype(dtype)
        return drawn


def values_of(sample: Sample) -> dict[str, Array]:
    """Every tensor of a graph on the sample's inputs, by name."""
    everything = onnx.ModelProto()
    everything.CopyFrom(sample.model)
    made = [name for node in sample.model.graph.node for name in node.output if name]
    del everything.graph.output[:]
    everything.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in sample.model.graph.initializer}
    values.update(sample.inputs)
    values.update(zip(made, Session(everything).run(sample.inputs), strict=True))
    return values


def in_float64(sample: Sample) -> dict[str, Array]:
    """The outputs with all float32 data in float64, node by node by ONNX's reference; where that cannot, as given."""
    graph = sample.model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    values.update(sample.inputs)
    seen = values_of(sample)
    narrow = {name: array.dtype for name, array in seen.items()}
    values = {name: array.astype(np.float64) if name in sample.noisy else array for name, array in values.items()}
    for node in graph.node:
        given = {name: values[name] for name in dict.fromkeys(node.input) if name}
        try:
            results = _alone(sample, node, given, ReferenceEvaluator)
            pairs = zip(node.output, results, strict=True)
            is_right = all(np.shape(result) == seen[name].shape for name, result in pairs if name)
        except Exception:  # it lacks operators, and some cannot do it in float64
            is_right = False
        if not is_right:
            results = _alone(sample, node, {name: a.astype(narrow[name]) for name, a in given.items()}, Session)
        for name, array in zip(node.output, results, strict=True):
            wide = name in sample.noisy and narrow[name] == np.float32
            values[name] = np.asarray(array).astype(np.float64) if wide else np.asarray(array).astype(narrow[name])
    return {value.name: values[value.name] for value in graph.output}


def _alone(
    sample: Sample, node: onnx.NodeProto, given: Mapping[str, Array], evaluator: Callable[[onnx.ModelProto], Any]
) -> Sequence[Any]:
    """The results of one node. Its inputs are constants: some of them may have to be."""
    constants = [numpy_helper.from_array(array, name) for name, array in given.items()]
    model = onnx.ModelProto()
    model.CopyFrom(sample.model)
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    model.graph.CopyFrom(helper.make_graph([node], "alone", [], outputs, constants))
    runner = evaluator(model)
    with np.errstate(all="ignore"):
        results: Sequence[Any] = runner.run({}) if isinstance(runner, Session) else runner.run(None, {})
    return results
