"""Models that are others at the ends of a range: of one element, of none, or of two where two are the most."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tilewright
from onnx import parser
from tilewright.errors import UnsupportedError

from ...support.ranged_calls import assert_right


def _graph(text: str) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 9, opset_import: ["":17]>\n{text}')


def test_what_is_counted_up_to_two() -> None:
    """A range that ends at 2 has no other size that imports could be compared for, and counts are no constants."""
    proto = _graph("""g (float[N,4] x) => (float[N,4] y) {
        zero = Constant<value = int64 {0}>()  step = Constant<value = int64 {1}>()
        axis = Constant<value = int64[1] {0}>()
        s = Shape<start=0,end=1>(x)  n = Squeeze(s, axis)
        r = Range(zero, n, step)  f = Cast<to=1>(r)
        t = ReduceSum<keepdims=0>(f, axis)  y = Add(x, t)
    }""")
    compiled = tilewright.compile(proto, ranges={"N": (1, 2)}, threads=1)
    for images in (1, 2):
        x = np.random.default_rng(images).standard_normal((images, 4)).astype(np.float32)
        assert_right(compiled, proto, {"x": x})


_DECIDES = _graph("""g (float[N,4] x) => (float[N,4] y) {
    one = Constant<value = int64[1] {1}>()  s = Shape<start=0,end=1>(x)  c = Equal(s, one)
    y = If (c) <then_branch = t () => (float[A,4] p) { p = Relu(x) },
                else_branch = e () => (float[A,4] q) { q = Neg(x) }>
}""")


def test_what_one_element_decides_otherwise_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="for N=1 it takes its then_branch") as caught:
        tilewright.compile(_DECIDES, ranges={"N": (1, 5)}, threads=1)
    assert "If" in str(caught.value.where) and "later" in str(caught.value.hint)


def test_a_range_that_begins_later_has_one_branch() -> None:
    compiled = tilewright.compile(_DECIDES, ranges={"N": (2, 5)}, threads=1)
    for images in (2, 5):
        assert_right(compiled, _DECIDES, {"x": np.full((images, 4), 1.5, np.float32)})


def test_an_axis_that_goes_where_it_is_one_is_refused() -> None:
    proto = _graph("g (float[N,1,4] x) => (float[N,4] y) { z = Relu(x)  y = Squeeze(z) }")
    with pytest.raises(UnsupportedError, match="for N=1 it has 1 axes, and 2 for larger ones"):
        tilewright.compile(proto, ranges={"N": (1, 5)}, threads=1)
