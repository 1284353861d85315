"""Operators that each template computes, on odd sizes: how they are built, on what, and what is expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from kernel_runner import TOLERANCE, random
from numpy_reference import convolution, pad, windows
from tilewright import targets
from tilewright.ir_passes.dialect.attention import attention
from tilewright.ir_passes.dialect.cached_attention import cached_attention
from tilewright.ir_passes.dialect.interpolation import interpolate
from tilewright.ir_passes.dialect.recurrent import GATES, Activation, Layer, recurrent
from tilewright.ir_passes.dialect.weight_product import weight_product
from tvm import relax

AMX, VECTOR = "AMX-BF16", "AVX512-BF16"
HOST = targets.parse("host")
LANES = HOST.lanes()


@dataclass(frozen=True)
class OperatorCase:
    """An operator that a template computes: how it is built, on what, what is expected and how exactly."""

    template: str
    build: Callable[..., Any]
    inputs: tuple[Any, ...]
    expected: Any
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Case(OperatorCase):
    """One that a CPU computes, by one of these units or by none."""

    units: tuple[str, ...] = ()


def rounded(array: Any) -> Any:
    return array.astype(ml_dtypes.bfloat16).astype("float32")


def convolved(template: str, data: Any, weights: Any, stride: int = 1, groups: int = 1, **options: Any) -> Case:
    """A convolution with padding; of units the operands are rounded."""
    constant = relax.const(weights)
    layout = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
    exact = (rounded(data), rounded(weights)) if "units" in options else (data, weights)
    return Case(
        template,
        lambda x: relax.op.nn.relu(
            relax.op.nn.conv2d(x, constant, strides=(stride,) * 2, padding=(1,) * 4, groups=groups, **layout)
        ),
        (data,),
        np.maximum(convolution(*exact, (stride,) * 2, (1,) * 4, (1, 1), groups), 0),
        **options,
    )


def multiplied(template: str, left: tuple[int, ...], right: tuple[int, ...], **options: Any) -> Case:
    a, b = random(*left), random(*right, seed=1)
    exact = [rounded(each) if "units" in options else each for each in (a, b)]
    return Case(template, relax.op.matmul, (a, b), exact[0].astype("float64") @ exact[1], **options)


def sparse(rows: int, depth: int, columns: int, width: int) -> Case:
    """A product with weights of which one in four blocks of `width` columns is not zero, and a few panels none."""
    x, w = random(rows, depth), random(depth, columns, seed=1)
    kept = np.random.default_rng(2).random((depth, -(-columns // width))) < 0.25
    kept[:, 1::3] = False
    w *= kept.repeat(width, axis=1)[:, :columns]
    build = lambda data: relax.op.nn.relu(relax.op.matmul(data, relax.const(w)))  # noqa: E731  # one expression, of one case
    return Case("sparse", build, (x,), np.maximum(x.astype("float64") @ w, 0))


def sparse_kernel(weights: Any, rate: float) -> Any:
    """Weights of a convolution with zeros in so many places."""
    return np.where(np.random.default_rng(3).random(weights.shape) < rate, np.float32(0), weights)


def of_integers(unit: str, rows: int, depth: int, columns: int) -> Case:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (rows, depth)).astype("uint8")
    w = generator.integers(-128, 128, (depth, columns)).astype("int8")
    expected = x.astype("int32") @ w.astype("int32")
    build = lambda data: relax.op.matmul(data, relax.const(w), "int32")  # noqa: E731  # one expression, of one case
    return Case("dot_product", build, (x,), expected, 1e-9, (unit,))


def convolved_integers(isa: str, size: tuple[int, int], channels: int, columns: int) -> Case:
    """A 3x3 convolution with padding, of integers over all of their range."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (1, *size, channels)).astype("uint8")
    w = generator.integers(-128, 128, (columns, 3, 3, channels)).astype("int8")
    expected = convolution(x.astype("float64"), w.astype("float64"), (1, 1), (1,) * 4, (1, 1), 1)
    options = {"data_layout": "NHWC", "kernel_layout": "OHWI", "out_dtype": "int32"}
    return Case(
        "integer_winograd",
        lambda data: relax.op.nn.conv2d(data, relax.const(w), padding=(1,) * 4, **options),
        (x,),
        expected,
        1e-9,
        (f"{isa}-INT8", f"{isa}-INT16"),
    )


