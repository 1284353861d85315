"""Lowered kernels as functions of C99: plain loops over restrict pointers, sums in variables.

    void net_k0_conv(const float *restrict x, const float *restrict weights, float *restrict y) {
      for (int32_t i = 0; i < 16; ++i) {
        float sum_0 = 0.0f;
        ...

A buffer on the stack whose every index is a number becomes variables, which any compiler keeps in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, TensorLoad

from ...annotations import ROLLED
from ...errors import CompilerError
from ...failures import remembered
from ...hidden_floats import dtype_of, name_of
from ...ir_types import Buffer, Node, PrimFunc, Stmt, Var
from ...targets.target import Target
from .c_expressions import Expressions, is_prefetch
from .c_literals import c_type
from .c_names import Names
from .c_used import Used
from .c_vectors import base_of, is_vector


@dataclass(frozen=True)
class Parameter:
    """A pointer that a kernel takes."""

    name: str
    dtype: str
    is_written: bool
    is_alone: bool = True  # no other pointer reaches what it points to, unless neither writes

    def __str__(self) -> str:
        const, restrict = "" if self.is_written else "const ", "restrict " if self.is_alone else ""
        return f"{const}{c_type(self.dtype)} *{restrict}{self.name}"


@dataclass(frozen=True)
class KernelInC:
    """A kernel's function.

    Attributes:
        copies: where elements are stored as they are loaded, by the names of buffers: to which, and from which.
    """

    symbol: str
    parameters: tuple[Parameter, ...]
    body: tuple[str, ...]
    copies: frozenset[tuple[str, str]] = frozenset()

    @property
    def moves(self) -> bool:
        """Whether it copies what compilers cannot tell from where it goes to: some make memmove of it."""
        shared = {each.name for each in self.parameters if not each.is_alone}
        return any(to == source or {to, source} & shared for to, source in self.copies)

    @property
    def declaration(self) -> str:
        """Its prototype, without a semicolon."""
        return f"void {self.symbol}({', '.join(map(str, self.parameters)) or 'void'})"

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join([self.declaration + " {", *self.body, "}", ""])


def _texts_of(target: Target) -> Callable[[str], str]:
    """The text of a function of the target's, or of its units', by its name; empty for others."""
    texts = {each.name: each.text for each in target.functions}
    units = [unit.instructions() for unit in target.units]
    return lambda name: texts.get(name, "") or next(filter(None, (unit.text_of(name) for unit in units)), "")


class KernelWriter:
    """Writes one function.

    Attributes:
        rolled: what leaves a loop one.
    """

    rolled: ClassVar[str] = "#pragma GCC unroll 1"

    def __init__(self, function: PrimFunc, used: Used, target: Target) -> None:
        self.function = function
        self.names = Names()
        self.express = Expressions(used, self.names.of, self.element, self.place, _texts_of(target), target.c_vectors)
        self.lanes = target.c_vectors.lanes if target.c_vectors is not None else 1
        self.read: set[Node] = set()  # buffers that are parameters, and read
        self.pointers: dict[Node, str] = {}  # a buffer that is a parameter, by the parameter's name
        self.views: dict[Node, Node] = {}  # a buffer on the stack under another name, by the buffer
        self.split: set[Node] = set()  # buffers whose elements are variables
        self.in_vectors: set[Node] = set()  # buffers whose vectors are variables
        self.copies: set[tuple[str, str]] = set()  # as `KernelInC` has them; variables are none

    def written(self, symbol: str) -> KernelInC:
        """The function, under a symbol."""
        for parameter in self.function.params:
            self.names.of(parameter)
        stored = self.accesses(self.function.body)
        body = tuple(self.indented(self.statement(self.function.body)))
        parameters = tuple(
            Parameter(self.names.of(each), str(each.ty.element_type.dtype), self.names.of(each) in stored)
            for each in self.function.params
        )
        unread = {each.name for each in parameters} - {self.pointers[each] for each in self.read}
        unused = (f"  (void){each.name};" for each in parameters if each.name in unread and not each.is_written)
        return KernelInC(symbol, parameters, (*unused, *body), frozenset(self.copies))

    def accesses(self, body: Stmt) -> set[str]:
        """Looks through all accesses of a body; returns the parameters that are stored to."""
        declared: list[Node] = []
        tvm_ffi.structural_walk(self.function.body, (tirx.DeclBuffer, declared.append))
        for each in declared:
            data = each.data
            if isinstance(data, Call) and name_of(data) == "tirx.buffer_data":
                self.view(each.buffer, data.args[0])
            elif isinstance(data, tirx.Var):
                self.pointers[each.buffer] = self.names.of(data)
            else:
                raise CompilerError("a buffer is at an address that is computed")
        stored: set[str] = set()
        self.read = set()
        by_element: set[Node] = set()
        by_vector: set[Node] = set()
        moving: set[Node] = set()
        stored_whole: set[Node] = set()
        copies: list[tuple[Node, Node]] = []

        def note(buffer: Buffer, indices: Sequence[Node], stores: bool) -> None:
            if len(indices) != 1:
                raise CompilerError(f"the buffer {buffer.name} is not flat")
            (index,) = indices
            vector = isinstance(index, tirx.Ramp) and isinstance(index.base, tirx.IntImm)
            whole = vector and index.lanes == self.lanes and int(index.base) % self.lanes == 0
            kind = by_vector if whole else by_element if isinstance(index, tirx.IntImm) else moving
            kind.add(self.views.get(buffer, buffer))
            if whole and stores:
                stored_whole.add(self.views.get(buffer, buffer))

        @remembered
        def note_load(load: Node) -> None:
            note(load.source, load.indices, False)
            if load.source in self.pointers:
                self.read.add(load.source)

        @remembered
        def note_store(store: Node) -> None:
            note(store.buffer, store.indices, True)
            if store.buffer in self.pointers:
                stored.add(self.pointers[store.buffer])
            if isinstance(store.value, TensorLoad):
                copies.append((store.buffer, store.value.source))

        tvm_ffi.structural_walk(body, [(TensorLoad, note_load), (tirx.BufferStore, note_store)])
        allocated: list[Node] = []
        tvm_ffi.structural_walk(body, (tirx.AllocBuffer, allocated.append))
        # What is written by element may be read in vectors, which are made of the elements.
        self.split = {each.buffer for each in allocated} - moving - stored_whole - (by_vector - by_element)
        self.in_vectors = {each.buffer for each in allocated} & by_vector - moving - by_element
        arrays = (pair for pair in copies if self.views.get(pair[0], pair[0]) not in self.split)
        self.copies = {(self._array(to), self._array(source)) for to, source in arrays}
        return stored

    def view(self, buffer: Buffer, source: Buffer) -> None:
        """Notes a buffer under another name."""
        if str(buffer.dtype) != str(source.dtype):
            raise CompilerError(f"the buffer {source.name} is read as {buffer.dtype}")
        if source in self.pointers:
            self.pointers[buffer] = self.pointers[source]
        else:
            self.views[buffer] = self.views.get(source, source)

    def element(self, buffer: Buffer, index: Node) -> str:
        """An element of a buffer, or the variable that it is."""
        buffer = self.views.get(buffer, buffer)
        if buffer in self.split:
            return self._variable(buffer, int(index.value))
        return f"{self._array(buffer)}[{self.express(index)}]"

    def _array(self, buffer: Buffer) -> str:
        """The name of a buffer that is one."""
        buffer = self.views.get(buffer, buffer)
        return self.pointers.get(buffer) or self.names.of(buffer)

    def place(self, buffer: Buffer, index: Node) -> tuple[str, bool]:
        """Where a vector begins: a variable, or an address."""
        buffer = self.views.get(buffer, buffer)
        if buffer in self.split and "x" in str(buffer.dtype):
            return self._variable(buffer, int(index.value)), True
        base = base_of(index)
        if buffer in self.split:
            lanes = (self._variable(buffer, int(base) + lane) for lane in range(self.lanes))
            return self.express.vector.called(f"of_{buffer.dtype}", *lanes), True
        if buffer in self.in_vectors:
            return f"{self.names.of(buffer)}_{int(base) // self.lanes}", True
        return f"&{self.element(buffer, base)}", False

    def _variable(self, buffer: Buffer, position: int) -> str:
        name = self.names.of(buffer)
        return name if elements(buffer) == 1 else f"{name}_{position}"

    def statement(self, node: Stmt) -> Iterator[str]:
        """The lines of a statement."""
        if isinstance(node, tirx.SeqStmt):
            yield from self._sequence(list(node.seq))
        elif isinstance(node, tirx.BufferStore):
            if is_vector(node.value):
                yield self.express.vector.store(node)
            else:
                yield f"{self.element(node.buffer, node.indices[0])} = {self._stored(node)};"
        elif isinstance(node, tirx.For):
            yield from self.loop(node)
        elif isinstance(node, tirx.IfThenElse):
            yield f"if ({self.express(node.condition)}) {{"
            yield from self.indented(self.statement(node.then_case))
            if node.else_case is not None:
                yield "} else {"
                yield from self.indented(self.statement(node.else_case))
            yield "}"
        elif isinstance(node, tirx.While):
            yield f"while ({self.express(node.condition)}) {{"
            yield from self.indented(self.statement(node.body))
            yield "}"
        elif isinstance(node, tirx.Bind):
            yield f"const {c_type(dtype_of(node.var))} {self.names.of(node.var)} = {self.express(node.value)};"
        elif isinstance(node, tirx.AllocBuffer):
            yield self.allocation(node.buffer)
        elif isinstance(node, tirx.AttrStmt):
            yield from self.statement(node.body)
        elif _is_call(node):
            yield f"{self.express(node.value)};"
        elif not _is_nothing(node):
            raise CompilerError(f"C has nothing for {type(node).__name__}")

    def _sequence(self, statements: list[Stmt]) -> Iterator[str]:
        """Statements; a variable that is set where it is declared is one line."""
        position = 0
        while position < len(statements):
            first, *rest = statements[position : position + 2]
            declares = isinstance(first, tirx.AllocBuffer) and first.buffer in self.split
            if declares and elements(first.buffer) == 1 and rest and _sets(rest[0], first.buffer):
                kind = c_type(str(first.buffer.dtype))
                yield f"{kind} {self._variable(first.buffer, 0)} = {self._stored(rest[0])};"
                position += 2
            else:
                yield from self.statement(first)
                position += 1

    def _stored(self, store: Stmt) -> str:
        return self.express(store.value)

    def loop(self, loop: Stmt) -> Iterator[str]:
        """The lines of a loop."""
        if loop.kind not in (tirx.ForKind.SERIAL, tirx.ForKind.UNROLLED):
            raise CompilerError("a loop is over vectors or threads, which are none here")
        variable, kind = self.names.of(loop.loop_var), c_type(dtype_of(loop.loop_var))
        first = self.express(loop.min)
        end = self.express(loop.extent if first in ("0", "INT64_C(0)") else loop.min + loop.extent)
        if ROLLED.of(loop):
            yield self.rolled
        yield f"for ({kind} {variable} = {first}; {variable} < {end}; ++{variable}) {{"
        yield from self.indented(self.statement(loop.body))
        yield "}"

    def allocation(self, buffer: Buffer) -> str:
        """The line that makes a buffer, or the variables that are its elements."""
        kind, count = c_type(str(buffer.dtype)), elements(buffer)
        if buffer in self.in_vectors:
            kind, count = c_type(f"{buffer.dtype}x{self.lanes}"), count // self.lanes
            zero = self.express.vector.zero(kind)
            return f"{kind} {', '.join(f'{self.names.of(buffer)}_{number} = {zero}' for number in range(count))};"
        if buffer in self.split and "x" in str(buffer.dtype):
            zero = self.express.vector.zero(kind)
            return f"{kind} {', '.join(f'{self._variable(buffer, position)} = {zero}' for position in range(count))};"
        if buffer not in self.split:
            return f"{kind} {self.names.of(buffer)}[{count}];"
        # Set to zero, as compilers cannot always prove that what a condition keeps from being set is not read either.
        return f"{kind} {', '.join(f'{self._variable(buffer, position)} = 0' for position in range(count))};"

    def indented(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines of what stands inside of something."""
        return (f"  {line}" for line in lines)


