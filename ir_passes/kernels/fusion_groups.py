"""Which kernels become one: the decisions of fuse_epilogues, without the rewriting.

The calls are visited from last to first. Each either starts a group of its own, of which it is the result, or joins
the one group that all its readers are in. So every group has one result, everything else in it is read inside it
alone, and calling the group where its last call stood can make no cycle. With two contractions before one addition,
the later one takes the addition along, and reads the result of the earlier.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ..core.graph import Var
from .kernel_graph import INJECTIVE, REDUCTION, KernelCall, KernelGraph


@dataclass
class Group:
    """Calls that become one kernel; `members` are in reverse order, the result first."""

    members: list[KernelCall]
    anchor: KernelCall | None = None
    prologue: set[Var] = field(default_factory=set)
    copies: dict[Var, int] = field(default_factory=dict)
    index_uses: dict[Var, int] = field(default_factory=dict)

    @property
    def result(self) -> KernelCall:
        """The call whose result the others see."""
        return self.members[0]

    def in_order(self) -> list[KernelCall]:
        """What feeds the anchor, the anchor, then the rest, each in the order of `main`.

        Schedules take what stands after the anchor for its epilogue, operands of the epilogue included.
        """
        ordered = sorted(self.members, key=lambda call: call.position)
        if self.anchor is None:
            return ordered
        before = [call for call in ordered if call.var in self.prologue]
        after = [call for call in ordered if call.var not in self.prologue and call is not self.anchor]
        return [*before, self.anchor, *after]


@dataclass(frozen=True)
class Limits:
    """The options of fuse_epilogues that the decisions depend on."""

    max_calls: int
    max_copies: int
    max_index_uses: int
    prologue_templates: Collection[str]
    widening_templates: Collection[str]
    transposed_results: bool


def find_groups(graph: KernelGraph, limits: Limits) -> list[Group]:
    """Every call in exactly one group."""
    after_anchor = _reachable_by_an_anchor(graph, limits)
    group_of: dict[Var, Group] = {}
    groups: list[Group] = []
    for call in reversed(list(graph.calls.values())):
        group = _group_of_all_readers(graph, group_of, call)
        if group is None or not _may_join(call, group, after_anchor, limits):
            group = Group([call], call if call.is_anchor else None, copies={call.var: 1})
            group.index_uses[call.var] = call.index_uses
            groups.append(group)
        else:
            _join(call, group)
        group_of[call.var] = group
    return groups


def _group_of_all_readers(graph: KernelGraph, group_of: dict[Var, Group], call: KernelCall) -> Group | None:
    readers = graph.readers_in_graph(call)
    if readers is None:
        return None
    first = group_of[readers[0].var]
    return first if all(group_of[reader.var] is first for reader in readers) else None


def _reachable_by_an_anchor(graph: KernelGraph, limits: Limits) -> set[Var]:
    """Point-wise calls that an anchor before them could take as its epilogue: others should leave them to it."""
    found: set[Var] = set()
    for call in graph.calls.values():
        if not call.is_pointwise or call.masks or (call.widens and _is_left_to_readers(graph, call, limits)):
            continue
        for operand in call.operands:
            producer = graph.calls.get(operand)
            if producer is None or producer.shape != call.shape:
                continue
            readers = graph.readers_in_graph(producer)
            alone = readers is not None and (len(readers) == 1 or all(reader.is_pointwise for reader in readers))
            if alone and (producer.is_anchor or producer.var in found):
                found.add(call.var)
                break
    return found


def _is_left_to_readers(graph: KernelGraph, call: KernelCall, limits: Limits) -> bool:
    """Whether all that read a call are anchors that make integers wider as they read them, or lead there."""
    readers = graph.readers_in_graph(call) or []
    return bool(readers) and all(
        reader.template in limits.widening_templates
        or (reader.is_integer_step and _is_left_to_readers(graph, reader, limits))
        for reader in readers
    )


def _may_join(call: KernelCall, group: Group, after_anchor: set[Var], limits: Limits) -> bool:
    if call.is_whole or group.result.is_whole:
        return False
    readers = [member for member in group.members if member.reads(call)]
    copies = sum(group.copies[reader.var] * reader.reads(call) for reader in readers)
    if len(group.members) >= limits.max_calls or copies > limits.max_copies:
        return False
    if call.index_uses > 1 and _index_uses(call, group, readers) > limits.max_index_uses:
        return False
    if call.is_anchor:
        return group.anchor is None and all(_is_epilogue(member, call, limits) for member in group.members)
    if not call.is_inlinable:
        return False
    anchor = group.anchor
    if anchor is None:
        if call.var in after_anchor:
            return all(_is_epilogue(member, call, limits) for member in group.members)
        if call.narrows and not all(reader.is_pointwise or reader.keeps_rows for reader in readers):
            return False  # fewer bytes are moved after it, and it takes whole vectors before
        return all(_cheap_to_inline(call, reader) for reader in readers)
    if not call.is_pointwise or call.var in after_anchor:
        return False
    if any(reader is anchor or reader.var in group.prologue for reader in readers):
        feeds_only = all(reader is anchor or reader.var in group.prologue for reader in readers)
        takes = anchor.template in limits.prologue_templates or (not anchor.template and anchor.pattern == REDUCTION)
        takes = takes or (anchor.template in limits.widening_templates and (call.is_integer_step or call.masks))
        once = all(reader.reads(call) == 1 for reader in readers if reader is anchor)
        return feeds_only and takes and once and all(_cheap_to_inline(call, reader) for reader in readers)
    return call.elements == group.result.elements


def _index_uses(call: KernelCall, group: Group, readers: list[KernelCall]) -> int:
    """How often a position in the group's result would stand in one that the call reads."""
    return call.index_uses * max(group.index_uses[reader.var] for reader in readers)


def _cheap_to_inline(call: KernelCall, reader: KernelCall) -> bool:
    """Whether no element is computed many times over: a reader that broadcasts the result would do that."""
    return reader.is_anchor or reader.elements <= 2 * call.elements


def _is_epilogue(member: KernelCall, anchor: KernelCall, limits: Limits) -> bool:
    """Whether a member can be computed on the result of an anchor (or of its epilogue) while that is in registers."""
    if member.is_pointwise:
        return member.shape == anchor.shape
    is_last = limits.transposed_results and member.pattern == INJECTIVE and not member.template
    return is_last and member.keeps_rows and sorted(member.shape) == sorted(anchor.shape) and len(member.operands) == 1


def _join(call: KernelCall, group: Group) -> None:
    readers = [member for member in group.members if member.reads(call)]
    group.copies[call.var] = sum(group.copies[reader.var] * reader.reads(call) for reader in readers)
    group.index_uses[call.var] = _index_uses(call, group, readers)
    group.members.append(call)
    if call.is_anchor:
        group.anchor = call
        group.copies[call.var] = 1
    elif group.anchor is not None and any(r is group.anchor or r.var in group.prologue for r in readers):
        group.prologue.add(call.var)
