"""Store in 16 bits what loses little by it: weights, and results that were summed in float32."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, s_tir, te, tirx
from tvm.ir import TensorLoad

from ...ir_types import Buffer, Load, Node, PrimFunc, Scalar, Stmt
from ..core.base import GraphPass, PassResult
from ..core.buffers import with_buffers
from ..core.constants import array_of, constant, is_constant, numpy_dtype
from ..core.graph import Binding, Expr, Graph, Var, leaves, substitute
from ..core.rewriter import dtype_of
from .kernel_graph import KernelCall, kernel_graph, without_uncalled
from .windows import Specializations

WIDE = "float32"
_CHOICE = "prim.if_then_else"
# Templates whose results may be rounded: their sums were made in float32, and a result is rounded once.
_TOLERANT = (
    *("attention", "contraction", "dot_product", "flash_attention", "rows", "simt", "sparse", "tensor_cores"),
    *("warp_groups", "window", "winograd"),
)
# Constants with fewer elements are biases and the like: nothing is won by rounding them.
_MIN_CONSTANT = 1 << 12


@dataclass(frozen=True)
class NarrowStorage(GraphPass):
    """Buffers between kernels, and large constants, of float32 become `dtype`; all arithmetic stays in float32.

    After fusion, before scheduling. Kernels get twins that convert where they load and store. Constants become narrow
    where all that reads them are contractions and the like, or kernels that only move values. Results become narrow
    where nothing but kernels reads them, and either every reader uses them as an operand of `dtype` anyway, or their
    kernel only moves values that are narrow, or its template sums in float32. What else there is (inputs and outputs of
    the model, lone reductions, exponentials, comparisons, whatever becomes an integer) keeps float32. Contract: the
    types of the model's inputs and outputs are the same.

    Options:
        dtype: ``float16`` or ``bfloat16``.
        results: whether results of kernels become narrow, or constants alone.
    """

    dtype: str
    results: bool = True

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`; kernels that read or write narrow buffers get twins."""
        graph = Graph.read(module)
        plan = _Plan(module, graph, self.dtype)
        narrow = plan.results() if self.results else set()
        constants = {each: _rounded(each, self.dtype) for each in plan.constants()}
        twins = Specializations(module.clone())
        new: dict[Var, Expr] = {}
        bindings: list[Binding] = []
        for var, value in graph.bindings:
            call = plan.calls.get(var)
            if call is None:
                value = _renamed(value, new)
            else:
                operands = [
                    constants.get(each, each) if is_constant(each) else new.get(each, each) for each in call.operands
                ]
                value = _narrowed(twins, call, operands, self.dtype, var in narrow)
            if isinstance(var.ty, relax.TensorType) and dtype_of(value) != dtype_of(var):
                new[var] = relax.DataflowVar(var.name, value.ty)
            bindings.append((new.get(var, var), value))
        if not twins.any:
            return PassResult(module, False)
        module = replace(graph, bindings=tuple(bindings)).write(twins.module)
        return PassResult(without_uncalled(module), True)


