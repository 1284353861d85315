"""Whatever reads the kernels of a graph names the one that it cannot read, with the nodes of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from emitted_models import fused, relax_module
from tilewright.compiler.emission.graph import Graph, read_graph
from tilewright.compiler.emission.graph_steps import GraphCall
from tilewright.compiler.emission.in_place import in_place
from tilewright.compiler.emission.kernel_table import KernelTable, kernel_table
from tilewright.compiler.emission.structure import structure_of
from tilewright.compiler.library.plan import Constants
from tilewright.compiler.lowering.batches import Batch
from tilewright.compiler.lowering.lower import lower_kernel
from tilewright.errors import CompilerError
from tilewright.targets import host
from tvm import relax, tirx

CALLS = (GraphCall("broken", (), (), ("conv", "relu")),)
GRAPH = Graph((), (), CALLS, (), (), Constants((), ()))
MODULE = {"broken": object()}
TABLE = KernelTable(MODULE, GRAPH, ("net_k0_broken",), ("broken",), {"broken": 0})


@pytest.mark.parametrize(
    ("read", "kernel"),
    [
        (lambda: kernel_table(MODULE, GRAPH, "net"), "broken"),
        (lambda: in_place(GRAPH, MODULE), "broken"),
        (lambda: structure_of(TABLE), "net_k0_broken"),
        (lambda: TABLE.kernels([()]), "net_k0_broken"),
        (lambda: TABLE.dtypes, "net_k0_broken"),
    ],
    ids=["table", "in place", "structure", "work", "dtypes"],
)
def test_a_kernel_that_cannot_be_read_is_named(read: Callable[[], object], kernel: str) -> None:
    with pytest.raises(CompilerError, match="a kernel cannot be read") as caught:
        read()
    assert caught.value.where == f"kernel '{kernel}'"
    assert caught.value.details[0] == "it computes the nodes: conv, relu"


@pytest.mark.parametrize("parallel", [False, True])
def test_a_kernel_that_cannot_be_lowered_is_named(parallel: bool) -> None:
    with pytest.raises(CompilerError, match="lowering a kernel failed") as caught:
        lower_kernel(object(), "net_k0", host().to_tvm(), parallel=parallel)
    assert caught.value.where == "kernel 'net_k0'"


def test_a_kernel_that_cannot_travel_is_named() -> None:
    with pytest.raises(CompilerError, match="another process") as caught:
        Batch(("build", 0), ["net_k0"], [object()], host(), parallel=False).__reduce__()
    assert caught.value.where == "kernel 'net_k0'"


def body(emit: Any, x: Any) -> list[Any]:
    return [emit(relax.op.exp(emit(relax.op.tanh(x), "first")), "second")]


def test_a_call_that_does_not_fit_its_kernel_is_named() -> None:
    module = fused(relax_module({"x": ((2, 3), "float32")}, body))
    (kernel,) = (each for each in module.functions if str(each.name_hint) != "main")
    module[kernel] = tirx.PrimFunc([], tirx.Evaluate(tirx.const(0, "int32")))
    with pytest.raises(CompilerError, match="has 0 parameters, but is called with 2 tensors") as caught:
        read_graph(module, ["y"])
    assert caught.value.where == f"kernel '{kernel.name_hint}'"
    assert caught.value.details[0].startswith("it computes the nodes: ")


def test_an_operator_that_is_left_is_named() -> None:
    with pytest.raises(CompilerError, match=r"operator relax.tanh is left") as caught:
        read_graph(relax_module({"x": ((2, 3), "float32")}, body), ["y"])
    assert caught.value.where == "node 'first'"
