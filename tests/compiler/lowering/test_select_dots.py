"""Instructions in the place of marked loops: addresses, tiles and their configuration."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
import tvm_ffi
from tilewright.annotations import LHS, RHS, ROLE, ROLES, SUMS, TILES, UNIT, operand
from tilewright.compiler.lowering.select_dots import select_dots
from tilewright.targets.x86.levels import DOT_UNITS
from tvm import tirx

AMX, VECTOR = (unit for unit in DOT_UNITS if unit.rhs == "bfloat16")
UNITS = {unit.name: unit for unit in (AMX, VECTOR)}
EXTENTS = {"register": 2, "row": 14, "vector": 2, "lane": 16, "group": 16, "term": 2}


def marked(unit: str, left_index: Any, extents: dict[str, int] = EXTENTS) -> Any:
    """A function of one loop over 28 tiles, one over 4 chunks of k, and a step in it, A read at `left_index`."""
    sums = tirx.decl_buffer([4096], "float32", "sums", scope="local")
    left, right = (tirx.decl_buffer([1 << 20], "bfloat16", name) for name in ("left", "right"))
    tile, chunk = tirx.Var("tile", "int64"), tirx.Var("chunk", "int64")
    loops = {role: tirx.Var(role, "int64") for role in ROLES}
    row = tile * 28 + loops["register"] * 14 + loops["row"]
    k = chunk * 32 + loops["group"] * 2 + loops["term"]
    at = (loops["register"] * 14 + loops["row"]) * 32 + loops["vector"] * 16 + loops["lane"]
    piece = (chunk * 2 + loops["vector"]) * 16 + loops["group"]
    packed = tirx.BufferLoad(right, [(piece * 16 + loops["lane"]) * 2 + loops["term"]])
    factor = operand(LHS, tirx.BufferLoad(left, [left_index(row, k)]).astype("float32"))
    term = factor * operand(RHS, packed.astype("float32"))
    body: Any = tirx.BufferStore(sums, tirx.BufferLoad(sums, [at]) + term, [at])
    for role in reversed(ROLES):
        annotations = {**ROLE.entry(role), **(UNIT.entry(unit) if role == "register" else {})}
        body = loop(loops[role], extents[role], body, annotations)
    body = loop(tile, 28, loop(chunk, 4, body, SUMS.entry()), TILES.entry())
    return tirx.PrimFunc([left, right], tirx.SeqStmt([tirx.AllocBuffer(sums), body]))


def loop(variable: Any, extent: int, body: Any, annotations: dict[str, Any]) -> Any:
    zero, count = tirx.IntImm("int64", 0), tirx.IntImm("int64", extent)
    return tirx.For(variable, zero, count, tirx.ForKind.SERIAL, body, None, annotations)


def intrinsics(function: Any) -> list[tuple[str, list[Any]]]:
    """Name and arguments of the calls of LLVM's intrinsics, in order."""
    found: list[tuple[str, list[Any]]] = []

    def note(call: Any) -> None:
        if str(call.op.name) == "tirx.call_llvm_intrin":
            name = tvm.target.codegen.llvm_get_intrinsic_name(int(call.args[0]))
            found.append((str(name).removeprefix("llvm.x86."), list(call.args[1:])))

    tvm_ffi.structural_walk(function.body, (tvm.ir.Call, note))
    return found


def test_a_step_of_the_matrix_unit() -> None:
    calls = intrinsics(select_dots(marked(AMX.name, lambda row, k: row * 128 + k), UNITS))
    assert [name for name, _ in calls] == [
        "ldtilecfg",
        *("tileloadd64",) * 4,
        *("tdpbf16ps",) * 4,
        *("tilestored64",) * 4,
        "tilerelease",
    ]
    loads = [arguments for name, arguments in calls if name == "tileloadd64"]
    assert [int(arguments[0]) for arguments in loads] == [6, 4, 7, 5]  # B's tiles and A's in turn
    assert [int(arguments[2]) for arguments in loads] == [64, 256, 64, 256]  # bytes from row to row
    products = [tuple(map(int, arguments)) for name, arguments in calls if name == "tdpbf16ps"]
    assert products == [(0, 4, 6), (1, 4, 7), (2, 5, 6), (3, 5, 7)]


def test_rows_of_lines_are_found_at_one_distance() -> None:
    # Lines of 56 pixels, 60 in memory: instructions of 14 rows never leave one.
    calls = intrinsics(select_dots(marked(AMX.name, lambda row, k: row // 56 * 60 * 64 + row % 56 * 64 + k), UNITS))
    assert [int(arguments[2]) for name, arguments in calls if name == "tileloadd64"][1::2] == [128, 128]


def test_rows_that_leave_a_line_are_refused() -> None:
    with pytest.raises(ValueError, match="not linear"):
        select_dots(marked(AMX.name, lambda row, k: row // 10 * 999 + row % 10 * 64 + k), UNITS)


def test_a_unit_that_is_not_there_leaves_the_loops() -> None:
    assert not intrinsics(select_dots(marked(AMX.name, lambda row, k: row * 128 + k), {}))


def test_a_step_of_the_vector_unit() -> None:
    extents = {**EXTENTS, "row": 1, "group": 1}
    function = select_dots(marked(VECTOR.name, lambda row, k: row * 128 + k, extents), UNITS)
    stores: list[Any] = []
    tvm_ffi.structural_walk(function.body, (tirx.BufferStore, stores.append))
    assert len(stores) == 4
    for store in stores:
        assert str(store.value.ty.dtype) == "float32x16"
    assert not intrinsics(function)
