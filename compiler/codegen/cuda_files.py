"""The texts of a library whose kernels run on a GPU: files of kernels, the glue in C, and what builds them by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from ...sizes import Size, in_c, parse_size
from ...targets.architectures import architecture_named
from ...targets.cuda.nvcc import flags
from ...targets.target import Target
from ..emission import glue
from ..emission.link import api_symbols, exports_map
from ..emission.tensor_notes import tensor_notes
from ..library.plan import Plan, align, leaves
from ..library.tensor_spec import TensorSpec, element_bytes
from .c_files import aliases, restricted
from .c_used import Used, helper_texts
from .cuda_kernels import GridFunction
from .cuda_steps import GridSteps, has_choices
from .generator import Program

_PROJECT = f"{__package__}.cuda_project"
_AS_THEY_ARE = ("driver.c", "maps.c", "runs.c", "launches.c")
# Grids of a file: few enough that files are compiled side by side, many enough that each start of nvcc pays.
_GRIDS = 12
_COPY_ALIGNMENT = 256


@dataclass(frozen=True)
class Module:
    """A file of kernels, compiled by itself.

    Attributes:
        symbol: of its code in the library.
        source, code: its files, before and after it is compiled.
        first: the number of its first function.
        functions: all of them.
    """

    symbol: str
    source: str
    code: str
    first: int
    functions: tuple[GridFunction, ...]


def modules_of(plan: Plan, functions: Sequence[GridFunction]) -> list[Module]:
    """The functions in files of some each."""
    groups = aliases(plan)
    own = [
        replace(each, parameters=restricted(groups[each.kernel], zip(each.positions, each.parameters, strict=True)))
        for each in functions
    ]
    return [
        Module(
            f"{plan.name}_code_{number}_",
            f"kernels_{number}.cu",
            f"kernels_{number}.fatbin",
            first,
            tuple(own[first : first + _GRIDS]),
        )
        for number, first in enumerate(range(0, len(own), _GRIDS))
    ]


def write_files(program: Program, modules: Sequence[Module], used: Used, target: Target, folder: Path) -> list[str]:
    """Writes all files but the weights; returns their names."""
    plan, signature = program.plan, program.signature
    environment, values = glue.environment(_PROJECT), _values(program, modules, target)
    texts = {
        name: environment.get_template(f"{name}.jinja").render(values)
        for name in ("library.h", "library.c", "code.s", "Makefile")
    }
    for module in modules:
        kernels = {**values, "functions": module.functions, "helpers": list(helper_texts(used))}
        texts[module.source] = environment.get_template("kernels.cu.jinja").render(kernels)
    for name in _AS_THEY_ARE:
        first = f"/* {plan.name}: a model compiled by Tilewright {signature.tilewright_version}; for every model. */\n"
        texts[name] = first + (resources.files(_PROJECT) / name).read_text()
    texts["exports.map"] = exports_map(api_symbols(plan.name, threaded=False, device=True))
    for name, text in texts.items():
        (folder / name).write_text(text)
    glue.write_signature(signature, folder)
    return [*texts, "signature.s", "signature.json", "record.bin"]


def _values(program: Program, modules: Sequence[Module], target: Target) -> dict[str, Any]:
    plan, signature = program.plan, program.signature
    functions = [function for module in modules for function in module.functions]
    numbered: dict[str, list[tuple[int, GridFunction]]] = {}
    for number, function in enumerate(functions):
        numbered.setdefault(function.kernel, []).append((number, function))
    for kernel in plan.kernels:  # of nothing
        numbered.setdefault(kernel.symbol, [])
    sizes = [spec.nbytes for spec in (*plan.inputs, *plan.outputs)]
    offsets = [sum(align(size, _COPY_ALIGNMENT) for size in sizes[:at]) for at in range(len(sizes))]
    section = architecture_named(target.arch).weights_section
    return {
        "name": plan.name,
        "version": signature.tilewright_version,
        "target": f"{signature.triple}, {signature.cpu}",
        "device": signature.device,
        "inputs": tensor_notes(plan.inputs),
        "states": (),
        "outputs": tensor_notes(plan.outputs),
        "dimensions": plan.dimensions,
        "varying_sizes": [
            (place, in_c(_bytes(spec, plan))) for place, spec in enumerate((*plan.inputs, *plan.outputs)) if spec.sizes
        ],
        "workspace_bytes": plan.workspace_bytes,
        "alignment": _COPY_ALIGNMENT,
        "threaded": False,
        "functions": functions,
        "maps_tensors": any(each.maps for each in functions),
        "modules": modules,
        "uses_graph": not has_choices(plan),
        "weights_bytes": plan.constants.nbytes,
        "copies_bytes": sum(align(size, _COPY_ALIGNMENT) for size in sizes),
        "tensor_sizes": sizes,
        "copy_offsets": offsets,
        "architectures": signature.cpu,
        "steps": list(GridSteps(plan, numbered).block(plan.steps)),
        "num_leaves": sum(1 for _ in leaves(plan.steps)),
        "section": section.name,
        "flags": section.flags,
        "nvcc_flags": " ".join(flags(target.the_grid.architectures)),
    }


def _bytes(spec: TensorSpec, plan: Plan) -> Size:
    """The size of a tensor in a call."""
    size: Size = element_bytes(spec.dtype)
    for text in spec.sizes:
        size = parse_size(text, plan.dimensions) * size
    return size