def elements(buffer: Buffer) -> int:
    """How many a buffer has."""
    count = 1
    for extent in buffer.shape:
        count *= int(extent)
    return count


def _sets(statement: Stmt, buffer: Buffer) -> bool:
    """Whether a statement stores the only element of a buffer, from other things than itself."""
    return (
        isinstance(statement, tirx.BufferStore)
        and statement.buffer.same_as(buffer)
        and not _mentions(statement.value, buffer)
    )


def _mentions(value: Node, buffer: Buffer) -> bool:
    found: list[Var] = []
    tvm_ffi.structural_walk(value, (TensorLoad, lambda load: found.append(load) if load.source.same_as(buffer) else 0))
    return bool(found)


def _is_call(node: Stmt) -> bool:
    """Whether it calls a function for what that does to its operands."""
    return isinstance(node, tirx.Evaluate) and name_of(node.value) == "tirx.call_extern"


def _is_nothing(node: Stmt) -> bool:
    """What C need not say: addresses of buffers, prefetches, the error code that no kernel in C has."""
    if isinstance(node, (tirx.DeclBuffer, tirx.stmt.Return)) or is_prefetch(node):
        return True
    return isinstance(node, tirx.Evaluate) and isinstance(node.value, (tirx.IntImm, tirx.Var))
