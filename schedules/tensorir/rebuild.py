"""TensorIR read and rebuilt: nodes of a kind, loops with another body, variables replaced by values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tvm_ffi
from tvm import tirx

from ...ir_types import For, Node, Scalar, Stmt, Var


def with_body(
    loop: For, body: Stmt, *, kind: tirx.ForKind | None = None, annotations: Mapping[str, Any] | None = None
) -> For:
    """A `For` with another body, and perhaps another kind (which then is bound to no thread) or other annotations."""
    thread = loop.thread_binding if kind is None else None
    kept = dict(loop.annotations if annotations is None else annotations)
    kind = loop.kind if kind is None else kind
    return tirx.For(loop.loop_var, loop.min, loop.extent, kind, body, thread, kept, loop.step)


def found(node: Node, kind: type[Any]) -> list[Node]:
    """All nodes of a kind inside a statement or an expression, inner ones first."""
    nodes: list[Node] = []
    tvm_ffi.structural_walk(node, (kind, nodes.append))
    return nodes


def mentions(node: Node, variables: Sequence[Var]) -> bool:
    """Whether one of some variables is used inside a statement or an expression."""
    return any(each.same_as(variable) for each in found(node, tirx.Var) for variable in variables)


def substituted(node: Node, values: Mapping[Var, Scalar]) -> Node:
    """A statement or an expression with values for variables."""
    return tvm_ffi.structural_map(node, (tirx.Var, lambda each: values.get(each, each)))


def renewed(statement: Stmt) -> Stmt:
    """A statement whose loops and whose names of values have variables of their own: no two share one."""

    def own(loop: For) -> For:
        variable = tirx.Var(loop.loop_var.name, loop.loop_var.ty)
        body = substituted(loop.body, {loop.loop_var: variable})
        return tirx.For(variable, loop.min, loop.extent, loop.kind, body, None, dict(loop.annotations), loop.step)

    def named(let: Node) -> Node:
        variable = tirx.Var(let.var.name, let.var.ty)
        return tirx.Let(variable, let.value, substituted(let.body, {let.var: variable}))

    return tvm_ffi.structural_map(statement, [(tirx.For, own), (tirx.Let, named)], order="post")
