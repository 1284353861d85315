"""GPT-2 as exporters write it, with and without a cache: positions and masks computed from shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]
_FAR = np.float32(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Decoder:
    """What a decoder is like.

    Attributes:
        groups: heads of queries for one of keys, which is repeated for them.
        positions: ``range`` from the past on; ``sum`` of a range and the past; ``input``.
        mask: ``range``: positions compared; ``slice`` of a triangle; ``none``.
        padding: whether there is an input that hides keys.
    """

    layers: int = 2
    width: int = 32
    heads: int = 4
    vocabulary: int = 60
    room: int = 64
    groups: int = 1
    positions: str = "range"
    mask: str = "range"
    padding: bool = False

    @property
    def depth(self) -> int:
        return self.width // self.heads

    def past(self, length: int) -> dict[str, Array]:
        """Caches of zeros."""
        shape = (1, self.heads // self.groups, length, self.depth)
        return {
            f"past_key_values.{i}.{kind}": np.zeros(shape, np.float32)
            for i in range(self.layers)
            for kind in ("key", "value")
        }


def node(operator: str, inputs: list[str], output: str, name: str, **attributes: Any) -> onnx.NodeProto:
    """A node of one output."""
    return helper.make_node(operator, inputs, [output], name=name, **attributes)


class _Writer:
    """Nodes and weights of a decoder."""

    def __init__(self, of: Decoder, *, cached: bool) -> None:
        self.of, self.cached = of, cached
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}
        self._random = np.random.default_rng(1)
        self._count = 0

    def add(self, operator: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        self._count += 1
        name = to or f"t{self._count}"
        self.nodes.append(node(operator, list(inputs), name, f"{operator} {self._count}", **attributes))
        return name

    def number(self, value: Any) -> str:
        array = np.asarray(value)
        name = f"c_{array.dtype}_{'_'.join(map(str, array.reshape(-1)))}_{array.ndim}".replace("-", "m")
        self.weights[name] = array
        return name

    def weight(self, name: str, *shape: int, scale: float = 0.0) -> str:
        values = self._random.standard_normal(shape) * (scale or 1 / np.sqrt(shape[0]))
        self.weights[name] = values.astype(np.float32)
        return name

    def dense(self, x: str, name: str, inner: int, outer: int) -> str:
        product = self.add("MatMul", x, self.weight(f"{name}.w", inner, outer))
        return self.add("Add", product, self.weight(f"{name}.b", outer, scale=0.1))

    def norm(self, x: str, name: str) -> str:
        width = self.of.width
        scale, bias = self.weight(f"{name}.g", width, scale=1.0), self.weight(f"{name}.s", width, scale=0.1)
        return self.add("LayerNormalization", x, scale, bias, axis=-1)

    def length(self, x: str, axis: int) -> str:
        return self.add("Gather", self.add("Shape", x), self.number(np.int64(axis)))

    def heads(self, x: str, count: int) -> str:
        shape = self.number(np.array([0, -1, count, self.of.depth]))
        return self.add("Transpose", self.add("Reshape", x, shape), perm=[0, 2, 1, 3])

    def repeated(self, x: str) -> str:
        """Each head several times, as exporters of grouped queries write it."""
        of = self.of
        if of.groups == 1:
            return x
        one = self.add("Unsqueeze", x, self.number(np.array([2])))
        spread = self.add("Expand", one, self.number(np.array([1, 1, of.groups, 1, 1])))
        return self.add("Reshape", spread, self.number(np.array([0, of.heads, -1, of.depth])))


def decoder(of: Decoder = Decoder(), *, cached: bool = True) -> onnx.ModelProto:
    """The model: of new tokens, and with a cache of all before them, logits and the caches after them."""
    w = _Writer(of, cached=cached)
    one = w.number(np.int64(1))
    zero = w.number(np.int64(0))
    tokens = w.length("input_ids", 1)
    past = w.length("past_key_values.0.key", 2) if cached else zero
    total = w.add("Add", past, tokens)
    if of.positions == "sum":
        places = w.add("Add", w.add("Range", zero, tokens, one), past)
    elif of.positions == "range":
        places = w.add("Range", past, total, one)
    given = of.positions == "input"
    positions = "position_ids" if given else w.add("Unsqueeze", places, w.number(np.array([0])))
    x = w.add("Gather", w.weight("wte", of.vocabulary, of.width, scale=0.5), "input_ids")
    x = w.add("Add", x, w.add("Gather", w.weight("wpe", of.room, of.width, scale=0.5), positions))
    masks = _masks(w, past, tokens, total)
    inputs: dict[str, tuple[str, tuple[Any, ...]]] = {"input_ids": ("int64", (1, "seq"))}
    outputs: dict[str, tuple[str, tuple[Any, ...]]] = {"logits": ("float32", (1, "seq", of.vocabulary))}
    if of.positions == "input":
        inputs["position_ids"] = ("int64", (1, "seq"))
    if of.padding:
        inputs["attention_mask"] = ("int64", (1, "past + seq" if cached else "seq"))
    for layer in range(of.layers):
        x = _layer(w, x, layer, masks)
        for kind in ("key", "value") if cached else ():
            shape = (1, of.heads // of.groups, "past", of.depth)
            inputs[f"past_key_values.{layer}.{kind}"] = ("float32", shape)
            outputs[f"present.{layer}.{kind}"] = ("float32", (*shape[:2], "past + seq", of.depth))
    x = w.norm(x, "last")
    w.add("MatMul", x, w.weight("head", of.width, of.vocabulary), to="logits")
    graph = helper.make_graph(
        w.nodes,
        "decoder",
        [_border(name, *kind) for name, kind in inputs.items()],
        [_border(name, *kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in w.weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _border(name: str, dtype: str, shape: tuple[Any, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))


def _masks(w: _Writer, past: str, tokens: str, total: str) -> list[str]:
    """What is added to scores."""
    of, masks = w.of, []
    low = w.number(_FAR)
    none = w.number(np.float32(0))
    if of.mask == "range":
        keys = w.add("Range", w.number(np.int64(0)), total, w.number(np.int64(1)))
        queries = w.add("Unsqueeze", w.add("Range", past, total, w.number(np.int64(1))), w.number(np.array([1])))
        seen = w.add("LessOrEqual", keys, queries)
        masks.append(w.add("Unsqueeze", w.add("Where", seen, none, low), w.number(np.array([0, 1]))))
    elif of.mask == "slice":
        w.weights["triangle"] = np.tril(np.ones((1, 1, of.room, of.room), bool))
        first, last = (w.add("Unsqueeze", each, w.number(np.array([0]))) for each in (past, total))
        rows = w.add("Slice", "triangle", first, last, w.number(np.array([2])))
        part = w.add("Slice", rows, w.number(np.array([0])), last, w.number(np.array([3])))
        masks.append(w.add("Where", part, none, low))
    if of.padding:
        shown = w.add("Equal", "attention_mask", w.number(np.int64(1)))
        added = w.add("Where", shown, none, low)
        masks.append(w.add("Unsqueeze", added, w.number(np.array([1, 2]))))
    return masks


def _layer(w: _Writer, x: str, layer: int, masks: list[str]) -> str:
    of, name = w.of, f"h{layer}"
    kv = of.width // of.groups
    normed = w.norm(x, f"{name}.ln1")
    qkv = w.dense(normed, f"{name}.attn", of.width, of.width + 2 * kv)
    for number, each in enumerate("qkv"):
        bounds = [0, of.width, of.width + kv, of.width + 2 * kv][number : number + 2]
        w.add("Slice", qkv, *(w.number(np.array([n])) for n in (*bounds, 2)), to=f"{name}.{each}")
    q = w.heads(f"{name}.q", of.heads)
    k, v = (w.heads(f"{name}.{each}", of.heads // of.groups) for each in "kv")
    if w.cached:
        k = w.add("Concat", f"past_key_values.{layer}.key", k, axis=2, to=f"present.{layer}.key")
        v = w.add("Concat", f"past_key_values.{layer}.value", v, axis=2, to=f"present.{layer}.value")
    k, v = w.repeated(k), w.repeated(v)
    scores = w.add("MatMul", q, w.add("Transpose", k, perm=[0, 1, 3, 2]))
    scores = w.add("Mul", scores, w.number(np.float32(of.depth**-0.5)))
    for mask in masks:
        scores = w.add("Add", scores, mask)
    seen = w.add("MatMul", w.add("Softmax", scores, axis=-1), v)
    merged = w.add("Reshape", w.add("Transpose", seen, perm=[0, 2, 1, 3]), w.number(np.array([0, -1, of.width])))
    x = w.add("Add", x, w.dense(merged, f"{name}.proj", of.width, of.width))
    inner = w.add("Gelu", w.dense(w.norm(x, f"{name}.ln2"), f"{name}.fc", of.width, 4 * of.width), approximate="tanh")
    return w.add("Add", x, w.dense(inner, f"{name}.out", 4 * of.width, of.width))
