"""States of libraries: caches that grow in place, and what recurrent networks leave; held to ONNX Runtime."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import tilewright
from tilewright.benchmarks.decoders import Decoder, decoder
from tilewright.compiler.library.dimensions import c_arguments
from tilewright.errors import ModelError, TensorError, UnsupportedError, UsageError

from ...support.decoder_reference import TOLERANCE, Array, answers, close, engine
from ...support.small_models import model, node

_OF = Decoder(layers=1, width=24, heads=4, groups=2, room=24, padding=True)
_MOST = 16
_RANGES = {"past": (0, _MOST), "seq": (1, 6)}
_OTHER_ORDERS = (("past", "seq", "batch"), ("past", "batch", "seq"), ("seq", "past", "batch"), ("seq", "batch", "past"))


def inputs_of(of: Decoder, tokens: Array, past: int) -> dict[str, Array]:
    """What a decoder takes besides its cache; the first key is hidden where something can be."""
    inputs = {"input_ids": tokens}
    if of.positions == "input":
        inputs["position_ids"] = np.arange(past, past + tokens.shape[1])[None]
    if of.padding:
        inputs["attention_mask"] = np.ones((1, past + tokens.shape[1]), np.int64)
        inputs["attention_mask"][:, 1] = 0 if inputs["attention_mask"].shape[1] > 1 else 1
    return inputs


def caches_of(of: Decoder, results: Mapping[str, Array]) -> dict[str, Array]:
    """What a call left, as the inputs of the next."""
    return {name: results[name.replace("past_key_values", "present")] for name in of.past(0)}


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tilewright.CompiledModel]:
    place = tmp_path_factory.mktemp("states") / "decoder.so"
    onnx.save(decoder(_OF), place.with_suffix(".onnx"))
    yield tilewright.compile(place.with_suffix(".onnx"), ranges=_RANGES, output=place, threads=2)


def follow(compiled: tilewright.CompiledModel, of: Decoder, calls: tuple[int, ...]) -> None:
    """A session, single calls, and ONNX Runtime with its cache and without one, on one text."""
    with_cache, without = engine(decoder(of)), engine(decoder(of, cached=False))
    session = compiled.session()
    text = np.random.default_rng(0).integers(0, of.vocabulary, (1, sum(calls)))
    before, past = of.past(0), 0
    for count in calls:
        inputs = inputs_of(of, text[:, past : past + count], past)
        theirs = answers(with_cache, {**inputs, **before})
        ours = session.run(inputs)
        alone = compiled.run({**inputs, **before})
        whole = inputs_of(of, text[:, : past + count], 0)
        again = answers(without, whole)["logits"][:, past:]
        past += count
        assert session.held == {"past": past}
        assert set(ours) == {"logits"} and set(alone) == set(theirs)
        assert close(ours["logits"], theirs["logits"]) and close(ours["logits"], again)
        assert all(close(alone[name], theirs[name]) for name in theirs)
        before = caches_of(of, theirs)
        assert all(close(session.states[name], cache) for name, cache in before.items())


def test_calls_with_a_cache_are_those_of_the_whole_text(cached: tilewright.CompiledModel) -> None:
    follow(cached, _OF, (5, 1, 1, 2, 1, 6, 1))


@pytest.mark.parametrize(
    "order",
    [("batch", "seq", "past"), *(pytest.param(each, marks=pytest.mark.slow) for each in _OTHER_ORDERS)],
)
def test_caches_of_several_texts_with_ranges_in_any_order(order: tuple[str, ...]) -> None:
    proto = decoder(_OF)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    ranges = {**_RANGES, "batch": (1, 3)}
    compiled = tilewright.compile(proto, ranges={name: ranges[name] for name in order}, threads=1)
    assert [each.name for each in compiled.signature.dimensions] == list(order)
    generator, reference = np.random.default_rng(0), engine(proto)
    for batch, past, new in ((1, 0, 1), (3, 0, 6), (3, _MOST, 1), (2, 5, 3), (3, _MOST, 6), (1, _MOST, 1)):
        given = {"input_ids": generator.integers(0, _OF.vocabulary, (batch, new))}
        given["attention_mask"] = np.ones((batch, past + new), np.int64)
        for name, cache in _OF.past(past).items():
            shape = (batch, *cache.shape[1:])
            given[name] = generator.standard_normal(shape).astype(np.float32)
        theirs, ours = answers(reference, given), compiled.run(given)
        assert all(close(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "of",
    [
        Decoder(layers=2, positions="sum", mask="slice"),
        Decoder(layers=1, positions="input", mask="range", groups=4, padding=True),
        Decoder(layers=1, width=40, heads=5, positions="sum", mask="range"),
    ],
)
def test_positions_and_masks_of_other_exporters(of: Decoder) -> None:
    ranges = {"past": (0, 40), "seq": (1, 9)}
    follow(tilewright.compile(decoder(of), ranges=ranges, threads=1), of, (9, 1, 1, 2, 8, 1))


@pytest.mark.slow
def test_a_prompt_and_many_tokens() -> None:
    of = Decoder(layers=3, width=64, heads=4, room=320)
    ranges = {"past": (0, 192), "seq": (1, 128)}
    follow(tilewright.compile(decoder(of), ranges=ranges, threads=2), of, (128, *(1,) * 64))


def memory_of(compiled: tilewright.CompiledModel, past: int, generator: np.random.Generator) -> dict[str, Array]:
    """Buffers of the header's sizes for all inputs: caches full of NaN behind what they hold."""
    memory = {}
    for spec in compiled.signature.inputs:
        memory[spec.name] = np.full(spec.shape, np.nan, np.float32)
        if spec.dtype == "int64":
            memory[spec.name] = np.ones(spec.shape, np.int64)
        else:
            held = memory[spec.name][:, :, :past]
            held[...] = generator.standard_normal(held.shape)
    return memory


