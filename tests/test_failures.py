"""Failures that nothing foresaw name where they happened, whatever class they are of and wherever they are raised."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tilewright
from small_models import swish_network
from tilewright import errors
from tilewright.compiler.codegen import llvm_objects
from tilewright.compiler.emission import planner
from tilewright.compiler.lowering import lower
from tilewright.errors import CompilerError, ModelError, OutOfMemoryError
from tilewright.failures import failing_in, nodes_named, reason_of
from tilewright.ir_passes.operators import fuse_silu
from tilewright.schedules.templates.table import TEMPLATES
from tvm.error import InternalError

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
        ((llvm_objects, "_unexpected"), "kernel '", True),
        ((planner, "make_plan"), "the planner", False),
    ],
    ids=["pass", "lowering", "code generation", "planner"],
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


def test_errors_come_back_from_other_processes_whole() -> None:
    with pytest.raises(OutOfMemoryError) as caught, failing_in("kernel 'k'", "failed", nodes=lambda: ["conv"]):
        raise MemoryError

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
