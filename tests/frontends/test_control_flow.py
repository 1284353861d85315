"""If, Loop and Scan against ONNX Runtime: decided at import, unrolled, and as branches and loops of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from onnx import parser
from onnx_runtime import reference_outputs
from tilewright import frontends
from tilewright.errors import ModelError, UnsupportedError
from tilewright.ir_passes.dialect.control_flow import BRANCH, LOOP

RNG = np.random.default_rng(0)
X, W = (RNG.standard_normal(shape).astype("float32") for shape in ((3, 4), (4, 4)))
NUMBERS = [np.asarray(number, np.int64) for number in (0, 1, 5)]
YES, NO = np.asarray(True), np.asarray(False)


def graph(text: str, opset: int = 17) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 9, opset_import: ["":{opset}]>\n{text}')


def operators(model: onnx.ModelProto) -> list[str]:
    """The Relax operators of the imported `main`."""
    main = frontends.load(frontends.open(model)).module["main"]
    calls = [binding.value for block in main.body.blocks for binding in block.bindings]
    return [str(call.op.name) for call in calls if hasattr(call, "op")]


def agree(model: onnx.ModelProto, *runs: dict[str, Any], **options: Any) -> tilewright.CompiledModel:
    compiled = tilewright.compile(model, **options)
    for inputs in runs:
        outputs = list(compiled.run(inputs).values())
        for output, expected in zip(outputs, reference_outputs(model, inputs), strict=True):
            assert output.shape == expected.shape and output.dtype == expected.dtype
            np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    return compiled


BRANCHES = """g (float[3,4] x, {inputs}) => (float[3,4] y, float[4] z) {{
    w = Constant<value = float[4] {{1.,2.,3.,4.}}>()
    {condition}
    a = Relu(x)
    y, z0 = If(c)<
        then_branch = t () => (float[3,4] p, float[4] q) {{ p = Mul(a, w)  q = Identity(w) }},
        else_branch = e () => (float[3,4] r, float[4] s) {{
            b = Add(a, x)  r = Sigmoid(b)  ax = Constant<value = int64[1] {{0}}>()  s = ReduceSum<keepdims=0>(b, ax) }}>
    z = Neg(z0)
}}"""


def test_a_branch_is_taken_when_the_library_runs() -> None:
    model = graph(BRANCHES.format(inputs="bool c", condition=""))
    assert operators(model).count(BRANCH) == 1
    agree(model, {"x": X, "c": YES}, {"x": X, "c": NO}, {"x": X, "c": YES})


@pytest.mark.parametrize("value", [0, 1])
def test_a_branch_that_is_known_is_in_place(value: int) -> None:
    model = graph(BRANCHES.format(inputs="float d", condition=f"c = Constant<value = bool {{{value}}}>()"))
    assert not {BRANCH, LOOP} & set(operators(model))
    agree(model, {"x": X, "d": np.zeros((), "float32")})


TURNS = """g (float[3,4] x, float[4,4] w{inputs}) => ({outputs}) {{
    ax = Constant<value = int64[1] {{0}}>()
    {count}
    {results} = Loop(M, "", x, x)<body = b (int64 i, bool go, float[3,4] s, float[3,4] t) => (bool on, {types}) {{
        on = Identity(go)
        m = MatMul(s, w)
        s2 = Tanh(m)
        t2 = Add(t, s2)
        fi = Cast<to=1>(i)
        r = ReduceSum<keepdims=0>(t2, ax)
        k = Add(r, fi)
    }}>
}}"""
_STATES = {"outputs": "float[3,4] a, float[3,4] b", "results": "a, b", "types": "float[3,4] s2, float[3,4] t2"}
_SLICES = {
    "outputs": f"{_STATES['outputs']}, float[N,4] d",
    "results": "a, b, d",
    "types": f"{_STATES['types']}, float[4] k",
}


def turns(count: int | None, **parts: str) -> onnx.ModelProto:
    given = {"count": "" if count is None else f"M = Constant<value = int64 {{{count}}}>()"}
    return graph(TURNS.format(**given, inputs=", int64 M" if count is None else "", **parts))


@pytest.mark.parametrize(("count", "loops"), [(0, 1), (3, 0), (101, 1)])
def test_turns_are_unrolled_where_they_are_few(count: int, loops: int) -> None:
    model = turns(count, **_SLICES)
    assert operators(model).count(LOOP) == loops or not count
    agree(model, {"x": X, "w": W}, {"x": -X, "w": W})


@pytest.mark.parametrize(
    "opset", [7, 11, *(pytest.param(opset, marks=pytest.mark.slow) for opset in (13, 16, 19, 21, 23, 24, 25))]
)
def test_every_form_of_a_loop(opset: int) -> None:
    body = "b (int64 i, bool go, float[3,4] s) => (bool on, float[3,4] s2, float[3,4] k)"
    turn = "{ on = Identity(go)  s2 = Tanh(s)  f = Cast<to=1>(i)  k = Add(s2, f) }"
    loops = f'y, ys = Loop(M, "", x)<body = {body} {turn}>'
    count = "M = Constant<value = int64 {200}>()"
    model = graph(f"g (float[3,4] x) => (float[3,4] y, float[N,3,4] ys) {{ {count} {loops} }}", opset)
    assert LOOP in operators(model)
    agree(model, {"x": X})


def test_every_body_goes_through_all_passes(tmp_path: Path) -> None:
    tilewright.compile(turns(101, **_SLICES), threads=1, save_ir=tmp_path)
    main, body = (sorted(each.name for each in folder.glob("*.txt")) for folder in (tmp_path, tmp_path / "body_0"))
    # What there is of memory is for all of them together: patches are made in `main`.
    assert [each for each in main if "patch_wise" not in each] == body and len(body) > 20


def test_bits_are_the_same_for_every_number_of_threads() -> None:
    model, inputs = turns(101, **_SLICES), {"x": X, "w": W}
    one, two = (agree(model, inputs, threads=threads).run(inputs) for threads in (1, 2))
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name])


def test_the_number_of_turns_may_be_an_input() -> None:
    agree(turns(None, **_STATES), *({"x": X, "w": W, "M": number} for number in NUMBERS))


def test_what_is_collected_for_an_unknown_number_of_turns_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="how many turns it has"):
        frontends.load(frontends.open(turns(None, **_SLICES)))


def test_a_loop_goes_on_while_a_condition_holds_and_states_change_places() -> None:
    model = graph("""g (float[3] x, bool c) => (float[3] y, float[3] z, int64 n) {
        one = Constant<value = int64 {1}>()
        zero = Constant<value = int64 {0}>()
        most = Constant<value = float {40.0}>()
        y, z, n = Loop("", c, x, x, zero)<
            body = b (int64 i, bool go, float[3] s, float[3] t, int64 k) => (
                bool on, float[3] s2, float[3] t2, int64 k2) {
                s2 = Identity(t)  t2 = Add(s, t)  m = ReduceMax<keepdims=0>(t2)  on = Less(m, most)  k2 = Add(k, one) }>
    }""")
    x = np.array([1, 0.5, 2], "float32")
    agree(model, {"x": x, "c": YES}, {"x": x, "c": NO}, {"x": 30 * x, "c": YES})


def test_loops_and_branches_inside_of_each_other_capture_what_is_outside() -> None:
    model = graph("""g (float[6,4] x, bool c) => (float[4] y, float[N,4] ys) {
        K = Constant<value = int64 {70}>()
        yes = Constant<value = bool {1}>()
        first = Constant<value = float[4] {0.,0.,0.,0.}>()
        half = Constant<value = float {0.97}>()
        sc = Sigmoid(x)
        y, ys = Loop(K, yes, first)<body = b (int64 i, bool go, float[4] s) => (bool on, float[4] s2, float[4] o) {
            on = Identity(go)
            six = Constant<value = int64 {6}>()
            j = Mod(i, six)
            row = Gather<axis=0>(sc, j)
            s1 = If(c)<
                then_branch = t () => (float[4] p) { p = Add(s, row) },
                else_branch = e () => (float[4] q) {
                    n = Constant<value = int64 {210}>()
                    q = Loop(n, go, s)<body = d (int64 ii, bool ci, float[4] u) => (bool co, float[4] u2) {
                        co = Identity(ci)  v = Mul(u, half)  u2 = Add(v, row) }> }>
            s2 = Mul(s1, half)
            o = Sub(s2, row)
        }>
    }""")
    x = RNG.standard_normal((6, 4)).astype("float32")
    agree(model, {"x": x, "c": YES}, {"x": x, "c": NO})


def test_sizes_that_change_from_turn_to_turn_are_unrolled() -> None:
    model = graph("""g (float[2] x) => (float[N] y) {
        M = Constant<value = int64 {150}>()
        yes = Constant<value = bool {1}>()
        y = Loop(M, yes, x)<body = b (int64 i, bool go, float[K] s) => (bool on, float[L] s2) {
            on = Identity(go)  s2 = Concat<axis=0>(s, x) }>
    }""")
    assert LOOP not in operators(model)


@pytest.mark.parametrize("length", [5, 300])
def test_a_scan_along_an_axis_in_either_direction(length: int) -> None:
    model = graph(f"""g (float[2,{length}] x) => (float[2] y, float[2,{length}] ys) {{
        first = Constant<value = float[2] {{0.5,0.25}}>()
        y, ys = Scan(first, x)<num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[-1],
            scan_input_directions=[1], scan_output_directions=[1],
            body = b (float[2] s, float[2] e) => (float[2] s2, float[2] o) {{
                m = Mul(s, e)  s2 = Tanh(m)  o = Add(s2, e) }}>
    }}""")
    assert operators(model).count(LOOP) == (length > 100)
    agree(model, {"x": RNG.standard_normal((2, length)).astype("float32")})


def test_a_loop_without_end_is_refused() -> None:
    body = "b (int64 i, bool go, float[3] s) => (bool on, float[3] s2) { on = Identity(go)  s2 = Tanh(s) }"
    model = graph(f'g (float[3] x) => (float[3] y) {{ y = Loop("", "", x)<body = {body}> }}')
    with pytest.raises(UnsupportedError, match="no last turn"):
        frontends.load(frontends.open(model))


@pytest.mark.slow
def test_loops_in_loops_that_multiply_are_refused_in_time() -> None:
    inner = "z0 = Tanh(s0)"
    for level in range(6):
        head = f"(int64 i{level}, bool go{level}, float[3] s{level}) => (bool on{level}, float[3] z{level})"
        body = f"b{level} {head} {{ on{level} = Identity(go{level})  {inner} }}"
        turns = f"M{level} = Constant<value = int64 {{40}}>()"
        inner = f'{turns} z{level + 1} = Loop(M{level}, "", s{level + 1})<body = {body}>'
    model = graph(f"g (float[3] s6) => (float[3] z6) {{ {inner} }}")
    with pytest.raises(UnsupportedError, match="nodes when loops are unrolled"):
        frontends.load(frontends.open(model))


def test_branches_of_different_types_are_refused() -> None:
    model = graph("""g (bool c) => (float[N] y) {
        y = If(c)<then_branch = t () => (float[2] p) { p = Constant<value = float[2] {1.,2.}>() },
                  else_branch = e () => (float[1] q) { q = Constant<value = float[1] {1.}>() }>
    }""")
    with pytest.raises(UnsupportedError, match=r"float32\[2\] and float32\[1\]"):
        frontends.load(frontends.open(model))


def test_a_branch_that_does_not_fit_is_named() -> None:
    model = graph("""g (float[3] x, bool c) => (float[3] y) {
        w = Constant<value = float[2] {1.,2.}>()
        y = If(c)<then_branch = t () => (float[3] p) { p = Add(x, w) },
                  else_branch = e () => (float[3] q) { q = Neg(x) }>
    }""")
    with pytest.raises(ModelError, match=r"'then_branch' of node(.|\n)*--bind"):
        frontends.load(frontends.open(model))


@pytest.mark.parametrize(
    ("given", "condition", "hint"),
    [
        ("int64 n", "k = Constant<value = int64 {16000}>()  c = Equal(n, k)", "--bind n=16000 for the 'then_branch'"),
        ("int64 n", "k = Constant<value = int64 {16000}>()  c = Equal(n, k)", "another value for the 'else_branch'"),
        ("float n", "k = Constant<value = float {0.5}>()  c = Less(n, k)", "--bind n=-0.5 for the 'then_branch'"),
        ("float n", "k = Constant<value = float {0.5}>()  c = Less(n, k)", "--bind n=0.5 for the 'else_branch'"),
        ("bool n", "c = Not(n)", "--bind n=false for the 'then_branch', --bind n=true for the 'else_branch'"),
        (
            "float[3] n",
            "m = ReduceMax<keepdims=0>(n)  z = Constant<value = float {0.0}>()  c = Less(m, z)",
            "fix the input",
        ),
    ],
)
def test_what_decides_on_a_branch_is_named_with_values(given: str, condition: str, hint: str) -> None:
    model = graph(f"""g (float[3] x, {given}) => (float[3] y) {{
        w = Constant<value = float[2] {{1.,2.}}>()
        {condition}
        y = If(c)<then_branch = t () => (float[3] p) {{ p = Neg(x) }},
                  else_branch = e () => (float[3] q) {{ q = Add(x, w) }}>
    }}""")
    with pytest.raises(ModelError) as refused:
        frontends.load(frontends.open(model))
    assert hint in str(refused.value)


def test_what_bodies_lack_is_listed_with_the_rest() -> None:
    body = "b (int64 i, bool go, float[3] s) => (bool on, float[3] s2) { on = Identity(go)  s2 = mine.Thing(s) }"
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["":17, "mine":1]>
    g (float[3] x, bool c, int64 M) => (float[3] y, float[3] z) {{
        y = If(c)<then_branch = t () => (float[3] p) {{ p = mine.Thing(x) }},
                  else_branch = e () => (float[3] q) {{ q = Neg(x) }}>
        z = Loop(M, "", x)<body = {body}>
    }}""")
    with pytest.raises(UnsupportedError) as refused:
        frontends.load(frontends.open(model))
    assert str(refused.value).count("mine.Thing") == 2
