"""Lowered kernels as functions of CUDA C++: each grid of a kernel is one, in the order in which they are launched.

    extern "C" __global__ void __launch_bounds__(256) net_k0_conv_0(const float *restrict x, float *restrict y) {
      await_grids();
      const int32_t block_x = blockIdx.x;
      const int32_t thread_x = threadIdx.x;
      __shared__ __align__(16) float tile[1024];
      ...

What stands between grids is a grid of one thread. Loops that schedules unroll are left to the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import tvm_ffi
from tvm import tirx
from tvm.ir import Call

from ...annotations import RUNS_IF
from ...errors import UnsupportedError
from ...failures import failing_in
from ...hidden_floats import dtype_of, name_of
from ...ir_types import Buffer, Node, PrimFunc, Stmt
from ...targets.cuda.tile_copies import TENSOR_MAP
from ...targets.grid import TILE_COPY, TILE_LINE_BYTES
from ...targets.target import Target
from ...tensorir_statements import flattened
from ..library.plan import align
from ..library.tensor_spec import element_bytes
from ..lowering.barriers import BARRIER, SHARED
from ..lowering.launches import LAUNCH
from ..lowering.lower import LoweredKernel
from ..lowering.tile_copies import TensorView
from .c_kernel import KernelWriter, Parameter, elements
from .c_literals import c_type
from .c_used import Language, Used

# float16 is converted by an instruction.
_HALVES = {
    "float32_of_half": """float float32_of_half(uint16_t h) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(h));
  return y;
}""",
    "half_of_float32": """uint16_t half_of_float32(float x) {
  uint16_t y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}""",
}
CUDA = Language("CUDA sources", "--target", "static __device__ inline", _HALVES)
_CALL = "tirx.call_extern"
# What a function calls a place in the grid, by its first part.
_PLACES = {"blockIdx": "block", "threadIdx": "thread"}
_ALIGNMENT = 128  # of what a block shares, in bytes: of a word of each bank; or what engines exchange of tiles
_TILE_ALIGNMENT = 8 * TILE_LINE_BYTES
_MAP = "map_"  # of a tensor that tiles are copied of: a parameter, by its number
_MOST_MAPS = 4  # of a grid; `cuda_project/maps.c` has room for as many
_SHARED_MEMORY = "shared_memory"  # of a block that has to ask for as much as it shares
# Of blocks along x, y and z.
_MOST_BLOCKS = ((1 << 31) - 1, (1 << 16) - 1, (1 << 16) - 1)


@dataclass(frozen=True)
class GridFunction:
    """A function that runs as a grid.

    Attributes:
        kernel: the symbol of the kernel that it is a part of.
        positions: of its parameters among those of the kernel.
        blocks, threads: of the grid and of a block, along x, y and z.
        shared_bytes: of a block, where those have to be asked for; else 0.
        maps: of tensors that tiles are copied of: which parameter has the address, and what the tensor is.
        body: its lines.
    """

    symbol: str
    kernel: str
    parameters: tuple[Parameter, ...]
    positions: tuple[int, ...]
    maps: tuple[tuple[int, TensorView], ...]
    blocks: tuple[int, int, int]
    threads: tuple[int, int, int]
    shared_bytes: int
    body: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it."""
        bounds = f"__launch_bounds__({math.prod(self.threads)})"
        maps = (f"const __grid_constant__ {TENSOR_MAP} {_MAP}{number}" for number in range(len(self.maps)))
        parameters = ", ".join([*map(str, self.parameters), *maps])
        first = f'extern "C" __global__ void {bounds} {self.symbol}({parameters}) {{'
        return "\n".join([first, "  await_grids();", *self.body, "}", ""])


def kernel_in_cuda(kernel: LoweredKernel, used: Used, target: Target) -> list[GridFunction]:
    """Writes a kernel.

    Args:
        used: what it calls is added there.
        target: whose functions it may call.

    Raises:
        CompilerError: the language has nothing for something in it.
        UnsupportedError: it computes in a dtype that the language lacks.
    """
    with failing_in(f"kernel '{kernel.symbol}'", "a kernel cannot be written in CUDA C++"):
        grids = enumerate(_grids(kernel.function.body))
        return [_GridWriter(kernel.function, used, target).grid(body, kernel.symbol, number) for number, body in grids]


