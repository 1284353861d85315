"""`main` after legalization as a graph of kernel calls: what each call computes, and who reads its result."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import tvm
import tvm_ffi
from tvm import DataType, relax, tirx
from tvm.ir import TensorLoad

from ... import hidden_integers as integers
from ...annotations import MASKS, PATTERN, TEMPLATE, WHOLE
from ...hidden_floats import name_of
from ...ir_types import Load, PrimFunc, Scalar
from ..core.graph import Expr, Graph, Var, leaves, substitute
from ..core.rewriter import dtype_of, shape_of

# The kinds that relax.transform.AnnotateTIROpPattern tells apart (attribute `op_pattern`).
ELEMENTWISE, BROADCAST, INJECTIVE, REDUCTION, CONTRACTION, OPAQUE = 0, 1, 2, 3, 4, 8
_BYTE_BITS = 8


@dataclass(frozen=True)
class KernelCall:
    """One `call_tir` with one result whose shape is known.

    Args:
        position: index of its binding in `main`.
        operands: the leaves that it reads, in the order of the kernel's parameters.
        pattern: `op_pattern` of the kernel.
        template: the template that the kernel is made for, or "".
        elements: number of elements of the result.
    """

    var: Var
    value: Expr
    position: int
    function: PrimFunc
    operands: tuple[Expr, ...]
    pattern: int
    template: str
    shape: tuple[int, ...]
    elements: int

    @property
    def is_anchor(self) -> bool:
        """Whether the kernel is to have a schedule built around it: it reduces, or it has a template."""
        return bool(self.template) or self.pattern in (REDUCTION, CONTRACTION)

    @property
    def is_whole(self) -> bool:
        """Whether nothing can be computed inside the kernel."""
        return bool(WHOLE.of(self.function))

    @property
    def is_pointwise(self) -> bool:
        """Whether each element of the result needs one element of each operand (operands may broadcast)."""
        return not self.template and self.pattern in (ELEMENTWISE, BROADCAST)

    @property
    def is_inlinable(self) -> bool:
        """Whether the kernel may be computed where it is read."""
        return not self.template and self.pattern in (ELEMENTWISE, BROADCAST, INJECTIVE)

    @cached_property
    def is_integer_step(self) -> bool:
        """Whether an element is a cast, a sum or a difference of an integer and numbers: no work to repeat."""
        if not self.is_pointwise or len(self.operands) != 1 or "int" not in dtype_of(self.operands[0]):
            return False
        work: list[Scalar] = []

        def note(call: Scalar) -> None:
            if name_of(call) not in (integers.ADD, integers.SUBTRACT):
                work.append(call)

        tvm_ffi.structural_walk(self.function.body, [(tvm.ir.Call, note), ((tirx.Mul, tirx.Div), work.append)])
        return not work

    @property
    def masks(self) -> bool:
        """Whether it puts a value in place of what reductions after it must not see."""
        return bool(MASKS.of(self.function))

    @property
    def widens(self) -> bool:
        """Whether it makes integers of 8 bits wider, and little else."""
        if not self.is_integer_step:
            return False
        before, after = (DataType(each).bits for each in (dtype_of(self.operands[0]), str(self.value.ty.dtype)))
        return bool(before == _BYTE_BITS < after)

    @cached_property
    def index_uses(self) -> int:
        """How often a position in the result stands in one position that is read: inlining multiplies the numbers."""
        if self.pattern != INJECTIVE:
            return 1
        counts = [1]

        def note(load: Load) -> None:
            used: Counter[Scalar] = Counter()
            for index in load.indices:
                tvm_ffi.structural_walk(index, (tirx.Var, lambda variable: used.update([variable])))
            counts.extend(used.values())

        tvm_ffi.structural_walk(self.function.body, (TensorLoad, note))
        return max(counts)

    @cached_property
    def keeps_rows(self) -> bool:
        """Whether the last axis of all that is read is the last one of the result: rows move, and stay rows."""
        last: list[list[Scalar]] = []

        def note(access: Load) -> None:
            last.append(list(access.indices)[-1:])

        tvm_ffi.structural_walk(self.function.body, [(TensorLoad, note), (tirx.BufferStore, note)])
        return all(index and index[0].same_as(last[0][0]) for index in last)

    @property
    def narrows(self) -> bool:
        """Whether bytes are made of wider elements."""
        bits = [int(DataType(str(each.ty.dtype)).bits) for each in (self.var, *self.operands)]
        return bits[0] <= _BYTE_BITS < max(bits)

    def reads(self, other: KernelCall) -> int:
        """How often this call has the result of `other` as an operand."""
        return sum(1 for operand in self.operands if operand.same_as(other.var))


@dataclass
class KernelGraph:
    """The calls that fusion may touch, and the readers of every variable.

    `readers[v]` holds one entry a binding that reads `v`: its variable. Outputs of the model are in `escaping`,
    together with everything read by a binding that is no `KernelCall`.
    """

    calls: dict[Var, KernelCall]
    readers: dict[Var, list[KernelCall]] = field(default_factory=lambda: defaultdict(list))
    escaping: set[Var] = field(default_factory=set)

    def readers_in_graph(self, call: KernelCall) -> list[KernelCall] | None:
        """All readers of a call's result, or None when something else reads it as well (or nothing does)."""
        if call.var in self.escaping or not self.readers[call.var]:
            return None
        return self.readers[call.var]