def call(
    compiled: tilewright.CompiledModel, memory: Mapping[str, Array], sizes: Mapping[str, int]
) -> tuple[int, Array]:
    (logits,) = compiled.signature.outputs
    result = np.full(logits.shape, 7, np.float32)
    workspace = np.full(compiled.workspace_bytes + 64, 0xFF, np.uint8)
    pointers = [memory[spec.name].ctypes.data for spec in compiled.signature.inputs]
    status = compiled.c_function(
        (ctypes.c_void_p * len(pointers))(*pointers),
        (ctypes.c_void_p * 1)(result.ctypes.data),
        ctypes.c_void_p(-(-workspace.ctypes.data // 64) * 64),
        *c_arguments(compiled.signature, sizes),
    )
    return status, result


@pytest.mark.parametrize(("past", "new"), [(0, 1), (0, 6), (7, 1), (7, 4), (_MOST, 6)])
def test_only_new_rows_are_written(cached: tilewright.CompiledModel, past: int, new: int) -> None:
    memory = memory_of(cached, past, np.random.default_rng(past))
    before = {name: each.copy() for name, each in memory.items()}
    status, logits = call(cached, memory, {"past": past, "seq": new})
    given = logits.reshape(-1)[: new * _OF.vocabulary]
    assert status == 0 and np.isfinite(given).all() and (logits.reshape(-1)[given.size :] == 7).all()
    for name in _OF.past(0):
        assert np.array_equal(memory[name][:, :, :past], before[name][:, :, :past])
        assert np.isfinite(memory[name][:, :, past : past + new]).all()
        assert np.isnan(memory[name][:, :, past + new :]).all()


@pytest.mark.parametrize("sizes", [{"past": _MOST + 1, "seq": 1}, {"past": -1, "seq": 1}, {"past": 0, "seq": 7}])
def test_what_has_no_room_is_an_error_and_nothing_is_written(
    cached: tilewright.CompiledModel, sizes: dict[str, int]
) -> None:
    memory = memory_of(cached, 0, np.random.default_rng(0))
    status, logits = call(cached, memory, sizes)
    assert status == 5 and (logits == 7).all()
    assert all(np.isnan(memory[name]).all() for name in _OF.past(0))


def test_one_token_has_kernels_of_its_own(cached: tilewright.CompiledModel) -> None:
    symbols = [kernel.symbol for kernel in cached.signature.kernels]
    assert any("best0" in each and "cached_attention" in each for each in symbols)
    assert any("best0" not in each and "cached_attention" in each for each in symbols)
    alone = onnx.load(cached.path.with_suffix(".onnx")).graph.initializer
    assert cached.signature.weights_bytes < 1.6 * sum(len(each.raw_data) for each in alone)  # those of both are one
    assert not any("concat" in each or "joined" in each for each in symbols)


def test_the_header_and_the_signature_say_what_states_are(cached: tilewright.CompiledModel) -> None:
    header = cached.path.with_suffix(".h").read_text()
    assert "float[1][2][22][6], 1056 bytes" in header
    assert "a state: [1][2][past][6] of it are read, and [1][2][past + seq][6] are there after the call" in header
    assert "States are inputs that a call changes" in header
    assert [str(each) for each in cached.inputs if "0.key" in each.name] == [
        "past_key_values.0.key: float32[1x2xpastx6]"
    ]
    assert "present.0.value: float32[1x2xpast + seqx6]" in map(str, cached.outputs)


def test_a_session_is_full_and_goes_back(cached: tilewright.CompiledModel) -> None:
    session = cached.session()
    text = np.random.default_rng(1).integers(0, _OF.vocabulary, (1, 30))
    first = session.run(inputs_of(_OF, text[:, :3], 0))["logits"]
    for past in (3, 9, 15):
        session.run(inputs_of(_OF, text[:, past : past + 6], past))
    with pytest.raises(TensorError, match="the states hold past=21, and the library takes at most 16"):
        session.run(inputs_of(_OF, text[:, 21:22], 21))
    session.rewind(past=9)
    again = session.run(inputs_of(_OF, text[:, 9:15], 9))["logits"]
    session.reset()
    assert session.held == {"past": 0}
    assert np.array_equal(session.run(inputs_of(_OF, text[:, :3], 0))["logits"], first)
    session.run(inputs_of(_OF, text[:, 3:9], 3))
    assert np.array_equal(session.run(inputs_of(_OF, text[:, 9:15], 9))["logits"], again)
    for nowhere in (16, 2.5):
        with pytest.raises(UsageError, match="nothing to go back to"):
            session.rewind(past=nowhere)


def _recurrent() -> onnx.ModelProto:
    """Two states that change places, of which one is an output as it was, and the other as it becomes."""
    generator = np.random.default_rng(2)
    weights = {name: generator.standard_normal((8, 8)).astype(np.float32) / 3 for name in ("w", "u")}
    nodes = [
        node("MatMul", ["h", "w"], "a", "state product"),
        node("MatMul", ["x", "u"], "b", "input product"),
        node("Add", ["a", "b"], "c", "sum"),
        node("Tanh", ["c"], "g_next", "tanh"),
        node("Identity", ["g"], "h_next", "moved"),
        node("Identity", ["h"], "old", "as it was"),
        node("Add", ["g_next", "h_next"], "y", "both"),
    ]
    shape = ("float32", (2, 8))
    return model(nodes, dict.fromkeys("xhg", shape), dict.fromkeys(("y", "old", "g_next", "h_next"), shape), weights)


def test_states_of_fixed_size() -> None:
    proto = _recurrent()
    compiled = tilewright.compile(proto, states={"h": "h_next", "g": "g_next"}, threads=1)
    assert [spec.name for spec in compiled.signature.outputs] == ["y", "old"]
    session, reference = compiled.session(), engine(proto)
    held = {name: np.zeros((2, 8), np.float32) for name in "hg"}
    for number in range(5):
        x = np.random.default_rng(number).standard_normal((2, 8)).astype(np.float32)
        theirs, ours = answers(reference, {"x": x, **held}), session.run({"x": x})
        held = {name: theirs[f"{name}_next"] for name in "hg"}
        assert all(close(ours[name], theirs[name]) for name in ("y",))
        assert np.abs(ours["old"] - theirs["old"]).max() <= TOLERANCE
        assert all(np.abs(session.states[name] - held[name]).max() <= TOLERANCE for name in "hg")


def test_caches_may_be_plain_inputs_and_outputs() -> None:
    nodes = [
        node("Concat", ["old", "new", "last"], "all", "joined", axis=1),
        node("ReduceSum", ["all", "axis"], "sum", "sum", keepdims=0),
    ]
    sizes = {"old": "P", "new": "S", "last": 2}
    inputs = {name: ("float32", (2, size, 5)) for name, size in sizes.items()}
    outputs = {"all": ("float32", (2, "all", 5)), "sum": ("float32", (2, 5))}
    proto = model(nodes, inputs, outputs, {"axis": np.array([1])})
    compiled = tilewright.compile(proto, ranges={"P": (1, 9), "S": (1, 4)}, threads=1)
    for past, new in ((1, 1), (9, 4), (3, 4), (9, 1), (5, 2)):
        generator = np.random.default_rng(past)
        values = {"old": past, "new": new, "last": 2}
        given = {name: generator.standard_normal((2, n, 5)).astype(np.float32) for name, n in values.items()}
        theirs, ours = answers(engine(proto), given), compiled.run(given)
        assert all(close(ours[name], theirs[name]) for name in theirs)


def _joins(*, again: bool, axis: int = 1) -> onnx.ModelProto:
    nodes = [node("Concat", ["past", "x"], "present", "joined", axis=axis)]
    outputs = {"present": ("float32", (1, "n", "m"))}
    if again:
        nodes.append(node("Relu", ["past"], "z", "reads it again"))
        outputs["z"] = ("float32", (1, "P", 8))
    return model(nodes, {"past": ("float32", (1, "P", 8)), "x": ("float32", (1, "S", 8))}, outputs)


@pytest.mark.parametrize(
    ("states", "error", "says"),
    [
        ({"past": "z"}, UnsupportedError, "neither the input with more behind it, nor of the same size"),
        ({"past": "present"}, UnsupportedError, "other operators read the input, too"),
        ({"past": "nothing"}, UsageError, "no output 'nothing'"),
        ({"p.*": "present.*"}, UsageError, r"no input 'p\.\*'"),
    ],
)
def test_what_is_no_state(states: dict[str, str], error: type[Exception], says: str) -> None:
    proto = _joins(again=True)
    if "z" in states.values():
        proto.graph.node[1].op_type = "Identity"
        proto.graph.node[1].input[0] = "x"
    with pytest.raises(error, match=says):
        tilewright.compile(proto, ranges={"P": (1, 8), "S": (1, 4)}, states=states, threads=1)


def test_more_positions_than_a_model_has_are_refused() -> None:
    with pytest.raises(ModelError, match="position 25 lies outside axis 0 of 24 elements"):
        tilewright.compile(decoder(_OF), ranges={"past": (0, 20), "seq": (1, 6)}, threads=1)


def test_a_library_without_states_has_no_sessions(tmp_path: Path) -> None:
    proto = model([node("Relu", ["x"], "y", "relu")], {"x": ("float32", (4,))}, {"y": ("float32", (4,))})
    with pytest.raises(UsageError, match="has no states"):
        tilewright.compile(proto, threads=1).session()
