"""A random graph from a seed: operators of the importer's table, each given inputs that it takes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from draft import Array, Draft, Unfit, typed
from onnx import helper, numpy_helper
from rows import all_rows
from rows_motifs import MOTIFS

# Opsets whose operators differ in form. ONNX Runtime decides in the end which operators it takes.
OPSETS = (9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24)
_MOTIF_SHARE = 0.2
_TRIES = 60
_FEWEST = 3


@dataclass(frozen=True)
class Sample:
    """A model with inputs to run it on.

    Attributes:
        model: the graph.
        inputs: arrays by name.
        noisy: the floats of the graph that are data: what a rounding may change.
    """

    model: onnx.ModelProto
    inputs: Mapping[str, Array]
    noisy: frozenset[str]


def generate(seed: int, operators: tuple[str, ...] = ()) -> Sample:
    """The graph of a seed.

    Args:
        seed: any number; the same one gives the same graph.
        operators: when given, the first operator is one of these.
    """
    rng = np.random.default_rng(seed)
    dtype = str(rng.choice(["float32", "float16", "float64"], p=[0.86, 0.07, 0.07]))
    d = Draft(rng, int(rng.choice(OPSETS)), dtype)
    rows = all_rows()
    wanted = d.between(3, 12)
    names = sorted(rows)
    for _ in range(_TRIES):
        if len(d.nodes) >= wanted:
            break
        before = _state(d)
        try:
            if operators and not d.nodes:
                op_type = d.one_of(operators)
                rows[op_type](d, op_type)
            elif d.chance(_MOTIF_SHARE):
                d.one_of(MOTIFS)(d)
            else:
                op_type = d.one_of(names)
                rows[op_type](d, op_type)
        except Unfit:
            _restore(d, before)
    if len(d.nodes) < _FEWEST:
        raise RuntimeError(f"seed {seed} gave {len(d.nodes)} operators")
    return finished(d)


def _state(d: Draft) -> tuple[int, int, int, dict[str, Array], set[str]]:
    return len(d.nodes), len(d.inputs), len(d.constants), dict(d.values), set(d.parameters)


def _restore(d: Draft, state: tuple[int, int, int, dict[str, Array], set[str]]) -> None:
    nodes, inputs, constants, d.values, d.parameters = state
    del d.nodes[nodes:], d.inputs[inputs:], d.constants[constants:]


def finished(d: Draft) -> Sample:
    """The model of a draft: what nobody reads is an output, and now and then what somebody reads too."""
    read = {name for node in d.nodes for name in node.input}
    made = [name for node in d.nodes for name in node.output]
    outputs = [name for name in made if name not in read or d.chance(0.12)]
    if d.chance(0.1):
        outputs = outputs[: max(1, len(outputs) // 2)]  # the rest of the graph is dead
    d.rng.shuffle(outputs)
    leaves = [*d.inputs, *d.constants]
    inputs = [typed(name, d.values[name]) for name in leaves if name in read and name in d.inputs]
    constants = [
        numpy_helper.from_array(d.values[name], name) for name in leaves if name in read and name in d.constants
    ]
    graph = helper.make_graph(d.nodes, "random", inputs, [typed(name, d.values[name]) for name in outputs], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", d.opset)], ir_version=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnx.checker.check_model(model, full_check=True)
    noisy = {name for name in read | set(made) if name and d.values[name].dtype.kind == "f"} - d.parameters
    return Sample(model, {value.name: d.values[value.name] for value in inputs}, frozenset(noisy))
