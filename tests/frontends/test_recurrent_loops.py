"""Loops whose bodies are recurrent cells become recurrent layers, however they are written; others stay loops."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tilewright
from onnx import numpy_helper, parser
from onnx_runtime import reference_outputs
from tilewright import frontends
from tilewright.ir_passes.dialect.control_flow import LOOP
from tilewright.ir_passes.dialect.recurrent import NAME, layer_of

STEPS, BATCH, SIZE, HIDDEN = 6, 2, 3, 4

# Of each cell: gates in its own order, and the lines that make h2 (and c2) of x, h (and c).
GRU_AFTER = """
    gx0 = MatMul(x, W)  gx = Add(gx0, b)  xz, xr, xn = Split<axis=1>(gx, parts)
    gh0 = MatMul(h, R)  gh = Add(rb, gh0)
    hz = Slice(gh, at0, at1, one)  hr = Slice(gh, at1, at2, one)  hn = Slice(gh, at2, at3, one)
    sz = Add(hz, xz)  z = Sigmoid(sz)  sr = Add(xr, hr)  r = Sigmoid(sr)
    rh = Mul(r, hn)  sn = Add(xn, rh)  n = Tanh(sn)
    kept = Mul(z, h)  rest = Sub(unit, z)  new = Mul(rest, n)  h2 = Add(kept, new)"""
GRU_BEFORE = """
    gx = MatMul(x, W)  xz, xr, xn0 = Split<axis=1>(gx, parts)  xn = Add(xn0, bn)
    both = Concat<axis=1>(xz, xr)  gh = MatMul(h, R2)  s = Add(both, gh)  gates = Sigmoid(s)
    z, r = Split<axis=1>(gates, two)
    rh0 = Mul(h, r)  rh = MatMul(rh0, R1)  sn = Add(rh, xn)  n = Relu(sn)
    rest = Sub(unit, z)  new = Mul(n, rest)  kept = Mul(z, h)  h2 = Add(new, kept)"""
LSTM = """
    xh = Concat<axis=1>(x, h)  s0 = MatMul(xh, WR4)  s = Add(s0, b4)  i0, f0, g0, o0 = Split<axis=1>(s, quarters)
    i = Sigmoid(i0)  f = Sigmoid(f0)  g = Tanh(g0)  o = Sigmoid(o0)
    new = Mul(g, i)  kept = Mul(f, c)  c2 = Add(kept, new)  k = Tanh(c2)  h2 = Mul(o, k)"""
RNN = "s0 = Gemm(x, W1, b1)  s1 = MatMul(h, R1)  s = Add(s0, s1)  h2 = Tanh(s)"
CELLS = {"gru, reset after": GRU_AFTER, "gru, reset before": GRU_BEFORE, "lstm": LSTM, "rnn": RNN}

STATES = {"lstm": ("h", "c")}
TENSOR = f"float[{BATCH},{HIDDEN}]"


def values() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)

    def normal(*shape: int) -> np.ndarray:
        return (0.7 * rng.standard_normal(shape)).astype("float32")

    hidden = HIDDEN
    return {
        "W": normal(SIZE, 3 * hidden),
        "R": normal(hidden, 3 * hidden),
        "R2": normal(hidden, 2 * hidden),
        "R1": normal(hidden, hidden),
        "W1": normal(SIZE, hidden),
        "WR4": normal(SIZE + hidden, 4 * hidden),
        "b": normal(3 * hidden),
        "rb": normal(3 * hidden),
        "b4": normal(4 * hidden),
        "b1": normal(hidden),
        "bn": normal(hidden),
        "unit": np.asarray(1, "float32"),
        "parts": np.full(3, hidden, "int64"),
        "quarters": np.full(4, hidden, "int64"),
        "two": np.full(2, hidden, "int64"),
        **{f"at{place}": np.asarray([place * hidden], "int64") for place in range(4)},
        "one": np.asarray([1], "int64"),
        "step": np.asarray(1, "int32"),
        "end": np.asarray(STEPS, "int32"),
        "begin": np.asarray(0, "int32"),
        "M": np.asarray(STEPS, "int64"),
        "yes": np.asarray(True),
    }


def model(text: str) -> onnx.ModelProto:
    made = parser.parse_model(f'<ir_version: 9, opset_import: ["":17]>\n{text}')
    made.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values().items())
    return made


def loop(cell: str, states: tuple[str, ...], *, gather: str = "x = Gather<axis=0>(xs, t)") -> onnx.ModelProto:
    """As TensorFlow's exporter writes one: the time is a state, and decides whether there is a next turn."""
    given = ", ".join(f"{TENSOR} {state}" for state in states)
    made = ", ".join(f"{TENSOR} {state}2" for state in states)
    first = ", ".join(f"{state}0" for state in states)
    last = ", ".join(f"{state}n" for state in states)
    outputs = ", ".join(
        [f"float[{STEPS},{BATCH},{HIDDEN}] hs", *(f"{TENSOR} {state}n" for state in states), "int32 tn"]
    )
    inputs = ", ".join([f"float[{STEPS},{BATCH},{SIZE}] xs", *(f"{TENSOR} {state}0" for state in states)])
    return model(f"""g ({inputs}) => ({outputs}) {{
        tn, {last}, hs = Loop(M, yes, begin, {first})<
            body = b (int64 turn, bool go, int32 t, {given}) => (bool on, int32 t2, {made}, {TENSOR} out) {{
                {gather} {cell}
                t2 = Add(t, step)  on = Less(t2, end)  out = Identity(h2) }}>
    }}""")


