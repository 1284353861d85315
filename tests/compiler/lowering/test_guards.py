"""Conditions around sums: shared by neighbours, and out of loops that they do not depend on."""

from __future__ import annotations

import tvm
from tilewright.compiler.lowering.guards import share_guards
from tilewright.schedules.tensorir.rebuild import found
from tvm import tirx
from tvm.script import tirx as T  # noqa: N812 - TVMScript is written so


@T.prim_func(s_tir=True)
def sums(a: T.Buffer((8,), "int32"), s: T.Buffer((4,), "int32"), n: T.int32):
    for i in T.serial(8):
        s[0] = T.if_then_else(n < i and i < 7, s[0] + a[i], s[0])
        s[1] = T.if_then_else(n < i, s[1] + a[i], s[1])
        s[2] = T.if_then_else(i < 7 and n < i, s[2] + a[i], s[2])
        s[3] = T.if_then_else(a[i] < 3, s[3] + a[i], s[3])


@T.prim_func(s_tir=True)
def band(a: T.Buffer((64,), "int32"), b: T.Buffer((64,), "int32"), n: T.int32):
    for y in T.serial(8):
        for x in T.serial(8):
            b[y * 8 + x] = T.if_then_else(y < n, a[y * 8 + x], 0)


@T.prim_func(s_tir=True)
def framed(a: T.Buffer((48,), "int32"), b: T.Buffer((96,), "int32"), n: T.int32):
    for x in T.serial(8):
        for c in T.serial(3):
            b[x * 3 + c] = T.if_then_else(x >= 1 and x < 6 and n < 4, a[x * 3 + c], 0)


@T.prim_func(s_tir=True)
def every_other(a: T.Buffer((8,), "int32"), b: T.Buffer((8,), "int32")):
    for x in T.serial(8):
        b[x] = T.if_then_else(x % 2 < 1, a[x], 0)


@T.prim_func(s_tir=True)
def reflected(a: T.Buffer((8,), "int32"), b: T.Buffer((8,), "int32")):
    for x in T.serial(8):
        b[x] = T.if_then_else(x < 4, a[x], a[7 - x])


@T.prim_func(s_tir=True)
def rolled(a: T.Buffer((96,), "int32"), b: T.Buffer((96,), "int32")):
    for y in T.parallel(12):
        for x in T.serial(8):
            b[y * 8 + x] = T.if_then_else(y >= 1, a[y * 8 + x - 8], a[y * 8 + x + 88])


def branches(function: tvm.tirx.PrimFunc) -> list[tvm.tirx.IfThenElse]:
    return found(share_guards(function).body, tirx.IfThenElse)


def test_neighbours_share_a_branch() -> None:
    inner_first, inner_second, outer = branches(sums)

    assert str(outer.condition) == "n < i" and len(outer.then_case.seq) == 3
    assert [str(each.condition) for each in (inner_first, inner_second)] == ["i < 7", "i < 7"]
    # What is decided by what memory holds stays a choice.
    choices = [call for call in found(share_guards(sums).body, tvm.ir.Call) if "if_then_else" in str(call.op)]
    assert len(choices) == 1


def test_a_copy_and_zeros_are_two_loops() -> None:
    (branch,) = branches(band)
    loops = [branch.then_case, branch.else_case]

    assert all(isinstance(loop, tirx.For) and isinstance(loop.body, tirx.BufferStore) for loop in loops)
    assert not loops[0].loop_var.same_as(loops[1].loop_var)


def test_a_copy_between_zeros() -> None:
    (branch,) = branches(framed)
    parts = [(int(each.min), int(each.extent)) for each in branch.then_case.seq]
    loops = found(branch, tirx.For)

    assert str(branch.condition) == "n < 4" and parts == [(0, 1), (1, 5), (6, 2)]
    assert int(branch.else_case.extent) == 8
    assert len({each.loop_var for each in loops}) == len(loops) == 8


def test_a_choice_that_ends_is_two_loops() -> None:
    loops = found(share_guards(reflected).body, tirx.For)

    assert sorted((int(each.min), int(each.extent)) for each in loops) == [(0, 4), (4, 4)]


def test_a_choice_for_each_iteration_stays_one() -> None:
    assert branches(every_other) == []
    (loop,) = found(share_guards(every_other).body, tirx.For)
    assert isinstance(loop.body, tirx.BufferStore)


def test_threads_share_one_loop_from_0_on() -> None:
    (branch,) = branches(rolled)
    *inner, outer = found(share_guards(rolled).body, tirx.For)

    assert outer.kind == tirx.ForKind.PARALLEL and (int(outer.min), int(outer.extent)) == (0, 12)
    assert len(inner) == 2 and found(branch.then_case, tirx.For) and found(branch.else_case, tirx.For)
