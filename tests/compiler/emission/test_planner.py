"""From `main` to the plan: which steps there are, and who owns which buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emitted_models import Body, Inputs, fused, relax_module
from tilewright.compiler.emission.graph import read_graph
from tilewright.compiler.emission.planner import make_plan
from tilewright.compiler.library.plan import Buffer, BufferKind, Call, Copy, Kernel, Plan
from tilewright.errors import CompilerError
from tvm import relax

X: Inputs = {"x": ((4, 8), "float32")}
WEIGHT = np.arange(64, dtype=np.float32).reshape(8, 8)


def plan_of(inputs: Inputs, body: Body, outputs: int, scratch: tuple[int, ...] = ()) -> Plan:
    graph = read_graph(fused(relax_module(inputs, body)), [f"y{i}" for i in range(outputs)])
    kernels = [Kernel(f"k{i}", name, "", 0, 0, scratch) for i, name in enumerate(graph.functions)]
    return make_plan("net", graph, kernels, {name: i for i, name in enumerate(graph.functions)})


def kinds(plan: Plan, step: int) -> list[str]:
    call = plan.steps[step]
    assert isinstance(call, Call)
    return [f"{plan.buffers[i].kind.value}" for i in call.arguments]


def of_kind(plan: Plan, kind: BufferKind) -> list[Buffer]:
    return [buffer for buffer in plan.buffers if buffer.kind is kind]


def test_a_kernel_writes_the_output_itself() -> None:
    plan = plan_of(X, lambda emit, x: [emit(relax.op.exp(x))], 1)

    assert kinds(plan, 0) == ["input", "output"] and len(plan.steps) == 1
    assert plan.workspace_bytes == 0


def test_scratch_follows_the_tensors() -> None:
    plan = plan_of(X, lambda emit, x: [emit(relax.op.matmul(x, relax.const(WEIGHT)))], 1, scratch=(100, 30))

    assert kinds(plan, 0) == ["input", "constant", "output", "workspace", "workspace"]
    assert plan.workspace_bytes == 128 + 64


def test_outputs_that_no_kernel_writes_are_copied() -> None:
    def body(emit: Any, x: Any) -> list[Any]:
        weight = relax.const(WEIGHT)
        y = emit(relax.op.exp(x))
        return [y, x, weight, y, emit(relax.op.reshape(y, (32,)))]

    plan = plan_of(X, body, 5)

    copies = [step for step in plan.steps if isinstance(step, Copy)]
    source_kinds = [plan.buffers[copy.source].kind.value for copy in copies]
    assert source_kinds == ["input", "constant", "output", "output"]
    assert [plan.buffers[copy.destination].offset for copy in copies] == [1, 2, 3, 4]
    assert [buffer.offset for buffer in of_kind(plan, BufferKind.OUTPUT)] == [0, 1, 2, 3, 4]


def test_an_alias_extends_the_life_of_its_buffer() -> None:
    def body(emit: Any, x: Any) -> list[Any]:
        a = emit(relax.op.matmul(x, relax.const(WEIGHT)), "a")
        view = emit(relax.op.reshape(a, (8, 4)), "view")
        for _ in range(3):
            x = emit(relax.op.matmul(x, relax.const(WEIGHT)))
        return [emit(relax.op.matmul(x, view), "last")]

    plan = plan_of(X, body, 1)

    first = plan.steps[0]
    assert isinstance(first, Call)
    a = plan.buffers[first.arguments[-1]]
    assert (a.first_step, a.last_step) == (0, len(plan.steps) - 1)


def test_constants_are_kept_once() -> None:
    def body(emit: Any, x: Any) -> list[Any]:
        a = emit(relax.op.matmul(x, relax.const(WEIGHT)))
        b = emit(relax.op.matmul(a, relax.const(WEIGHT.copy())))
        return [emit(relax.op.matmul(b, relax.const(WEIGHT + 1)))]

    constants = plan_of(X, body, 1).constants

    assert constants.offsets == (0, 256) and constants.nbytes == 512
    assert constants.contents == (WEIGHT.tobytes(), (WEIGHT + 1).tobytes())


def test_what_nobody_reads_is_dropped() -> None:
    def body(emit: Any, x: Any, unused: Any) -> list[Any]:
        emit(relax.op.nn.softmax(x))
        return [emit(relax.op.exp(x))]

    plan = plan_of({**X, "unused": ((3,), "int64")}, body, 1)

    assert len(plan.steps) == len(plan.kernels) == 1
    assert [spec.name for spec in plan.inputs] == ["x", "unused"]


def test_one_output_of_several_is_enough_to_keep_a_call() -> None:
    def body(emit: Any, x: Any) -> list[Any]:
        halves = emit(relax.op.split(x, 2, axis=1))
        return [halves[1]]

    # Fusion would drop the half that nobody reads, so it is left out here.
    graph = read_graph(relax.transform.LegalizeOps()(relax_module(X, body)), ["y"])
    plan = make_plan("net", graph, [Kernel("k0", "split", "", 0, 0, ())], {"split": 0})

    assert kinds(plan, 0) == ["input", "workspace", "output"]
    assert plan.workspace_bytes == 64


def test_empty_tensors_need_no_step() -> None:
    plan = plan_of({"x": ((0, 8), "float32")}, lambda emit, x: [emit(relax.op.exp(x)), x], 2)

    assert plan.steps == () and [spec.nbytes for spec in plan.outputs] == [0, 0]


def test_sources_are_the_nodes_joined_in_the_name() -> None:
    module = relax_module(X, lambda emit, x: [emit(relax.op.matmul(x, relax.const(WEIGHT)), "conv1+bn1+relu1+bn1")])

    steps = read_graph(fused(module), ["y"]).calls

    assert [step.sources for step in steps] == [("conv1", "bn1", "relu1")]


def test_an_operator_that_is_left_is_named() -> None:
    module = relax_module(X, lambda emit, x: [emit(relax.op.exp(x), "stray")])

    with pytest.raises(CompilerError, match=r"relax\.exp is left.*\n.*stray"):
        read_graph(module, ["y"])


def test_the_number_of_names_must_fit() -> None:
    module = fused(relax_module(X, lambda emit, x: [emit(relax.op.exp(x))]))

    with pytest.raises(CompilerError, match="1 results, but 2 output names"):
        read_graph(module, ["y", "z"])