def kernel_graph(module: tvm.IRModule, graph: Graph) -> KernelGraph:
    """Reads the calls of `graph`."""
    result = KernelGraph({})
    for position, (var, value) in enumerate(graph.bindings):
        call = _kernel_call(module, position, var, value)
        if call is None:
            result.escaping.update(leaves(value))
            continue
        result.calls[var] = call
        for leaf in dict.fromkeys(leaves(value)):
            result.readers[leaf].append(call)
    for output in graph.outputs:
        result.escaping.update(leaves(output))
    return result


def renamed(value: Expr, names: Mapping[Var, Expr]) -> Expr:
    """`value`, of the type it has, reading other variables."""
    new = substitute(value, names)
    if new is value:
        return value
    if isinstance(new, tvm.ir.Call):
        return tvm.ir.Call(new.op, list(new.args), new.attrs, list(new.ty_args), ret_ty=value.ty)
    return relax.BlockBuilder().normalize(new)


def without_uncalled(module: tvm.IRModule) -> tvm.IRModule:
    """The module without the PrimFuncs that `main` does not call."""
    called = {
        value.args[0]
        for _, value in Graph.read(module).bindings
        if isinstance(value, tvm.ir.Call) and value.args and isinstance(value.args[0], relax.GlobalVar)
    }
    functions = {
        gvar: function
        for gvar, function in module.functions.items()
        if gvar in called or not isinstance(function, tirx.PrimFunc)
    }
    if len(functions) == len(module.functions):
        return module
    return tvm.IRModule(functions, attrs=module.attrs, global_infos=module.global_infos)


def is_call_tir(value: Expr) -> bool:
    """Whether a value is a call of a kernel."""
    return isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.Op) and value.op.name == "relax.call_tir"


def _kernel_call(module: tvm.IRModule, position: int, var: Var, value: Expr) -> KernelCall | None:
    if not is_call_tir(value) or len(value.args) != 2 or not isinstance(value.args[1], relax.Tuple):
        return None
    function = module[value.args[0]]
    shape = shape_of(var)
    if not isinstance(function, tirx.PrimFunc) or shape is None or not function.attrs:
        return None
    operands = tuple(value.args[1].fields)
    if any(isinstance(operand, relax.Tuple) for operand in operands):
        return None
    pattern = PATTERN.of(function)
    pattern = OPAQUE if pattern is None else pattern
    template = TEMPLATE.of(function) or ""
    return KernelCall(var, value, position, function, operands, pattern, template, shape, math.prod(shape))
