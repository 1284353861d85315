"""Loops and branches in a library for a range of sizes, held to ONNX Runtime at every one that is tried."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from onnx import parser
from tilewright.errors import UnsupportedError

from ...support.ranged_calls import assert_right

Array = np.ndarray[Any, Any]
_RANGES = {"B": (1, 3), "S": (1, 9)}
_SIZES = ((1, 1), (3, 9), (2, 1), (1, 9), (3, 4), (2, 8))


def graph(text: str) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 9, opset_import: ["":17]>\n{text}')


def numbers(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# One branch sums over what varies; the other computes of sizes, in a branch of its own.
_BRANCHES = graph("""g (float[B,S,5] x, bool c, bool d) => (float[B,S,5] y, float[B,5] z) {
    one = Constant<value = int64[1] {1}>()
    first = Constant<value = int64[1] {0}>()
    s = Shape(x)
    n = Gather<axis=0>(s, one)
    y, z = If (c) <
        then_branch = t () => (float[B,S,5] p, float[B,5] q) {
            a = ReduceMean<axes=[1], keepdims=1>(x)
            p = Sub(x, a)
            q = ReduceMax<axes=[1], keepdims=0>(x)
        },
        else_branch = e () => (float[B,S,5] r, float[B,5] u) {
            zero = Constant<value = int64 {0}>()
            step = Constant<value = int64 {1}>()
            length = Squeeze(n, first)
            places = Range(zero, length, step)
            f = Cast<to=1>(places)
            column = Unsqueeze(f, one)
            r = Add(x, column)
            u = If (d) <
                then_branch = dt () => (float[B,5] v) { v = ReduceSum<keepdims=0>(r, one) },
                else_branch = de () => (float[B,5] w) {
                    last = Constant<value = int64 {-1}>()
                    w = Gather<axis=1>(x, last)
                }
            >
        }
    >
}""")


def test_branches() -> None:
    compiled = tilewright.compile(_BRANCHES, ranges=_RANGES, threads=1)
    for batch, length in _SIZES:
        for decides in ((True, True), (False, True), (False, False)):
            c, d = (np.asarray(each) for each in decides)
            assert_right(compiled, _BRANCHES, {"x": numbers(length, batch, length, 5), "c": c, "d": d})


# A recurrent layer by hand, over as many steps as there are, forwards or backwards, from zeros as large as the batch.
_STEPS = """g (float[S,B,4] x, float[4,6] u, float[6,6] w) => (float[S,B,6] ys, float[B,6] h) {{
    one = Constant<value = int64[1] {{1}}>()
    two = Constant<value = int64[1] {{2}}>()
    six = Constant<value = int64[1] {{6}}>()
    s = Shape(x)
    b = Slice(s, one, two)
    size = Concat<axis=0>(b, six)
    h0 = ConstantOfShape(size)
    h, ys = Scan <num_scan_inputs = 1, scan_input_directions = [{backwards}], scan_output_directions = [{backwards}],
        body = step (float[B,6] before, float[B,4] element) => (float[B,6] after, float[B,6] kept) {{
            m = MatMul(element, u)
            k = MatMul(before, w)
            a = Add(m, k)
            after = Tanh(a)
            kept = Identity(after)
        }}> (h0, x)
}}"""


@pytest.mark.parametrize("backwards", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_loop_over_as_many_steps_as_there_are(backwards: int) -> None:
    proto = graph(_STEPS.format(backwards=backwards))
    compiled = tilewright.compile(proto, ranges=_RANGES, best={"B": (2,)}, threads=1)
    for batch, length in _SIZES:
        inputs = {"x": numbers(length, length, batch, 4), "u": numbers(1, 4, 6) / 2, "w": numbers(2, 6, 6) / 2}
        assert_right(compiled, proto, inputs)


# So many turns as an input says, or fewer: a sum over what varies decides; what is handed on is as long as the input.
_TURNS = graph("""g (float[B,S,4] x, int64 most) => (float[B,S,4] y, float[4] total) {
    yes = Constant<value = bool {1}>()
    axes = Constant<value = int64[2] {0, 1}>()
    begin = Constant<value = float[4] {0., 0., 0., 0.}>()
    limit = Constant<value = float {6.}>()
    y, total = Loop (most, yes, x, begin) <
        body = turn (int64 i, bool on, float[B,S,4] before, float[4] sum)
                => (bool next, float[B,S,4] after, float[4] more) {
            square = Mul(before, before)
            now = ReduceSum<keepdims=0>(square, axes)
            more = Add(sum, now)
            after = Tanh(before)
            largest = ReduceMax<keepdims=0>(more)
            next = Less(largest, limit)
        }>
}""")


def test_a_loop_that_a_sum_of_what_is_there_ends() -> None:
    compiled = tilewright.compile(_TURNS, ranges=_RANGES, threads=1)
    for batch, length in _SIZES:
        for most in (0, 1, 7):
            inputs = {"x": numbers(length, batch, length, 4), "most": np.asarray(most, np.int64)}
            assert_right(compiled, _TURNS, inputs)


def test_places_that_data_says_count_from_where_an_axis_ends() -> None:
    proto = graph("g (float[B,S,4] x, int64[3] at) => (float[B,3,4] y) { y = Gather<axis=1>(x, at) }")
    compiled = tilewright.compile(proto, ranges=_RANGES, threads=1)
    for batch, length in _SIZES:
        places = np.array([-1, 0, -length], np.int64)
        assert_right(compiled, proto, {"x": numbers(length, batch, length, 4), "at": places})


def test_what_a_loop_hands_on_may_not_grow() -> None:
    proto = graph("""g (float[S,4] x, int64 most, bool c) => (float[A,4] y) {
        y = Loop (most, c, x) <body = turn (int64 i, bool on, float[A,4] before) => (bool next, float[A,4] after) {
            next = Identity(on)  after = Concat<axis=0>(before, before) }>
    }""")
    with pytest.raises(UnsupportedError, match="types"):
        tilewright.compile(proto, ranges={"S": (1, 9)}, threads=1)


def test_branches_of_different_sizes_are_refused() -> None:
    """As long as each other at the largest sizes alone, which the import for others finds."""
    proto = graph("""g (float[S,4] x, float[9,4] z, bool c) => (float[A,4] y) {
        y = If (c) <then_branch = t () => (float[A,4] p) { p = Relu(x) },
                    else_branch = e () => (float[A,4] q) { q = Relu(z) }>
    }""")
    with pytest.raises(UnsupportedError, match="different types"):
        tilewright.compile(proto, ranges={"S": (1, 9)}, threads=1)
