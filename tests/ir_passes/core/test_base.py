"""The runner: order, callback, and blame for what a pass breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import tvm
from relax_models import build, op
from tilewright.errors import CompilerError
from tilewright.ir_passes import Canonicalize, GraphPass, PassResult, run_passes
from tilewright.ir_passes.core.sources import escape, join, split
from tvm import relax


def _module() -> tvm.IRModule:
    return build({"x": (2, 3)}, lambda emit, x: emit(op.nn.relu(emit(op.add(x, x), "a.1/b")), "relu"))


@dataclass(frozen=True)
class _BreaksTypes(GraphPass):
    def __call__(self, module: tvm.IRModule) -> PassResult:
        x = relax.Var("x", relax.TensorType((2, 3), "float32"))
        stray = relax.Var("stray", relax.TensorType((2, 3), "float32"))
        body = relax.SeqExpr([], stray)
        relax.expr._update_type(body, stray.ty)
        return PassResult(tvm.IRModule({"main": relax.Function([x], body, stray.ty)}), True)


@dataclass(frozen=True)
class _BreaksContract(GraphPass):
    def __call__(self, module: tvm.IRModule) -> PassResult:
        return PassResult(module, False)

    def check(self, module: tvm.IRModule) -> None:
        raise CompilerError("no two of these may meet", where="binding 'relu'")


def test_passes_run_in_order_and_are_reported() -> None:
    seen = []
    result = run_passes(_module(), [Canonicalize(), Canonicalize()], on_pass=lambda *each: seen.append(each))
    assert [(index, each.name) for index, each, _ in seen] == [(0, "canonicalize"), (1, "canonicalize")]
    assert not result.modified


def test_an_ill_formed_module_names_the_pass() -> None:
    with pytest.raises(CompilerError, match="test_base"):
        run_passes(_module(), [Canonicalize(), _BreaksTypes()])


def test_a_broken_contract_names_the_pass_and_the_place() -> None:
    with pytest.raises(CompilerError) as caught:
        run_passes(_module(), [_BreaksContract()])
    assert "test_base" in str(caught.value.where) and "binding 'relu'" in str(caught.value.where)


@dataclass(frozen=True)
class _FailsAtAdd(GraphPass):
    """Raises what nobody expects at the second addition."""

    def __call__(self, module: tvm.IRModule) -> PassResult:
        additions = 0
        for binding in module["main"].body.blocks[0].bindings:
            value = binding.value
            additions += isinstance(value, relax.Call) and getattr(value.op, "name", "") == "relax.add"
            if additions == 2:
                raise IndexError("who would have thought")
        return PassResult(module, False)


def test_a_pass_that_raises_is_named_with_the_node() -> None:
    def body(emit: Any, x: Any) -> Any:
        first = emit(op.nn.relu(emit(op.add(x, x), "one")), "two")
        return emit(op.tanh(emit(op.add(first, x), "three")), "four")

    with pytest.raises(CompilerError) as caught:
        run_passes(build({"x": (2, 3)}, body), [_FailsAtAdd()])
    assert caught.value.where == "pass 'test_base': node 'three'"
    assert "IndexError: who would have thought" in str(caught.value) and "bug in Tilewright" in str(caught.value)


def test_names_are_joined_in_order_without_repeats() -> None:
    assert join(["conv/a.1", "bn", "conv/a.1+relu"]) == "conv/a.1+bn+relu"
    assert split("a+b") == ("a", "b")
    assert escape("a+b") == "a_b"
