"""Names for the nodes of TVM's IR, which has no types: what a signature says is what is meant."""

from __future__ import annotations

from typing import Any, TypeAlias

Module: TypeAlias = Any  # an IRModule
PrimFunc: TypeAlias = Any
Stmt: TypeAlias = Any
For: TypeAlias = Any  # a loop in the IR; a schedule's handle to one is `blocks.Loop`
Expr: TypeAlias = Any
Var: TypeAlias = Any
Load: TypeAlias = Any  # of an element of a buffer
Buffer: TypeAlias = Any
Node: TypeAlias = Any  # a statement or an expression
