"""Rows behind others, in the memory of these: the kernel is not given the state to read, but to write."""

from __future__ import annotations

import numpy as np
import tvm
from tilewright.ir_passes import AppendInPlace
from tilewright.ir_passes.core.graph import Graph
from tilewright.ir_passes.dialect.append import append
from tvm import relax

STATE, NEW = (2, 9, 3), (2, 4, 3)


def appended() -> tvm.IRModule:
    """A state whose rows are those of another tensor, from a number of them on; lowered."""
    builder = relax.BlockBuilder()
    state, new = (relax.Var(n, relax.TensorType(s, "float32")) for n, s in (("state", STATE), ("new", NEW)))
    begin, count = (relax.Var(n, relax.TensorType([], "int64")) for n in ("begin", "count"))
    with builder.function("main", [state, new, begin, count]):
        with builder.dataflow():
            value = builder.emit(append(state, new, begin, count, 1))
            result = builder.emit_output(relax.Tuple([value]))
        builder.emit_func_output(result)
    return relax.transform.LegalizeOps()(builder.get())


def test_the_kernel_writes_new_rows_into_the_state() -> None:
    module = appended()
    result = AppendInPlace()(module)
    assert result.modified
    ((_, call),) = Graph.read(result.module).bindings
    assert call.op.name == "relax.call_tir_inplace"
    operands = list(call.args[1].fields)
    assert [str(each.name) for each in operands] == ["new", "begin", "count", "state"]
    assert [int(each) for each in call.attrs.inplace_indices] == [3]
    kernel = tvm.compile(
        tvm.IRModule({"kernel": result.module[call.args[0]].with_attr("global_symbol", "kernel")}), target="llvm"
    )
    state, new = np.arange(54, dtype=np.float32).reshape(STATE), np.full(NEW, -1, np.float32)
    arrays = [tvm.runtime.tensor(each) for each in (new, np.asarray(5), np.asarray(3), state)]
    kernel["kernel"](*arrays)
    state[:, 5:8] = -1
    assert np.array_equal(arrays[3].numpy(), state)


def test_without_states_nothing_changes() -> None:
    module = appended()
    done = AppendInPlace()(module).module
    assert not AppendInPlace()(done).modified
