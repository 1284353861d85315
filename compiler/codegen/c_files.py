"""The texts of a folder of C sources: the plan, the weights, and what build systems read, from templates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...dtypes import numpy_dtype
from ...targets.cortex_m.parse import is_bare_metal
from ...targets.target import Target
from ..emission.glue import environment
from ..emission.steps_in_c import StepWriter
from ..emission.tensor_notes import tensor_notes
from ..library.naming import parameter_names
from ..library.plan import ARENA, BufferKind, Call, Copy, Plan, Region, leaves
from ..library.tensor_spec import C_TYPES
from .c_kernel import KernelInC, Parameter
from .c_literals import c_type, float_constant, integer_constant
from .c_used import Used, helper_texts
from .generator import Program

_LINE = 110  # characters of a line of weights


def texts(program: Program, kernels: Sequence[KernelInC], used: Used, target: Target) -> dict[str, str]:
    """Each file's text by its path in the folder, the header's first."""
    plan, name = program.plan, program.plan.name
    kernels = _with_aliases(plan, kernels)
    writer = _Writer(plan, kernels)
    steps = list(writer.block(plan.steps))
    sources = [f"{name}.c", f"{name}_kernels.c", f"{name}_weights.c"]
    flags = " ".join(target.c_flags)
    values = {
        "name": name,
        "version": program.signature.tilewright_version,
        "target": f"{target.triple}, {target.cpu}",
        "inputs": tensor_notes(plan.inputs, plan.states),
        "states": plan.states,
        "outputs": tensor_notes(plan.outputs),
        "copying": ["memcpy", "memset", *(["memmove"] if any(kernel.moves for kernel in kernels) else [])],
        "libm": "".join(f", {each}" for each in sorted(used.libm)),
        "weights": writer.weights,
        "bare": is_bare_metal(target.triple),
        "weights_bytes": sum(weight.nbytes for weight in writer.weights),
        "regions": [
            {
                "macro": each.name.upper(),
                "bytes": each.bytes,
                "symbol": _region_symbol(each),
                "is_used": each.name in writer.regions,
            }
            for each in plan.regions or (Region(ARENA, 0),)
        ],
        "kernels": kernels,
        "helpers": list(helper_texts(used)),
        "steps": [line.replace("\n", "\n  ") for line in steps],
        "parameters": ", ".join(writer.parameters) or "void",
        "unused": [each for each in writer.names if each not in writer.used],
        "dimensions": plan.dimensions,
        "sizes": writer.sizes,
        "fits": any(isinstance(step, Copy) and step.fit is not None for step in leaves(plan.steps)),
        "sources": sources,
        "flags": f" {flags}" if flags else "",
    }
    files = {
        f"src/{name}.h": "model.h",
        f"src/{name}.c": "model.c",
        f"src/{name}_kernels.c": "kernels.c",
        f"src/{name}_weights.c": "weights.c",
        f"src/{name}_internal.h": "internal.h",
        "Makefile": "Makefile",
        "CMakeLists.txt": "CMakeLists.txt",
        "library.properties": "library.properties",
        "zephyr/module.yml": "zephyr_module.yml",
        "zephyr/CMakeLists.txt": "zephyr_CMakeLists.txt",
    }
    templates = environment(f"{__package__}.c_project")
    rendered = {path: templates.get_template(f"{template}.jinja").render(values) for path, template in files.items()}
    return {**rendered, f"{name}.json": program.signature.to_json() + "\n"}


def _with_aliases(plan: Plan, kernels: Sequence[KernelInC]) -> list[KernelInC]:
    """The kernels, of which some write parts of a tensor and read other parts of it: by several parameters."""
    groups = aliases(plan)
    return [
        replace(kernel, parameters=restricted(groups.get(kernel.symbol, ()), enumerate(kernel.parameters)))
        for kernel in kernels
    ]


def aliases(plan: Plan) -> dict[str, set[frozenset[int]]]:
    """Of each kernel the positions of arguments that are one buffer in some call, together."""
    groups: dict[str, set[frozenset[int]]] = {}
    for step in leaves(plan.steps):
        if isinstance(step, Call):
            given = step.arguments
            places = [frozenset(at for at, each in enumerate(given) if each == index) for index in {*given}]
            together = {each for each in places if len(each) > 1}
            groups.setdefault(plan.kernels[step.kernel].symbol, set()).update(together)
    return groups


def restricted(groups: Iterable[frozenset[int]], parameters: Iterable[tuple[int, Parameter]]) -> tuple[Parameter, ...]:
    """Parameters with their positions, those of which are not alone that share a buffer which one of them writes."""
    pairs = list(parameters)
    written = {at for at, each in pairs if each.is_written}
    shared = frozenset[int]().union(*(group for group in groups if group & written))
    return tuple(replace(each, is_alone=at not in shared) for at, each in pairs)


@dataclass(frozen=True)
class Weight:
    """A constant as an array of C."""

    symbol: str
    dtype: str
    contents: bytes

    @property
    def c_type(self) -> str:
        """The type of its elements."""
        return c_type(self.dtype)

    @property
    def nbytes(self) -> int:
        """Its size."""
        return len(self.contents)

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """Its elements; those that C has no type for as their bits."""
        kind = numpy_dtype("uint8" if self.dtype == "bool" else self.dtype)
        return np.frombuffer(self.contents, np.uint16 if self.dtype in ("float16", "bfloat16") else kind)

    @property
    def count(self) -> int:
        """How many elements it has; one where there are none, as C has no empty arrays."""
        return max(1, len(self.array))

    @property
    def values(self) -> str:
        """Its elements in lines, each exact."""
        array = self.array
        if array.dtype.kind == "f":
            words = [float_constant(float(each), self.dtype) for each in array]
        else:
            words = [integer_constant(int(each), str(array.dtype)) for each in array]
        return "\n".join(_lines(words or ["0"]))


def _lines(words: Sequence[str]) -> Iterator[str]:
    line: list[str] = []
    length = 0
    for word in words:
        if length + len(word) + 2 > _LINE:
            yield "  " + " ".join(line)
            line, length = [], 0
        line.append(f"{word},")
        length += len(word) + 2
    yield "  " + " ".join(line)


def _region_symbol(region: Region) -> str:
    return f"{region.name}_memory"


class _Writer(StepWriter):
    """The steps with buffers by their names in C; and the weights that they read, each by the dtype it is read as."""

    def __init__(self, plan: Plan, kernels: Sequence[KernelInC]) -> None:
        super().__init__(plan)
        self._kernels = {kernel.symbol: kernel for kernel in kernels}
        self._weights: dict[tuple[int, str], Weight] = {}
        self.used: set[str] = set()
        self.regions: set[str] = set()
        specs = [*plan.inputs, *plan.outputs]
        *names, self.sizes = parameter_names([*(spec.name for spec in specs), "dimensions"], plan.name)
        self.names = list(names)
        changed = {state.before.name for state in plan.states}
        kept = [*(spec.name not in changed for spec in plan.inputs), *(False for _ in plan.outputs)]
        self.parameters = [
            f"{'const ' if is_kept else ''}{C_TYPES[spec.dtype]} *{name}"
            for is_kept, spec, name in zip(kept, specs, self.names, strict=True)
        ]
        if plan.dimensions:
            self.parameters.append(f"const int64_t {self.sizes}[]")
        for step in leaves(plan.steps):  # a constant that is copied has the dtype of those that read it
            if isinstance(step, Call):
                self._note(step)

    @property
    def weights(self) -> list[Weight]:
        """In the order in which they are read first."""
        return list(self._weights.values())

    def call(self, step: Call) -> str:
        """A kernel's call."""
        kernel = self._kernels[self.plan.kernels[step.kernel].symbol]
        arguments = [
            self.reference(index, parameter.dtype)
            for index, parameter in zip(step.arguments, kernel.parameters, strict=True)
        ]
        return f"{kernel.symbol}({', '.join(arguments)});"

    def reference(self, index: int, dtype: str = "uint8") -> str:
        """The address of a buffer."""
        buffer = self.plan.buffers[index]
        if buffer.kind is BufferKind.CONSTANT:
            return self._weight(index, dtype).symbol
        if buffer.kind is BufferKind.WORKSPACE:
            self.regions.add(buffer.region)
            return f"(void *)({buffer.region}_memory.bytes + {buffer.offset})"
        position = buffer.offset + (len(self.plan.inputs) if buffer.kind is BufferKind.OUTPUT else 0)
        self.used.add(self.names[position])
        return self.names[position]

    def _note(self, step: Call) -> None:
        kernel = self._kernels[self.plan.kernels[step.kernel].symbol]
        for index, parameter in zip(step.arguments, kernel.parameters, strict=True):
            if self.plan.buffers[index].kind is BufferKind.CONSTANT:
                self._weight(index, parameter.dtype)

    def _weight(self, index: int, dtype: str) -> Weight:
        key = index, dtype
        if key not in self._weights:
            constants = self.plan.constants
            contents = constants.contents[constants.offsets.index(self.plan.buffers[index].offset)]
            symbol = f"{self.plan.name}_w{len(self._weights)}"
            self._weights[key] = Weight(symbol, dtype, contents)
        return self._weights[key]