def _grids(body: Stmt) -> Iterator[Stmt]:
    """The grids of a kernel; what stands between two is one."""
    between: list[Stmt] = []
    for statement in flattened(body):
        if isinstance(statement, tirx.AttrStmt) and statement.attr_key == LAUNCH:
            if between:
                yield tirx.SeqStmt(between) if len(between) > 1 else between[0]
                between = []
            yield statement
        elif not _is_nothing(statement):
            between.append(statement)
    if between:
        yield tirx.SeqStmt(between) if len(between) > 1 else between[0]


def _is_nothing(statement: Stmt) -> bool:
    is_number = isinstance(statement, tirx.Evaluate) and isinstance(statement.value, tirx.IntImm)
    return is_number or isinstance(statement, (tirx.DeclBuffer, tirx.stmt.Return))


class _GridWriter(KernelWriter):
    """Writes one grid."""

    rolled: ClassVar[str] = "#pragma unroll 1"

    def __init__(self, function: PrimFunc, used: Used, target: Target) -> None:
        super().__init__(function, used, target)
        self._granted_bytes = target.the_grid.shared_bytes
        self._alignment = _TILE_ALIGNMENT if target.the_grid.has_tile_copies else _ALIGNMENT
        self.names.taken |= {f"{_MAP}{number}" for number in range(_MOST_MAPS)}
        self._maps: dict[tuple[str, str], Node] = {}  # by a pointer and what the tensor is: the variable of its map
        self._asked: dict[Buffer, int] = {}  # where buffers stand in shared memory that has to be asked for
        self._extents: dict[str, int] = {}
        self._other_dtype: set[Buffer] = set()  # buffers in memory that a parameter has as another dtype

    def grid(self, body: Stmt, kernel: str, number: int) -> GridFunction:
        """The function of one grid of a kernel, of that number."""
        for parameter in self.function.params:
            self.names.of(parameter)
        stored = self.accesses(body)
        places, shared_bytes = list(self._places(body)), self._shared_bytes(body)
        if self._asked:
            places.append(f"  extern __shared__ __align__({self._alignment}) unsigned char {_SHARED_MEMORY}[];")
        lines = (*places, *self.indented(self.statement(body)))
        touched = stored | {self.pointers[each] for each in self.read}
        parameters = [
            (position, Parameter(name, str(each.ty.element_type.dtype), name in stored))
            for position, each in enumerate(self.function.params)
            if (name := self.names.of(each)) in touched
        ]
        blocks, threads = (
            tuple(self._extents.get(f"{kind}.{axis}", 1) for axis in "xyz") for kind in ("blockIdx", "threadIdx")
        )
        if any(count > most for count, most in zip(blocks, _MOST_BLOCKS, strict=True)):
            raise UnsupportedError(f"a grid of {' x '.join(map(str, blocks))} blocks is more than a GPU takes")
        return GridFunction(
            symbol=f"{kernel}_{number}",
            kernel=kernel,
            parameters=tuple(each for _, each in parameters),
            positions=tuple(position for position, _ in parameters),
            maps=tuple(
                (next(at for at, (_, each) in enumerate(parameters) if each.name == pointer), TensorView.parse(text))
                for pointer, text in self._maps
            ),
            blocks=(blocks[0], blocks[1], blocks[2]),
            threads=(threads[0], threads[1], threads[2]),
            shared_bytes=shared_bytes,
            body=lines,
        )

    def _places(self, body: Stmt) -> Iterator[str]:
        """Notes the extents of the grid; gives the lines that say where in it a thread is."""
        found: list[Node] = []
        tvm_ffi.structural_walk(body, (tirx.AttrStmt, found.append))
        for each in found:
            if each.attr_key != LAUNCH:
                continue
            tag, variable = str(each.node.thread_tag), each.node.var
            kind, axis = tag.split(".")
            self._extents[tag] = int(each.value)
            if variable not in self.names.given:
                name = self.names.given[variable] = f"{_PLACES[kind]}_{axis}"
                if name not in self.names.taken:
                    self.names.taken.add(name)
                    yield f"  const {c_type(dtype_of(variable))} {name} = {tag};"

    def _shared_bytes(self, body: Stmt) -> int:
        """What a block shares beyond what it has without asking, and notes where each buffer is then; else 0."""
        found: list[Stmt] = []
        tvm_ffi.structural_walk(body, (tirx.AllocBuffer, found.append))
        end, places = 0, {}
        for buffer in (each.buffer for each in found if each.buffer.scope() == SHARED):
            places[buffer] = end
            end = align(end + elements(buffer) * element_bytes(str(buffer.dtype)), self._alignment)
        if end <= self._granted_bytes:
            return 0
        self._asked = places
        return end

    def accesses(self, body: Stmt) -> set[str]:
        """As those of any kernel; what a block shares is memory, wherever its elements are."""
        stored = super().accesses(body)
        self.split = {buffer for buffer in self.split if buffer.scope() != SHARED}
        return stored

    def view(self, buffer: Buffer, source: Buffer) -> None:
        """Notes a buffer under another name; memory of one dtype may be used again for another, by another grid."""
        if source in self.pointers and str(buffer.dtype) != str(source.dtype):
            self.pointers[buffer] = self.pointers[source]
            self._other_dtype.add(buffer)
        else:
            super().view(buffer, source)

    def element(self, buffer: Buffer, index: Node) -> str:
        """An element of a buffer, or the variable that it is."""
        if buffer in self._other_dtype:
            return f"(({c_type(str(buffer.dtype))} *){self.pointers[buffer]})[{self.express(index)}]"
        return super().element(buffer, index)

    def statement(self, node: Stmt) -> Iterator[str]:
        """Its lines; barriers are known here alone."""
        if isinstance(node, tirx.Evaluate) and _is_barrier(node.value):
            yield "__syncthreads();"
        elif (condition := RUNS_IF.of(node)) is not None:
            yield f"if (!({self.express(condition)})) return;"
            yield from self.statement(node.body)
        elif isinstance(node, tirx.Evaluate) and name_of(node.value) == _CALL:
            yield f"{self.express(self._with_map(node.value))};"
        else:
            yield from super().statement(node)

    def _with_map(self, call: Node) -> Node:
        """A call that copies tiles, with the map of their tensor in the place of what the tensor is and its address."""
        function, *arguments = call.args
        if not function.value.startswith(TILE_COPY):
            return call
        to, view, tensor, *rest = arguments
        key = (self.pointers[tensor.args[0].source], str(view.value))
        if key not in self._maps:
            variable = self._maps[key] = tirx.Var(f"{_MAP}{len(self._maps)}", "handle")
            self.names.given[variable] = str(variable.name)
        return tirx.call_extern("int32", function.value, to, self._maps[key], *rest)

    def loop(self, loop: Stmt) -> Iterator[str]:
        """Its lines, behind what the compiler is to do with it."""
        if loop.kind == tirx.ForKind.UNROLLED:
            yield "#pragma unroll"
        yield from super().loop(loop)

    def allocation(self, buffer: Buffer) -> str:
        """Memory of a thread, or of a block."""
        if buffer.scope() == SHARED:
            kind = c_type(str(buffer.dtype))
            if buffer in self._asked:
                place = f"({kind} *)({_SHARED_MEMORY} + {self._asked[buffer]})"
                return f"{kind} *const {self.names.of(buffer)} = {place};"
            return f"__shared__ __align__({self._alignment}) {kind} {self.names.of(buffer)}[{elements(buffer)}];"
        return super().allocation(buffer)


def _is_barrier(value: Node) -> bool:
    return isinstance(value, Call) and str(getattr(value.op, "name", "")) == BARRIER