def with_few_bits(rows: int, depth: int, columns: int, bits: int, block: int, zeros: bool = False) -> Case:
    generator = np.random.default_rng(0)
    blocks, x = -(-depth // block), random(rows, depth)
    integers = generator.integers(-(1 << (bits - 1)), 1 << (bits - 1), (depth, columns)).astype("int8")
    scale = generator.uniform(0.1, 1, (blocks, columns)).astype("float32")
    zero = generator.integers(-8, 8, (blocks, columns)).astype("int32") if zeros else np.asarray(1, "int32")
    whole = [each if each.ndim == 0 else each[np.arange(depth) // block] for each in (zero, scale)]
    constants = [relax.const(each) for each in (integers, scale, zero)]
    return Case(
        "weight_product",
        lambda data: weight_product(data, *constants, bits=bits, block=block),
        (x,),
        x.astype("float64") @ ((integers - whole[0]) * whole[1]),
    )


def attended(queries: int, keys: int, depth: int, **options: Any) -> Case:
    q, k, v = random(2, queries, 3, depth), random(2, keys, 3, depth, seed=1), random(2, keys, 3, 20, seed=2)
    exact = [rounded(each).astype("float64") if "units" in options else each.astype("float64") for each in (q, k, v)]
    scores = np.einsum("bqhd,bkhd->bhqk", *exact[:2]) * 0.3
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("bhqk,bkhd->bqhd", powers / powers.sum(-1, keepdims=True), exact[2])
    return Case(
        "attention", lambda *args: attention(args, scale=0.3, nan_is_zero=False), (q, k, v), expected, **options
    )


def attended_by(unit: str, queries: int, keys: int, depth: int) -> Case:
    """Queries and keys of integers, and what a zero point of the queries adds to the sums."""
    generator = np.random.default_rng(0)
    q = generator.integers(0, 256, (2, queries, 3, depth)).astype("uint8")
    k = generator.integers(-128, 128, (2, keys, 3, depth)).astype("int8")
    v = random(2, keys, 3, 20, seed=2)
    zero = -131 * k.astype("int32").sum(-1).transpose(0, 2, 1)[:, :, None]
    scores = np.einsum("bqhd,bkhd->bhqk", q.astype("float64") - 131, k) * 1e-4
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("bhqk,bkhd->bqhd", powers / powers.sum(-1, keepdims=True), v)
    build = lambda *args: attention(args, scale=1e-4, nan_is_zero=False)  # noqa: E731  # one expression, of one case
    return Case("attention", build, (q, k, v, zero), expected, 5e-6, (unit,))


def cached(queries: int, there: int, depth: int, *, groups: int = 1, first: tuple[bool, bool] = (True, True)) -> Case:
    """Attention to so many of 40 keys, behind which nothing may be read, with a mask."""
    q, mask = random(2, queries, 6, depth), random(1, 1, queries, 40, seed=3)
    k, v = random(2, 6 // groups, 40, depth, seed=1), random(2, 6 // groups, 40, 20, seed=2)
    whole = [each[:, :, :there].astype("float64").repeat(groups, 1) for each in (k, v)]
    scores = np.einsum("bqhd,bhkd->bhqk", q.astype("float64"), whole[0]) * 0.3 + mask[..., :there]
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("bhqk,bhkd->bqhd", powers / powers.sum(-1, keepdims=True), whole[1])
    for each in (k, v):
        each[:, :, there:] = np.nan
    caches = [each if heads else each.transpose(0, 2, 1, 3).copy() for each, heads in zip((k, v), first, strict=True)]
    sizes = np.asarray(queries, "int64"), np.asarray(there, "int64")
    return Case(
        "cached_attention",
        lambda *args: cached_attention(args, scale=0.3, nan_is_zero=False, heads_first=first),
        (q, *caches, *sizes, mask),
        expected,
        5e-6,
    )


def grouped(data: Any, groups: int) -> Case:
    gamma, beta = random(data.shape[-1], seed=1), random(data.shape[-1], seed=2)
    rows = data.astype("float64").reshape(len(data), -1, groups, data.shape[-1] // groups)
    mean, variance = (f(rows, axis=(1, 3), keepdims=True) for f in (np.mean, np.var))
    normal = ((rows - mean) / np.sqrt(variance + 1e-5)).reshape(data.shape)
    constants = relax.const(gamma), relax.const(beta)
    return Case(
        "group_norm",
        lambda x: relax.op.nn.group_norm(x, *constants, groups, 3, [1, 2]),
        (data,),
        normal * gamma + beta,
    )


def softmax(x: Any) -> Any:
    powers = np.exp((x - x.max(-1, keepdims=True)).astype("float64"))
    return powers / powers.sum(-1, keepdims=True)


def interpolated(x: Any, last: int, count: int) -> Any:
    """The means of neighbours along so many axes down from the last of them."""
    axes = [last - index for index in range(count)]
    tables = []
    for axis in axes:
        size = int(x.ty.shape[axis]) - 1
        tables.append((relax.const(np.arange(size)[:, None] + [0, 1]), relax.const(np.full((size, 2), 0.5, "float32"))))
    return relax.op.nn.relu(interpolate(x, tables, axes))


def means(x: Any, axis: int) -> Any:
    size = x.shape[axis]
    return np.maximum((x.take(range(size - 1), axis) + x.take(range(1, size), axis)) / 2, 0 if axis == 1 else -np.inf)


def layered(kind: str, steps: int, batch: int, hidden: int, both: bool = False) -> Case:
    """A recurrent layer whose input is multiplied already, forward or in both directions."""
    gates, directions = GATES[kind], 1 + both
    x = random(steps, batch, directions * gates * hidden)
    weights = random(directions, gates * hidden, hidden, seed=1) / np.float32(hidden)
    states = [random(directions, batch, hidden, seed=2 + index) for index in range(1 + (kind == "lstm"))]
    names = {"rnn": ("tanh",), "gru": ("sigmoid", "tanh"), "lstm": ("sigmoid", "tanh", "tanh")}[kind]
    functions = (tuple(Activation(name) for name in names),) * directions
    layer = Layer(kind, (False, True)[:directions], functions)
    expected = np.zeros((steps, directions, batch, hidden))
    for direction in range(directions):
        h, *c = (state[direction].astype("float64") for state in states)
        r = weights[direction].astype("float64").reshape(gates, hidden, hidden)
        for step in range(steps)[:: -1 if direction else 1]:
            given = np.split(x[step].astype("float64"), directions * gates, -1)[direction * gates :]
            h, *c = one_step(kind, given, r, h, *c)
            expected[step, direction] = h

    def build(data: Any) -> Any:
        operands = [data, *(relax.const(each) for each in (weights, *states))]
        return relax.TupleGetItem(relax.BlockBuilder.current().emit(recurrent(layer, operands)), 0)

    return Case("recurrent", build, (x,), expected)


def one_step(kind: str, x: Any, r: Any, h: Any, c: Any = None) -> tuple[Any, ...]:
    """The next h, and of an LSTM c."""

    def sigmoid(y: Any) -> Any:
        return 1 / (1 + np.exp(-y))

    if kind == "rnn":
        return (np.tanh(x[0] + h @ r[0].T),)
    if kind == "gru":
        z, reset = (sigmoid(x[gate] + h @ r[gate].T) for gate in range(2))
        return ((1 - z) * np.tanh(x[2] + (reset * h) @ r[2].T) + z * h,)
    into, out, forget, cell = (x[gate] + h @ r[gate].T for gate in range(4))
    c = sigmoid(forget) * c + sigmoid(into) * np.tanh(cell)
    return sigmoid(out) * np.tanh(c), c


def cases() -> list[Case]:
    image, line = random(2, 9, 11, 5), random(3, 5003)
    fat = random(1, 7, 10, 2 * LANES)
    deep, small = random(1, 9, 10, 37), random(1, 8, 7, 3 * LANES)
    tall, depthwise = random(2, 36, 5, 37) + 1, random(37, 3, 3, 1, seed=1)
    pooled = windows(pad(small, (1,) * 4, -np.inf), (3, 3), (2, 2), (1, 1)).max(axis=(3, 4))
    columns_of_three = np.maximum(np.maximum(image[:, :, :-2], image[:, :, 1:-1]), image[:, :, 2:])
    bfloat16 = {"units": (AMX, VECTOR)}
    return [
        convolved("contraction", image, random(37, 3, 3, 5, seed=1), stride=2),
        convolved("contraction", random(1, 6, 5, 18), random(21, 2, 3, 6, seed=1), groups=3),
        multiplied("contraction", (3, 23, 29), (3, 29, 1)),
        multiplied("contraction", (61, 99), (99, 70)),
        multiplied("contraction", (1, 320), (320, 7)),
        with_few_bits(3, 99, 70, 4, 32, zeros=True),
        with_few_bits(8, 52, 37, 8, 52),
        convolved("winograd", fat, random(5 * LANES, 3, 3, 2 * LANES, seed=1), tolerance=1e-5),
        convolved("winograd", random(3, 4, 3, LANES), random(8 * LANES, 3, 3, LANES, seed=1), tolerance=1e-5),
        convolved("dot_product", random(1, 6, 17, 33), random(40, 3, 3, 33, seed=1), **bfloat16),
        convolved("dot_product", random(2, 9, 9, 3), random(24, 3, 3, 3, seed=1), stride=2, **bfloat16),
        multiplied("dot_product", (2, 50, 62), (2, 62, 41), **bfloat16),
        multiplied("dot_product", (131, 33), (33, 17), **bfloat16),
        attended(50, 29, 16, tolerance=5e-6),
        attended(7, 3, 5, tolerance=5e-6),
        attended(37, 21, 16, tolerance=2**-8, **bfloat16),
        attended_by("AVX512-VNNI", 37, 21, 16),
        attended_by("AVX2-INT8", 9, 40, 20),
        cached(1, 33, 16, groups=3),
        cached(12, 40, 24, first=(False, True)),
        cached(7, 1, 5, groups=2, first=(True, False)),
        convolved("window", deep, depthwise, groups=37),
        convolved("window", deep, depthwise, stride=2, groups=37),
        Case(
            "window",
            lambda x: relax.op.nn.max_pool2d(x, (3, 3), strides=(2, 2), padding=(1,) * 4, layout="NHWC"),
            (small,),
            pooled,
        ),
        sparse(49, 90, 3 * LANES + 5, LANES),
        sparse(1, 200, 80, 2 * LANES),
        sparse(6, 48, 24, 4),
        sparse(13, 31, 3, 1),
        convolved("sparse", image, sparse_kernel(random(37, 3, 3, 5, seed=1), 0.8), stride=2),
        convolved("sparse", random(1, 6, 5, 18), sparse_kernel(random(21, 2, 3, 6, seed=1), 0.6), groups=3),
        of_integers("AMX-INT8", 37, 120, 70),
        of_integers("AVX512-VNNI", 9, 52, 48),
        of_integers("AVX2-INT8", 5, 30, 24),
        Case("window", lambda x: relax.op.mean(x, [1, 2]), (deep + 1,), (deep + 1).mean((1, 2))),
        Case("window", lambda x: relax.op.mean(x, [1, 2]), (tall,), tall.astype("float64").mean((1, 2))),
        Case("rows", relax.op.nn.softmax, (line,), softmax(line)),
        Case("rows", relax.op.nn.softmax, (line[:, :5],), softmax(line[:, :5])),
        Case("rows", lambda x: relax.op.sum(x, [1]), (line + 1,), (line + 1).astype("float64").sum(1)),
        grouped(deep[:, :, :, :36] + 3, 4),
        grouped(fat + 3, LANES),
        layered("lstm", 5, 4, 24, both=True),
        layered("lstm", 3, 1, 80),
        layered("gru", 4, 6, 37),
        layered("rnn", 4, 3, 5, both=True),
        Case("plain", lambda x: relax.op.multiply(x, x), (line,), line * line),
        Case("interpolation", lambda x: interpolated(x, 2, 2), (deep,), means(means(deep, 2), 1)),
        Case("interpolation", lambda x: interpolated(x, 1, 1), (image,), means(image, 1)),
        Case("plain", lambda x: relax.op.permute_dims(x, (1, 0)), (line,), line.T),
        Case("transposition", lambda x: relax.op.permute_dims(x, (0, 3, 1, 2)), (deep,), deep.transpose(0, 3, 1, 2)),
        Case("plain", lambda x: relax.op.repeat(x, 3, 1), (line[:, :70],), line[:, :70].repeat(3, 1)),
        Case("plain", lambda x: relax.op.argmax(x, 1), (line,), line.argmax(1)),
        Case("plain", lambda x: relax.op.nn.max_pool2d(x, (3, 1), layout="NCHW"), (image,), columns_of_three),
        convolved_integers("AVX512", (7, 10), 4 * LANES, 5 * LANES),
        convolved_integers("AVX2", (5, 4), 2 * LANES, 3 * LANES),
    ]