class _Plan:
    """What of a graph may be narrow."""

    def __init__(self, module: tvm.IRModule, graph: Graph, dtype: str) -> None:
        self.calls = kernel_graph(module, graph).calls
        self._dtype = dtype
        self._readers: dict[Var, list[tuple[KernelCall, int]]] = defaultdict(list)
        self._aliases: dict[Var, Expr] = {}
        self._order = [var for var, _ in graph.bindings]
        self._fixed = {leaf for output in graph.outputs for leaf in leaves(output)}
        for var, value in graph.bindings:
            if var in self.calls:
                for index, operand in enumerate(self.calls[var].operands):
                    self._readers[operand].append((self.calls[var], index))
            elif _is_reshape(value):
                self._aliases[var] = value.args[0]
            else:
                self._fixed.update(leaves(value))
        for var in reversed(self._order):  # what an alias's readers need, its source needs as well
            if var in self._aliases:
                self._readers[self._aliases[var]] += self._readers[var]
                if var in self._fixed:
                    self._fixed.add(self._aliases[var])

    def constants(self) -> list[Expr]:
        """The float32 constants to round."""
        return [
            each
            for each, readers in self._readers.items()
            if is_constant(each)
            and dtype_of(each) == WIDE
            and all(call.template in _TOLERANT or moves_only(call.function) for call, _ in readers)
        ]

    def results(self) -> set[Var]:
        """The results of kernels to round."""
        narrow: set[Var] = set()
        for var in self._order:
            source = self._aliases.get(var)
            if source in narrow:
                narrow.add(var)  # so that what moves the alias is known to move narrow values
            elif var in self.calls and self._may_round(self.calls[var], narrow):
                narrow.add(var)
        return narrow

    def _may_round(self, call: KernelCall, narrow: set[Var]) -> bool:
        readers = self._readers[call.var]
        if dtype_of(call.var) != WIDE or call.var in self._fixed or not readers:
            return False
        if call.template in _TOLERANT:
            return True
        if moves_only(call.function):
            return all(operand in narrow for operand in call.operands if dtype_of(operand) == WIDE)
        return all(_is_operand(reader.function, index, self._dtype) for reader, index in readers)


def _is_reshape(value: Expr) -> bool:
    return isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.Op) and value.op.name == "relax.reshape"


def _renamed(value: Expr, new: Mapping[Var, Expr]) -> Expr:
    changed = substitute(value, new)
    return value if changed is value else relax.BlockBuilder().normalize(changed)


def _rounded(operand: Expr, dtype: str) -> Expr:
    """A constant in `dtype`; itself where it is small, or has numbers that `dtype` has not."""
    array = array_of(operand)
    assert array is not None
    if array.size < _MIN_CONSTANT:
        return operand
    with np.errstate(over="ignore"):
        rounded = array.astype(numpy_dtype(dtype))
    fits = np.isfinite(rounded.astype(WIDE)) | ~np.isfinite(array)
    return constant(rounded) if fits.all() else operand


def moves_only(function: PrimFunc) -> bool:
    """Whether a kernel computes nothing: every float that it stores is one that it loaded, or a constant."""
    arithmetic: list[Node] = []

    def note(node: Node) -> None:
        if isinstance(node.ty, tvm.ir.PrimType) and str(node.ty.dtype).startswith(("float", "bfloat")):
            arithmetic.append(node)

    def note_call(node: Node) -> None:
        if str(node.op.name) != _CHOICE:
            note(node)

    kinds = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Mod, tirx.FloorDiv, tirx.FloorMod, tirx.Min, tirx.Max)
    tvm_ffi.structural_walk(function.body, [*((kind, note) for kind in (*kinds, tirx.Cast)), (tvm.ir.Call, note_call)])
    return not arithmetic


def _is_operand(function: PrimFunc, index: int, dtype: str) -> bool:
    """Whether a kernel rounds a parameter to `dtype` wherever it loads it."""
    parameter = function.params[index]
    rounded: list[Scalar] = []

    def note(cast: Scalar) -> None:
        if str(cast.ty.dtype) == dtype and isinstance(cast.value, TensorLoad) and cast.value.source.same_as(parameter):
            rounded.append(cast)

    tvm_ffi.structural_walk(function.body, (tirx.Cast, note))
    return len(rounded) == sum(bool(load.source.same_as(parameter)) for load in _loads(function.body))


def _loads(body: Stmt) -> list[Load]:
    found: list[Load] = []
    tvm_ffi.structural_walk(body, (TensorLoad, found.append))
    return found