def operators(made: onnx.ModelProto) -> list[str]:
    main = frontends.load(frontends.open(made)).module["main"]
    return [
        str(each.value.op.name) for block in main.body.blocks for each in block.bindings if hasattr(each.value, "op")
    ]


def agree(made: onnx.ModelProto) -> None:
    rng = np.random.default_rng(2)
    inputs = {
        each.name: rng.standard_normal([d.dim_value for d in each.type.tensor_type.shape.dim]).astype("float32")
        for each in made.graph.input
    }
    outputs = tilewright.compile(made, threads=1).run(inputs).values()
    for output, expected in zip(outputs, reference_outputs(made, inputs), strict=True):
        assert output.shape == expected.shape and output.dtype == expected.dtype
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_in_a_loop_is_a_layer(name: str) -> None:
    made = loop(CELLS[name], STATES.get(name, ("h",)))

    found = operators(made)

    assert found.count(NAME) == 1 and LOOP not in found
    agree(made)


def test_a_cell_in_a_scan_is_a_layer() -> None:
    outputs = f"{TENSOR} hn, float[{STEPS},{BATCH},{HIDDEN}] hs"
    made = model(f"""g (float[{STEPS},{BATCH},{SIZE}] xs, {TENSOR} h0) => ({outputs}) {{
        hn, hs = Scan(h0, xs)<num_scan_inputs=1,
            body = b ({TENSOR} h, float[{BATCH},{SIZE}] x) => ({TENSOR} h2, {TENSOR} out) {{
                {GRU_AFTER} out = Identity(h2) }}>
    }}""")

    assert operators(made).count(NAME) == 1
    agree(made)


def test_weights_that_go_from_turn_to_turn_stay_weights() -> None:
    """So TensorFlow has them."""
    made = model(f"""g (float[{STEPS},{BATCH},{SIZE}] xs, {TENSOR} h0) => ({TENSOR} hn, float[{HIDDEN},{HIDDEN}] rn) {{
        hn, rn = Loop(M, yes, h0, R1)<
            body = b (int64 t, bool go, {TENSOR} h, float[{HIDDEN},{HIDDEN}] r) => (
                bool on, {TENSOR} h2, float[{HIDDEN},{HIDDEN}] r2) {{
                on = Identity(go)  x = Gather<axis=0>(xs, t)  {RNN.replace("R1", "r")}  r2 = Identity(r) }}>
    }}""")

    assert operators(made).count(NAME) == 1
    agree(made)


def test_what_a_layer_says_of_its_cell() -> None:
    main = frontends.load(frontends.open(loop(GRU_BEFORE, ("h",)))).module["main"]
    (call,) = [
        each.value
        for block in main.body.blocks
        for each in block.bindings
        if hasattr(each.value, "op") and str(each.value.op.name) == NAME
    ]

    layer = layer_of(call)

    assert not layer.reset_after and [each.name for each in layer.activations[0]] == ["sigmoid", "relu"]


ALMOST = {
    "the state twice": RNN.replace("Gemm(x, W1, b1)", "Gemm(h, R1, b1)"),
    "another function for each gate": GRU_AFTER.replace("r = Sigmoid(sr)", "r = Tanh(sr)"),
    "mixed by another gate": GRU_AFTER.replace("rest = Sub(unit, z)", "rest = Sub(unit, r)"),
    "2 less the gate": GRU_AFTER.replace("unit", "b1"),
    "no states of an LSTM": LSTM.replace("h2 = Mul(o, k)", "h2 = Mul(o, c2)").replace("k = Tanh(c2)", ""),
}


@pytest.mark.parametrize("name", ALMOST)
def test_what_is_almost_a_cell_is_none(name: str) -> None:
    made = loop(ALMOST[name], ("h", "c") if "c2" in ALMOST[name] else ("h",))

    assert NAME not in operators(made)
    agree(made)


def test_elements_in_another_order_are_no_layer() -> None:
    made = loop(RNN, ("h",), gather="last = Sub(end, step)  at = Sub(last, t)  x = Gather<axis=0>(xs, at)")

    assert NAME not in operators(made)
    agree(made)


def test_a_loop_that_counts_to_a_bound_is_a_loop_of_the_library() -> None:
    """However long it is: its turns were unrolled, up to a number of nodes, and refused above it."""
    made = parser.parse_model("""<ir_version: 9, opset_import: ["":17]> g (float[3] x) => (float[3] y, float[N,3] ys) {
        begin = Constant<value = int32 {7}>()
        step = Constant<value = int32 {3}>()
        end = Constant<value = int32 {5000}>()
        yes = Constant<value = bool {1}>()
        tn, y, ys = Loop("", yes, begin, x)<
            body = b (int64 i, bool go, int32 t, float[3] s) => (bool on, int32 t2, float[3] s2, float[3] out) {
                t2 = Add(t, step)  on = Less(t2, end)  f = Cast<to=1>(t)  u = Div(s, f)  s2 = Cos(u)  out = Neg(s2) }>
    }""")

    assert operators(made).count(LOOP) == 1
    agree(made)
