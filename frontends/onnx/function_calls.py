"""How many nodes a model has when its functions stand in place of their calls, told without putting them there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import onnx

from ...errors import ModelError, UnsupportedError
from .limits import DEEPEST_NESTING, LARGEST_GRAPH
from .proto_walk import all_nodes

_Key: TypeAlias = tuple[str, str, str]


def check_calls(proto: onnx.ModelProto, where: str) -> None:
    """Refuses models whose functions call each other in a circle, too deeply, or too often.

    Raises:
        ModelError: a function calls itself, directly or by way of others, or two functions have one name.
        UnsupportedError: there are more nodes, or functions in functions, than any model needs.
    """
    functions: dict[_Key, onnx.FunctionProto] = {}
    for each in proto.functions:
        if functions.setdefault(_key(each.domain, each.name, each), each) is not each:
            raise ModelError(f"the function '{each.domain}.{each.name}' is defined twice", where=where)
    sizes: dict[_Key, tuple[int, int]] = {}  # nodes and depth
    for key in _called_first(functions, where):
        count, depth = _size(functions[key].node, functions, sizes)
        sizes[key] = count, depth + 1
    count, depth = _size(proto.graph.node, functions, sizes)
    if count > LARGEST_GRAPH:
        raise UnsupportedError(
            f"the model has {count:,} nodes, those of its functions counted at every call; "
            f"at most {LARGEST_GRAPH:,} are supported",
            where=where,
        )
    if depth > DEEPEST_NESTING:
        raise UnsupportedError(
            f"the model's functions call each other {depth} deep; at most {DEEPEST_NESTING} is supported", where=where
        )


def _called_first(functions: dict[_Key, onnx.FunctionProto], where: str) -> list[_Key]:
    """The functions, each after all that it calls."""
    if not functions:
        return []
    import networkx as nx  # few models have functions, and it takes a while to load

    calls = nx.DiGraph({key: _called(function.node, functions) for key, function in functions.items()})
    if not nx.is_directed_acyclic_graph(calls):
        (domain, name, _), _ = nx.find_cycle(calls)[0]
        raise ModelError(f"the function '{domain}.{name}' calls itself", where=where)
    return list(nx.topological_sort(calls.reverse()))


def _called(nodes: Iterable[onnx.NodeProto], functions: dict[_Key, onnx.FunctionProto]) -> list[_Key]:
    keys = (_key(node.domain, node.op_type, node) for node in all_nodes(nodes))
    return list(dict.fromkeys(key for key in keys if key in functions))


def _size(
    nodes: Iterable[onnx.NodeProto], functions: dict[_Key, onnx.FunctionProto], sizes: dict[_Key, tuple[int, int]]
) -> tuple[int, int]:
    count = depth = 0
    for node in all_nodes(nodes):
        inner = sizes.get(_key(node.domain, node.op_type, node), (1, 0))
        count, depth = count + inner[0], max(depth, inner[1])
    return count, depth


def _key(domain: str, name: str, source: onnx.FunctionProto | onnx.NodeProto) -> _Key:
    return "" if domain == "ai.onnx" else domain, name, source.overload