def _narrowed(twins: Specializations, call: KernelCall, operands: list[Expr], dtype: str, narrow_result: bool) -> Expr:
    """`call` of new operands, by a kernel that takes them."""
    narrow = tuple(dtype_of(new) != dtype_of(old) for new, old in zip(operands, call.operands, strict=True))
    if not any(narrow) and not narrow_result:
        return call.value
    gvar, chosen = call.value.args[0], (*narrow, narrow_result)
    types = [
        relax.TensorType(type_.shape, dtype) if is_narrow else None
        for type_, is_narrow in zip(gvar.ty.params, chosen, strict=True)
    ]
    twin = twins.get(gvar, chosen, lambda function: with_narrow_buffers(function, chosen, dtype), types)
    ty = relax.TensorType(call.shape, dtype if narrow_result else dtype_of(call.var))
    return relax.BlockBuilder().normalize(relax.call_tir(twin, relax.Tuple(operands), ty))


def with_narrow_buffers(function: PrimFunc, narrow: Iterable[bool], dtype: str) -> PrimFunc:
    """A kernel some of whose float32 parameters are of `dtype`: it converts where it loads and stores.

    A result that is read again while it is made, as partial sums are, is made in a buffer inside and then rounded.

    Args:
        narrow: which parameters, in order, results last.
    """
    chosen = list(narrow)
    parameters = [
        tirx.decl_buffer(list(wide.shape), dtype, str(wide.name), layout=wide.layout) if is_narrow else wide
        for wide, is_narrow in zip(function.params, chosen, strict=True)
    ]
    twins = list(zip(function.params, parameters, strict=True))
    result = function.params[-1]
    is_read = chosen[-1] and any(bool(each.source.same_as(result)) for each in _loads(function.body))
    if is_read:
        twins[-1] = (result, tirx.decl_buffer(list(result.shape), WIDE, f"wide_{result.name}", layout=result.layout))

    body = _with_buffers(function.body, twins)
    if is_read:
        body = _rounded_at_the_end(body, twins[-1][1], parameters[-1])
    return tirx.PrimFunc(parameters, body, function.ret_type, function.attrs)


def _with_buffers(body: Stmt, twins: Sequence[tuple[Buffer, Buffer]]) -> Stmt:
    """A body that uses other buffers, converting where it loads and stores.

    Args:
        twins: pairs of a buffer and the one to use in its place.
    """

    def cast(node: Node) -> Node:
        return _cast(str(node.ty.dtype), node.value)

    return with_buffers(
        body,
        dict(twins),
        stored=lambda buffer, value: _cast(str(buffer.dtype), value),
        loaded=lambda buffer, load: _cast(str(buffer.dtype), load),
        also=[(tirx.Cast, cast)],
    )


def _rounded_at_the_end(body: Stmt, wide: Buffer, narrow: Buffer) -> Stmt:
    """The body of a kernel that makes `wide`, with a block behind it that makes `narrow` of it."""
    source = te.placeholder(list(wide.shape), WIDE, name="wide")
    rounded = te.compute(source.shape, lambda *index: source[index].astype(str(narrow.dtype)), name="rounded")
    copy = te.create_prim_func([source, rounded])
    twins = list(zip(copy.params, (wide, narrow), strict=True))

    last = _with_buffers(copy.body.block.body, twins)
    root = body.block
    statements = [*(root.body.seq if isinstance(root.body, tirx.SeqStmt) else [root.body]), last]
    buffers = [*root.alloc_buffers, wide]
    block = s_tir.SBlock([], [], [], root.name_hint, tirx.SeqStmt(statements), None, buffers, [], root.annotations)
    return s_tir.SBlockRealize([], True, block)


def _cast(dtype: str, value: Scalar) -> Scalar:
    """A conversion; none to the dtype that a value has, or that a conversion inside made it from."""
    if isinstance(value, tvm.ir.Call) and str(value.op.name) == _CHOICE and dtype != WIDE:
        condition, *values = value.args
        if any(isinstance(each, tirx.Cast) and str(each.value.ty.dtype) == dtype for each in values):
            return tirx.if_then_else(condition, *(_cast(dtype, each) for each in values))
    if str(value.ty.dtype) == dtype:
        return value
    if isinstance(value, tirx.Cast) and str(value.value.ty.dtype) == dtype and str(value.ty.dtype) == WIDE:
        return value.value
    return tirx.Cast(dtype, value)
