"""Attention operators with a cache, of each domain: caches that grow in place, held to ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tilewright

from ...support.decoder_reference import Array, answers, close, engine
from ...support.small_models import node


def _projected(operator: str, domain: str, heads: int, kv: int, extra: list[str], **attributes: Any) -> onnx.ModelProto:
    """An attention operator with a cache, of products of an input."""
    generator = np.random.default_rng(0)
    widths = {"q": heads, "k": kv, "v": kv}
    angles = np.arange(64)[:, None] * 0.1 / np.arange(1, 9)
    weights: dict[str, Array] = {"cos": np.cos(angles), "sin": np.sin(angles)}
    weights |= {f"w{name}": generator.standard_normal((24, 16 * count)) / 5 for name, count in widths.items()}
    weights = {name: each.astype(np.float32) for name, each in weights.items()}
    weights |= {"axis": np.array(1), "axes": np.array([1]), "one": np.array(1, np.int32)}
    nodes = [node("MatMul", ["x", f"w{name}"], name, f"{name} product") for name in widths]
    nodes += [
        node("Shape", ["mask"], "shape", "shape"),
        node("Gather", ["shape", "axis"], "length", "length"),
        node("Cast", ["length"], "total", "total", to=onnx.TensorProto.INT32),
        node("ReduceSum", ["mask", "axes"], "sums", "sums", keepdims=0),
        node("Cast", ["sums"], "counts", "counts", to=onnx.TensorProto.INT32),
        node("Sub", ["counts", "one"], "last", "last"),
    ]
    results = ["y", "present_key", "present_value"]
    nodes.append(
        onnx.helper.make_node(operator, ["q", "k", "v", *extra], results, "attention", domain=domain, **attributes)
    )
    cache = (1, kv, "past", 16)
    inputs = {"x": (1, "seq", 24), "mask": (1, "past + seq"), "past_key": cache, "past_value": cache}
    outputs = {"y": (1, "seq", 16 * heads), **dict.fromkeys(results[1:], (1, kv, "past + seq", 16))}
    graph = onnx.helper.make_graph(
        nodes,
        "attention",
        [
            onnx.helper.make_tensor_value_info(name, 7 if name == "mask" else 1, shape)
            for name, shape in inputs.items()
            if name != "mask" or "total" in extra
        ],
        [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in outputs.items()],
        [onnx.numpy_helper.from_array(each, name) for name, each in weights.items()],
    )
    if "total" not in extra:
        del graph.node[3:9]
    opsets = [onnx.helper.make_opsetid("", 24), onnx.helper.make_opsetid("com.microsoft", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=11)


_PAST = ["past_key", "past_value"]
_GROUPED = [*_PAST, "last", "total", "cos", "sin"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "proto",
    [
        _projected("GroupQueryAttention", "com.microsoft", 4, 2, _GROUPED, num_heads=4, kv_num_heads=2, do_rotary=1),
        _projected(
            "GroupQueryAttention", "com.microsoft", 4, 2, _GROUPED, num_heads=4, kv_num_heads=2, local_window_size=3
        ),
        _projected("MultiHeadAttention", "com.microsoft", 4, 4, ["", "", "", *_PAST], num_heads=4, unidirectional=1),
        _projected("Attention", "", 4, 2, ["", *_PAST], q_num_heads=4, kv_num_heads=2, is_causal=1),
    ],
    ids=["rotated", "window", "microsoft", "onnx"],
)
def test_attention_operators_continue_caches(proto: onnx.ModelProto) -> None:
    compiled = tilewright.compile(proto, ranges={"past": (1, 20), "seq": (1, 5)}, threads=1)
    assert len(compiled.signature.states) == 2
    assert all("attention" not in each.symbol or "cached" in each.symbol for each in compiled.signature.kernels)
    assert any("cached_attention" in each.symbol for each in compiled.signature.kernels)
    reference, generator, past = engine(proto), np.random.default_rng(1), 1
    heads = proto.graph.output[1].type.tensor_type.shape.dim[1].dim_value
    caches = {name: generator.standard_normal((1, heads, 1, 16)).astype(np.float32) for name in _PAST}
    for new in (1, 1, 3, 5, 1):
        inputs = {"x": generator.standard_normal((1, new, 24)).astype(np.float32), **caches}
        if len(proto.graph.input) == 4:
            inputs["mask"] = np.ones((1, past + new), np.int64)
        theirs, ours = answers(reference, inputs), compiled.run(inputs)
        assert all(close(ours[name], theirs[name]) for name in theirs)
        caches = {name: theirs[name.replace("past", "present")] for name in _PAST}
        past += new


def _of_several_texts(batch: int | str) -> onnx.ModelProto:
    """The grouped attention of some texts, of which each has as many tokens as an input says."""
    proto = _projected("GroupQueryAttention", "com.microsoft", 4, 2, _GROUPED, num_heads=4, kv_num_heads=2, do_rotary=1)
    for value in (*proto.graph.input, *proto.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        if isinstance(batch, str):
            dim.dim_param = batch
        else:
            dim.dim_value = batch
    return proto


@pytest.mark.parametrize("batch", [3, pytest.param("texts", marks=pytest.mark.slow)])
def test_texts_have_as_much_behind_them_as_each_has(batch: int | str) -> None:
    """Rows of a text stand behind its own, and what is behind them is never read: it is NaN here. Alone it is the same.

    Prompts of different lengths come first, the shorter ones with something behind them.
    """
    ranges = {"past": (0, 20), "seq": (1, 7), **({"texts": (1, 3)} if batch == "texts" else {})}
    compiled = tilewright.compile(_of_several_texts(batch), ranges=ranges, threads=1)
    assert len(compiled.signature.states) == 2
    alone, generator = engine(_of_several_texts("texts")), np.random.default_rng(1)
    calls = [(3, (0, 0, 0), (7, 2, 5)), (3, (7, 2, 5), (1, 1, 1)), (3, (7, 2, 5), (4, 4, 4))]
    for texts, before, new in [*calls, *([(1, (3,), (1,)), (2, (6, 1), (5, 5))] if batch == "texts" else [])]:
        past, count = max(before), max(new)
        caches = {name: np.full((texts, 2, past, 16), np.nan, np.float32) for name in _PAST}
        for cache in caches.values():
            for text, length in enumerate(before):
                cache[text, :, :length] = generator.standard_normal((2, length, 16))
        mask = np.arange(past + count)[None] < (np.array(before) + new)[:, None]
        x = generator.standard_normal((texts, count, 24)).astype(np.float32)
        ours = compiled.run({"x": x, "mask": mask.astype(np.int64), **caches})
        for text, (length, more) in enumerate(zip(before, new, strict=True)):
            own = {name: cache[text : text + 1, :, :length] for name, cache in caches.items()}
            given = {"x": x[text : text + 1, :more], "mask": np.ones((1, length + more), np.int64), **own}
            theirs = answers(alone, given)
            assert close(ours["y"][text : text + 1, :more], theirs["y"])
            for name in ("present_key", "present_value"):
                assert close(ours[name][text : text + 1, :, : length + more], theirs[name])
