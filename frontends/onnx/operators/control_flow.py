"""If, Loop and Scan: what is decided now happens in place; the rest are branches and loops of the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tvm import relax

from ....errors import UnsupportedError
from ..inner_graphs import Graphs, Inside, LoopBody
from ..node import Node, Result, Value, shape_of
from ..registry import operator
from ..scope import Missing

# Nodes that the turns of a loop may have together to be converted one after the other; and where a loop of the library
# cannot do it, because sizes change from turn to turn.
_FEW_NODES, _MANY_NODES = 200, 5000


@operator("Identity")
def identity(node: Node) -> Result:
    """What it is given, a sequence too."""
    if not node.has(0):
        raise node.invalid("input 0 is missing")
    return node.inputs[0]


@operator("If")
def branch(node: Node) -> Result:
    """One of two graphs."""
    graphs = _graphs(node)
    sides = ("then_branch", "else_branch")
    for side in sides:
        if graphs.outputs(side) != len(node.source.outputs):
            raise node.invalid(f"its '{side}' has another number of outputs")
    condition = node.known(0)
    if condition is not None:
        return graphs.inline(sides[0] if bool(condition.item()) else sides[1], [])
    return graphs.branch(node.expr(0), sides)


@operator("Loop")
def loop(node: Node) -> Result:
    """Turns of a graph: a number of them at most, as long as a condition holds."""
    graphs, carried = _graphs(node), [node.inputs[index] for index in range(2, len(node.inputs))]
    if graphs.outputs("body") != 1 + len(node.source.outputs) or len(carried) > len(node.source.outputs):
        raise node.invalid("its body has another number of outputs")
    count = node.known(0) if node.has(0) else None
    begins = np.asarray(True) if not node.has(1) else node.known(1)
    open_count = node.has(0) and count is None
    begins = node.expr(1) if begins is None else begins

    def turns() -> list[Value] | None:
        return (
            None if open_count or not isinstance(begins, np.ndarray) else _turns_of_loop(node, count, begins, carried)
        )

    def inputs(inside: Inside) -> Sequence[Value]:
        return [inside.turn, np.asarray(True), *inside.carried]

    body = LoopBody("body", inputs, node.expr(0) if open_count else count, begins, carried)
    return _one_of(node, turns, body, None if count is None else int(count.item()))


def _turns_of_loop(
    node: Node, count: np.ndarray | None, begins: np.ndarray, carried: list[Value]
) -> list[Value] | None:
    """The turns one after the other, or None if there may be more than can be: a condition is not known."""
    graphs = _graphs(node)
    most = _MANY_NODES // max(1, graphs.nodes("body"))
    goes_on, turn = bool(begins.all()), 0
    slices: list[list[Value]] = [[] for _ in node.source.outputs[len(carried) :]]
    while goes_on and (count is None or turn < int(count.item())):
        if turn > most:
            return None
        condition, *results = graphs.inline("body", [np.asarray(turn), np.asarray(True), *carried])
        if any(isinstance(each, Missing) for each in (condition, *results)):
            return [Missing()] * len(node.source.outputs)
        if not isinstance(condition, np.ndarray):
            return None
        goes_on, turn = bool(condition.all()), turn + 1
        for kept, value in zip(slices, results[len(carried) :], strict=True):
            kept.append(value)
        carried = results[: len(carried)]
    if slices and not turn:
        return None
    return [*carried, *(_stacked(node, each) for each in slices)]


@operator("Scan", since=9)
def scan(node: Node) -> Result:
    """Turns of a graph, one for each element of tensors along an axis; what they give is stacked."""
    given = list(node.inputs)
    return _scan(node, given, _ints(node, "scan_input_directions"), _ints(node, "scan_output_directions"), "axes")


@operator("Scan", since=8)
def scan_of_batches(node: Node) -> Result:
    """The same for each sequence of a batch."""
    if node.has(0):
        raise node.unsupported("sequences of different lengths are not supported", hint="leave sequence_lens out")
    given = list(node.inputs[1:])
    batch = node.shape(1)[0]
    results = []
    for index in range(batch):
        parts = [node.emit(relax.op.take(_expr(node, each), relax.const(index, "int64"), 0)) for each in given]
        results.append(_scan(node, parts, _ints(node, "directions"), (), ""))
    if any(isinstance(each, Missing) for each in results[0]):
        return results[0]
    return [_stacked(node, [result[index] for result in results]) for index in range(len(node.source.outputs))]


def _scan(
    node: Node, given: list[Value], directions: Sequence[int], directions_out: Sequence[int], axes: str
) -> list[Value]:
    graphs, count = _graphs(node), node.attr_int("num_scan_inputs", 1)
    states, tensors = given[: len(given) - count], given[len(given) - count :]
    if count < 1 or len(tensors) < count or graphs.outputs("body") != len(node.source.outputs):
        raise node.invalid("its body, its inputs and its outputs differ in number")
    input_axes = _ints(node, "scan_input_axes") if axes else ()
    output_axes = _ints(node, "scan_output_axes") if axes else ()
    along = []
    for index, tensor in enumerate(tensors):
        x = _expr(node, tensor)
        axis = node.axis(input_axes[index] if input_axes else 0, len(shape_of(x)))
        x = _moved(node, x, axis, 0)
        along.append(_reversed(node, x) if directions and directions[index] else x)
    lengths = {shape_of(each)[0] for each in along}
    if len(lengths) != 1:
        raise node.invalid("what it goes along has different lengths")
    (turns,) = lengths
    if not turns:
        raise node.unsupported("a scan along nothing is not supported")

    def one_by_one() -> list[Value] | None:
        carried: list[Value] = states
        slices: list[list[Value]] = [[] for _ in node.source.outputs[len(states) :]]
        for turn in range(turns):
            elements = [node.emit(relax.op.take(each, relax.const(turn, "int64"), 0)) for each in along]
            results = graphs.inline("body", [*carried, *(_settled(node, each) for each in elements)])
            if any(isinstance(each, Missing) for each in results):
                return results
            carried = results[: len(states)]
            for kept, value in zip(slices, results[len(states) :], strict=True):
                kept.append(value)
        return [*carried, *(_stacked(node, each) for each in slices)]

    def inputs(inside: Inside) -> Sequence[Value]:
        return [*inside.carried, *(inside.element(each) for each in along)]

    results = _one_of(node, one_by_one, LoopBody("body", inputs, np.asarray(turns), None, states), turns)
    for index in range(len(states), len(results)):
        if isinstance(results[index], Missing):
            continue
        x, place = _expr(node, results[index]), index - len(states)
        if directions_out and directions_out[place]:
            x = _reversed(node, x)
        axis = node.axis(output_axes[place] if output_axes else 0, len(shape_of(x)))
        results[index] = _moved(node, x, 0, axis)
    return results


def _one_of(node: Node, turns: Callable[[], list[Value] | None], body: LoopBody, count: int | None) -> list[Value]:
    """A recurrent layer if it is one; few turns one after the other, many or all as a loop of the library.

    The other way round where that cannot be.
    """
    graphs = _graphs(node)
    layer = graphs.layer(body)
    if layer is not None:
        return layer
    nodes = max(1, graphs.nodes(body.attribute)) * (count or 1)
    if nodes <= _FEW_NODES and not graphs.keeps_loops:
        found = turns()
        return graphs.loop(body) if found is None else found
    before = graphs.refused()
    try:
        results = graphs.loop(body)
        if graphs.refused() == before or nodes > _MANY_NODES:
            return results
    except UnsupportedError:
        if nodes > _MANY_NODES or count is None:
            raise
    graphs.forget(before)
    found = turns()
    return graphs.loop(body) if found is None else found


def _graphs(node: Node) -> Graphs:
    assert node.graphs is not None  # as for every node of a model
    return node.graphs


def _ints(node: Node, name: str) -> tuple[int, ...]:
    return node.attr_ints(name) or ()


def _expr(node: Node, value: Value) -> Value:
    return node.emit(value)


def _settled(node: Node, value: Value) -> Value:
    known = node.array(value)
    return value if known is None else known


def _moved(node: Node, x: Value, source: int, destination: int) -> Value:
    """x with an axis at another place."""
    order = [axis for axis in range(len(shape_of(x))) if axis != source]
    order.insert(destination, source)
    return x if order == sorted(order) else node.emit(relax.op.permute_dims(x, order))


def _reversed(node: Node, x: Value) -> Value:
    return node.emit(relax.op.flip(x, 0))


def _stacked(node: Node, values: Sequence[Value]) -> Value:
    """Tensors side by side along a new first axis."""
    rows = [_expr(node, each) for each in values]
    if len({shape_of(each) for each in rows}) > 1:
        raise node.unsupported("what its turns give differs in size, and cannot be one tensor")
    return node.emit(relax.op.concat([node.reshape(each, (1, *shape_of(each))) for each in rows], 0))
