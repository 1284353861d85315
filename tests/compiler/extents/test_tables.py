"""Constants and repetitions that are as long as a batch, through operators that go over other axes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tilewright
from onnx import numpy_helper, parser
from tilewright.errors import UnsupportedError

from ...support import ranged_models as ranged
from ...support.ranged_calls import assert_right

_HEAD = '<ir_version: 9, opset_import: ["":18]>\n'
_BATCH = """
    s = Shape<start=0,end=1>(x)
    rest = Constant<value = int64[2] {1, 1}>()
    sizes = Concat<axis=0>(s, rest)
"""


def _model(text: str) -> onnx.ModelProto:
    proto = parser.parse_model(_HEAD + text)
    weights = np.random.default_rng(3)
    for name, shape in {"probe": (1, 2, 6), "w": (6, 6)}.items():
        proto.graph.initializer.append(numpy_helper.from_array(weights.standard_normal(shape).astype(np.float32), name))
    return proto


_PROBE = _model(
    """g (float[B,7,6] x) => (float[B,2,6] y) {"""
    + _BATCH
    + """
    q = Expand(probe, sizes)  half = MatMul(q, w)  t = Transpose<perm=[0,2,1]>(x)
    scores = MatMul(half, t)  shares = Softmax<axis=-1>(scores)  mixed = MatMul(shares, x)
    alone = Softmax<axis=-1>(half)  z = Add(mixed, alone)  y = Add(z, q)
}"""
)
_SUMS = _model(
    """g (float[B,7,6] x) => (float[B,7,6] y) {"""
    + _BATCH
    + """
    q = Expand(probe, sizes)
    flat = Constant<value = int64[2] {-1, 12}>()  back = Constant<value = int64[3] {-1, 2, 6}>()
    f = Reshape(q, flat)  r = Relu(f)  b = Reshape(r, back)  axis = Constant<value = int64[1] {1}>()
    t = ReduceSum<keepdims=1>(b, axis)  y = Mul(x, t)
}"""
)
_LARGEST = _model(
    """g (float[B,7,6] x) => (float[B,6] y, int64[B,6] at) {
    at = ArgMax<axis=1,keepdims=0>(x)  first = ArgMax<axis=2,keepdims=0>(x)
    s = Shape<start=0,end=1>(x)  n = Squeeze(s)
    zero = Constant<value = int64 {0}>()  step = Constant<value = int64 {1}>()
    last = Constant<value = int64[1] {-1}>()  begin = Constant<value = int64[1] {0}>()
    one = Constant<value = int64[1] {1}>()
    texts = Range(zero, n, step)  t = Unsqueeze(texts, last)  a = Slice(first, begin, one, one)
    places = Concat<axis=-1>(t, a)  y = GatherND(x, places)
}"""
)
_FLAT = _model(
    """g (float[B,7,6] x) => (float[B,6,7] y) {
    s = Shape<start=0,end=1>(x)  n = Squeeze(s)
    zero = Constant<value = int64 {0}>()  step = Constant<value = int64 {1}>()
    i = Range(zero, n, step)  width = Constant<value = int64 {42}>()  outer = Constant<value = int64[2] {1, 2}>()
    t = Mul(i, width)  u = Unsqueeze(t, outer)
    inner = Constant<value = int64[1,6,1] {0, 7, 14, 21, 28, 35}>()
    least = Constant<value = int64[1,1,7] {0, 1, 2, 3, 4, 5, 6}>()
    v = Add(u, inner)  places = Add(v, least)
    all = Constant<value = int64[1] {-1}>()  f = Reshape(x, all)  y = Gather(f, places)
}"""
)

_BACKWARDS = _model(
    """g (float[B,7,6] x) => (float[B,7,6] y) {
    s = Shape<start=0,end=1>(x)  t = Shape<start=1,end=2>(x)
    lengths = Expand(t, s)  y = ReverseSequence<batch_axis=0,time_axis=1>(x, lengths)
}"""
)


@pytest.mark.parametrize(
    "proto", [_PROBE, _SUMS, _LARGEST, _FLAT, _BACKWARDS], ids=["probe", "sums", "largest", "flat", "backwards"]
)
def test_batches(proto: onnx.ModelProto) -> None:
    compiled = tilewright.compile(proto, ranges={"B": (1, 5)}, threads=1)
    for texts in (1, 2, 4, 5):
        assert_right(compiled, proto, ranged.images(proto, texts, B=texts))


@pytest.mark.parametrize(
    "nodes",
    [
        "axis = Constant<value = int64[1] {0}>()  t = ReduceSum<keepdims=1>(q, axis)",
        "t = Softmax<axis=0>(q)",
        "order = Constant<value = int64[1] {-1}>()  t = Reshape(q, order)",
    ],
    ids=["sum", "softmax", "all in one axis"],
)
def test_along_the_batch_they_are_refused_or_right(nodes: str) -> None:
    proto = _model(
        """g (float[B,7,6] x) => (float[A,C,D] y) {"""
        + _BATCH
        + f"""
        q = Expand(probe, sizes)  {nodes}
        axes = Constant<value = int64[1] {{0}}>()  m = ReduceMean<keepdims=0>(t)  y = Mul(x, m)
    }}"""
    )
    try:
        compiled = tilewright.compile(proto, ranges={"B": (1, 5)}, threads=1)
    except UnsupportedError as error:
        assert "size" in error.what
        return
    for texts in (1, 3, 5):
        assert_right(compiled, proto, ranged.images(proto, texts, B=texts))
