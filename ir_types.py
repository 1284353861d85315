"""Names for what TVM's intermediate representations are made of.

TVM ships no type stubs, so that mypy takes every one of its classes for `Any`. A signature that says `Call` tells a
reader what `Any` does not, and these lines are the one place to change on the day that TVM has types.
"""

from __future__ import annotations

from typing import Any, TypeAlias

IRModule: TypeAlias = Any  # tvm.IRModule
Node: TypeAlias = Any  # anything in one
Type: TypeAlias = Any  # tvm.ir.Type
TvmTarget: TypeAlias = Any  # tvm.target.Target
Analyzer: TypeAlias = Any  # tvm.sym.Analyzer, which proves facts about integers

# Relax, the graph.
Expr: TypeAlias = Any  # tvm.relax.Expr: anything below
Var: TypeAlias = Any  # tvm.relax.Var; in TensorIR tvm.tirx.Var
Call: TypeAlias = Any  # tvm.ir.Call, its type inferred
GlobalVar: TypeAlias = Any  # tvm.relax.GlobalVar: the name of a function of a module
Binding: TypeAlias = Any  # tvm.relax.Binding
Attributes: TypeAlias = Any  # of an operator's call, or of a function

# TensorIR, a kernel's loops.
PrimFunc: TypeAlias = Any  # tvm.tirx.PrimFunc
Buffer: TypeAlias = Any  # tvm.tirx.Buffer
Stmt: TypeAlias = Any  # tvm.tirx.Stmt
For: TypeAlias = Any  # tvm.tirx.For
Block: TypeAlias = Any  # tvm.s_tir.SBlock
Load: TypeAlias = Any  # tvm.ir.TensorLoad
Scalar: TypeAlias = Any  # tvm.tirx.PrimExpr: an index, or a value computed in a kernel
