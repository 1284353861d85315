"""Failures that nothing foresaw name where they happened, whatever class they are of and wherever they are raised."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
import tvm_ffi
from small_models import model, node, swish_network
from tilewright import errors
from tilewright.compiler.build import build
from tilewright.compiler.codegen import llvm_objects
from tilewright.compiler.emission import kernel_table, planner, structure
from tilewright.compiler.lowering import lower
from tilewright.errors import (
    ChoiceError,
    CompilerError,
    ModelError,
    OutOfMemoryError,
    TilewrightError,
    UnsupportedError,
    UsageError,
)
from tilewright.failures import failing_in, nodes_named, reason_of, remembered
from tilewright.ir_passes.operators import fuse_silu
from tilewright.schedules.templates.contraction import MultiplyAddChoice
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.template import Chooser, Decision, choose_default
from tvm import tirx
from tvm.error import InternalError

BORDERS = {"x": ("float32", (4, 16))}, {"y": ("float32", (4, 16))}
RAISED = [
    KeyError("surprise"),
    InternalError("Check failed: (a == b) is false: trace\n  of many lines\nthe last of them"),
    RecursionError("maximum recursion depth exceeded"),
    NotImplementedError(),
    MemoryError(),
]


def raising(error: BaseException) -> Callable[..., Any]:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    return fails


@pytest.mark.parametrize("raised", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("place", "where", "nodes"),
    [
        ((fuse_silu, "rewrite"), "pass 'fuse_silu'", False),
        ((lower, "_loop_passes"), "kernel '", True),
        ((lower, "stop_early"), "kernel '", True),
        ((structure, "code_digest"), "kernel '", True),
        ((kernel_table, "argument_bytes"), "the planner: kernel '", True),
        ((llvm_objects, "_unexpected"), "kernel '", True),
        ((llvm_objects, "with_own_symbols"), "kernel '", True),
        ((planner, "make_plan"), "the planner", False),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_stage_that_raises_is_named(
    raised: Exception, place: tuple[Any, str], where: str, nodes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*place, raising(raised))

    with pytest.raises(errors.TilewrightError) as caught:
        tilewright.compile(swish_network(), output=tmp_path / "x.so", threads=1, jobs=1)

    assert type(caught.value) is (OutOfMemoryError if isinstance(raised, MemoryError) else CompilerError)
    assert str(caught.value.where).startswith("ModelProto: ") and where in str(caught.value.where)
    assert ("it computes the nodes: " in str(caught.value)) == nodes
    if not isinstance(raised, MemoryError):
        assert reason_of(raised) in str(caught.value) and "please report it" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("raised", RAISED, ids=lambda error: type(error).__name__)
def test_a_template_that_raises_is_named_with_its_kernel_and_nodes(
    raised: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tuple(replace(each, schedule=raising(raised)) for each in TEMPLATES)
    monkeypatch.setattr("tilewright.schedules.templates.table.TEMPLATES", broken)

    with pytest.raises(errors.TilewrightError) as caught:
        tilewright.compile(swish_network(), threads=1, jobs=1)

    assert "pass 'schedule': kernel '" in str(caught.value.where)
    assert "it computes the nodes: first product" in str(caught.value)


def test_places_add_up_and_none_stands_twice() -> None:
    with (
        pytest.raises(CompilerError) as caught,
        failing_in("a.onnx", "the compile failed"),
        nodes_named({"kernel 'k'": ["conv", "relu"]}),
        failing_in("kernel 'k'", "again"),
        failing_in("kernel 'k'", "lowering failed", nodes=lambda: ["conv", "relu"]),
    ):
        raise IndexError("beyond")

    assert caught.value.where == "a.onnx: kernel 'k'" and caught.value.what == "lowering failed"
    assert caught.value.details == ("it computes the nodes: conv, relu", "IndexError: beyond")


def test_what_a_user_can_mend_passes_as_it_is() -> None:
    with pytest.raises(ModelError) as caught, failing_in("pass 'x'", "failed"):
        raise ModelError("damaged", where="here")
    assert caught.value.where == "here"
    with pytest.raises(OSError, match="full"), failing_in("kernel 'k'", "failed", writes_files=True):
        raise OSError(28, "full")
    with pytest.raises(CompilerError, match="full"), failing_in("kernel 'k'", "failed"):
        raise OSError(28, "full")
    with pytest.raises(KeyboardInterrupt), failing_in("kernel 'k'", "failed"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("kind", "where"),
    [("Workload", "pass 'legalize': node 'first product'"), ("Elements", "pass 'schedule': kernel '")],
)
def test_an_illegal_choice_says_so_wherever_it_is_made(kind: str, where: str) -> None:
    def choose(templates: Any, workload: Any, target: Any) -> Decision[Any, Any]:
        decision: Decision[Any, Any] = choose_default(templates, workload, target)
        illegal = MultiplyAddChoice(rows=100, vectors=100)
        return replace(decision, choice=illegal) if type(workload).__name__ == kind else decision

    kernel = (
        node("Relu", ["x"], "y", "alone") if kind == "Elements" else node("MatMul", ["x", "w"], "y", "first product")
    )
    proto = model([kernel], *BORDERS, {"w": np.eye(16, dtype=np.float32)})

    with pytest.raises(ChoiceError, match="has no such choice") as caught:
        build(proto, None, stop_after="passes", choose=choose)

    assert str(caught.value.where).startswith(f"ModelProto: {where}")
    assert "would not fit" in str(caught.value.hint) and "MultiplyAddChoice" in str(caught.value)
    assert ("it computes the nodes: alone" in str(caught.value)) == (kind == "Elements")


@pytest.mark.parametrize("raised", [UnsupportedError("no such thing", hint="cut it"), CompilerError("it broke")])
def test_what_a_lowering_raises_comes_out_of_tvm_as_itself(
    raised: TilewrightError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Chooser, "__call__", raising(raised))

    with pytest.raises(type(raised)) as caught:
        tilewright.compile(swish_network(), threads=1, jobs=1)

    assert (caught.value.what, caught.value.hint) == (raised.what, raised.hint)
    assert caught.value.where == "ModelProto: pass 'legalize': node 'first product'"


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit("enough"), ModelError("damaged", where="here")])
def test_what_tvm_calls_back_raises_comes_out_as_it_is(raised: BaseException) -> None:
    def visits(_: Any) -> None:
        with failing_in("an inner place", "failed"):
            tvm_ffi.structural_walk(tirx.const(2, "int32"), (tirx.IntImm, remembered(raising(raised))))

    with pytest.raises(type(raised)) as caught, failing_in("pass 'x'", "failed"):
        tvm_ffi.structural_walk(tirx.const(1, "int32"), (tirx.IntImm, remembered(visits)))
    assert caught.value is raised


def test_what_was_survived_is_not_taken_for_what_failed() -> None:
    def walk() -> None:
        tvm_ffi.structural_walk(tirx.const(1, "int32"), (tirx.IntImm, remembered(raising(UsageError("survived")))))

    with pytest.raises(CompilerError, match="an error of TVM's"), failing_in("kernel 'k'", "failed"):
        with pytest.raises(RuntimeError, match="survived"):
            walk()
        tvm_ffi.structural_walk(tirx.const(1, "int32"), (tirx.IntImm, raising(ValueError("an error of TVM's"))))


def test_an_error_without_a_place_gets_all_places_and_its_nodes() -> None:
    def kernel() -> None:
        with failing_in("kernel 'k'", "failed", inside=lambda error: "line 3"):
            raise UnsupportedError("no such dtype", hint="another one", details=["here"])

    with pytest.raises(UnsupportedError) as worker:
        kernel()
    with (
        pytest.raises(UnsupportedError) as caught,
        failing_in("a.onnx", "the compile failed", inside=lambda error: "unasked"),
        nodes_named({"kernel 'k'": ["conv", "relu"]}),
    ):
        raise pickle.loads(pickle.dumps(worker.value))

    assert caught.value.where == "a.onnx: kernel 'k': line 3" and caught.value.hint == "another one"
    assert caught.value.details == ("it computes the nodes: conv, relu", "here")


def test_errors_come_back_from_other_processes_whole() -> None:
    with pytest.raises(OutOfMemoryError) as caught, failing_in("kernel 'k'", "failed", nodes=lambda: ["conv"]):
        raise MemoryError

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
