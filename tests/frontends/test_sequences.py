"""Sequences and optionals inside of a model: nothing of them is left when it is imported."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser
from test_control_flow import agree, graph
from tilewright import frontends
from tilewright.errors import ModelError, UnsupportedError

X = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")


@pytest.mark.parametrize("opset", [11, pytest.param(24, marks=pytest.mark.slow)])
def test_what_is_split_and_put_together_again(opset: int) -> None:
    model = graph(
        """g (float[5,4] x) => (float[5,4] y, float[3,2,4] z, int64 n, float[4] last) {
        two = Constant<value = int64 {2}>()
        at = Constant<value = int64 {-1}>()
        first = Constant<value = int64 {0}>()
        parts = SplitToSequence<axis=0>(x, two)
        more = SequenceInsert(parts, x, first)
        less = SequenceErase(more, first)
        y = ConcatFromSequence<axis=0>(less)
        some = SequenceErase(less)
        a = SequenceAt(some, first)
        b = SequenceAt(some, at)
        three = SequenceConstruct(a, b, a)
        z = ConcatFromSequence<axis=0, new_axis=1>(three)
        n = SequenceLength(more)
        rows = SplitToSequence<axis=0, keepdims=0>(x)
        last = SequenceAt(rows, at)
    }""",
        opset,
    )
    agree(model, {"x": X})


def test_a_loop_collects_a_sequence() -> None:
    model = graph("""g (float[5,4] x) => (float[N,4] y) {
        M = Constant<value = int64 {3}>()
        yes = Constant<value = bool {1}>()
        none = SequenceEmpty<dtype=1>()
        all = Loop(M, yes, none)<body = b (int64 i, bool go, seq(float[5,4]) s) => (bool on, seq(float[5,4]) s2) {
            on = Identity(go)  f = Cast<to=1>(i)  v = Mul(x, f)  s2 = SequenceInsert(s, v) }>
        y = ConcatFromSequence<axis=0>(all)
    }""")
    agree(model, {"x": X})


def test_a_graph_for_every_element_and_what_may_be_nothing() -> None:
    model = graph("""g (float[5,4] x) => (float[5,4] y, bool yes, float[5,4] z) {
        rows = SplitToSequence<axis=0>(x)
        both = SequenceMap(rows, x)<body = b (float[1,4] row, float[5,4] all) => (float[1,4] o) {
            m = ReduceMax<axes=[0], keepdims=1>(all)  o = Add(row, m) }>
        y = ConcatFromSequence<axis=0>(both)
        some = Optional(x)
        yes = OptionalHasElement(some)
        z = OptionalGetElement(some)
    }""")
    agree(model, {"x": X})


def test_what_cannot_be_is_refused() -> None:
    head = '<ir_version: 9, opset_import: ["":17]>\n'
    outside = "at = Constant<value = int64 {7}>() s = SequenceConstruct(x, x) y = SequenceAt(s, at)"
    with pytest.raises(ModelError, match="position 7 is outside"):
        frontends.load(frontends.open(parser.parse_model(f"{head}g (float[2] x) => (float[2] y) {{ {outside} }}")))
    with pytest.raises(UnsupportedError, match="only tensors can be outputs"):
        sequence = "y = SequenceConstruct(x, x)"
        frontends.load(
            frontends.open(parser.parse_model(f"{head}g (float[2] x) => (seq(float[2]) y) {{ {sequence} }}"))
        )
    with pytest.raises(ModelError, match="is a sequence or an optional"):
        added = "s = SequenceConstruct(x, x) y = Concat<axis=0>(s, x)"
        frontends.load(frontends.open(parser.parse_model(f"{head}g (float[2] x) => (float[2] y) {{ {added} }}")))
