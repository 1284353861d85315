"""The plan as C: the header, the functions that run its steps, and the signature; and the weights as assembly."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jinja2
import numpy as np
import numpy.typing as npt

from ...targets.architectures import architecture_named
from ...targets.systems import ELF
from ...targets.target import Target
from ..library.arrays import checked
from ..library.integrity import record_placeholder
from ..library.naming import THREAD_FUNCTIONS, THREAD_LIMITS, own_symbol
from ..library.plan import ALIGNMENT, Call, Constants, Copy, Plan, align, leaves
from ..library.signature import MAX_THREADS, SECTION, Signature
from .steps_in_c import statements
from .tensor_notes import tensor_notes

_RUNTIME_PACKAGE = f"{__package__}.runtime"
_RUNTIME = resources.files(_RUNTIME_PACKAGE)
# The first includes the others.
_THREADS = ("threads.c", "thread_pool.c", "new_process.c", "word_sleep.c", "simulation.c", "threads.h")
# What programs for devices include.
_PARTS_OF_PROGRAMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"device.c": (), "server.c": ("messages.c", "session.c")}
)

# How self_check.c compares an output, by its dtype; all others byte by byte.
_KINDS = {"float32": "f", "float64": "d", "float16": "h", "bfloat16": "b"}


class Example(NamedTuple):
    """Inputs, and the outputs that are expected of them, by name; in C order, of the dtypes of the signature.

    `tolerance`: max |error| of an output is at most this share of its largest expected value.
    """

    inputs: Mapping[str, npt.NDArray[np.generic]]
    outputs: Mapping[str, npt.NDArray[np.generic]]
    tolerance: float


def write_weights(name: str, constants: Constants, folder: Path, target: Target) -> None:
    """Writes weights.s and weights.bin, which depend on nothing but the constants and the machine."""
    section = architecture_named(target.arch).weights_section
    values = {
        "name": name,
        "alignment": ALIGNMENT,
        "section": section.name,
        "flags": section.flags,
        "format": target.object_format,
    }
    (folder / "weights.s").write_text(environment().get_template("weights.s.jinja").render(values))
    with (folder / "weights.bin").open("wb") as file:
        for contents in constants.contents:
            file.write(contents)
            file.write(bytes(align(len(contents)) - len(contents)))


def write_sources(plan: Plan, signature: Signature, folder: Path, object_format: str = ELF) -> None:
    """Writes library.h, library.c, signature.s, signature.json, and the parts of runtime/ that they include."""
    values = _template_values(plan, signature)
    for template, name in (("library.h.jinja", "library.h"), ("library.c.jinja", "library.c")):
        (folder / name).write_text(environment().get_template(template).render(values))
    if signature.threaded:
        _copy(("threads.h",), folder)
    if signature.cpu_features:
        (folder / "cpu_check.c").write_text(architecture_named(signature.arch).cpu_check(signature.cpu_features))
    write_signature(signature, folder, object_format)


def write_thread_sources(folder: Path) -> None:
    """Writes threads.c and what it includes, which are the same for every library."""
    _copy(_THREADS, folder)


def write_signature(signature: Signature, folder: Path, object_format: str = ELF) -> None:
    """Writes signature.s, and signature.json and record.bin, which it includes."""
    values = {"name": signature.name, "signature_section": SECTION, "format": object_format}
    (folder / "signature.s").write_text(environment().get_template("signature.s.jinja").render(values))
    (folder / "signature.json").write_text(signature.to_json())
    (folder / "record.bin").write_bytes(record_placeholder())


def write_self_check(signature: Signature, example: Example, folder: Path, object_format: str) -> None:
    """Writes device.c and what it includes for a program with a model inside, and an example of its inputs as data.

    The example is one of the largest sizes, at which a call fills the memory of states.
    """
    places = {spec.name: place for place, spec in enumerate(signature.inputs)}
    states = "".join(f"{places[state.before.name]}, " for state in signature.states)
    results = (*signature.outputs, *(state.after for state in signature.states))
    names = ", ".join(json.dumps(spec.name.encode("ascii", "replace").decode()) for spec in results)
    kinds = "".join(_KINDS.get(spec.dtype, "i") for spec in results)
    lines: tuple[str, ...] = (
        f"#define TILEWRIGHT_MODEL {signature.name}",
        f"#define TILEWRIGHT_THREADED {int(signature.threaded)}",
        f"#define TILEWRIGHT_TOLERANCE {example.tolerance}",
        f"static const char *const tilewright_names[] = {{{names}}};",
        f'static const char tilewright_kinds[] = "{kinds}";',
        f"static const int tilewright_states[] = {{{states}0}};",
    )
    if signature.dimensions:
        largest = ", ".join(str(dimension.bound) for dimension in signature.dimensions)
        lines = (*lines, f"#define TILEWRIGHT_DIMENSIONS {{{largest}}}")
    (folder / "self_check.h").write_text("\n".join([*lines, ""]))
    _copy(("device.c", "self_check.c"), folder)
    text = environment().get_template("self_check.s.jinja").render({"name": signature.name, "format": object_format})
    (folder / "self_check.s").write_text(text)
    inputs, _ = checked(signature, example.inputs, "the example")
    outputs = [example.outputs[spec.name] for spec in results]
    for part, arrays in (("inputs", inputs), ("outputs", outputs)):
        (folder / f"check_{part}.bin").write_bytes(b"".join(array.tobytes() for array in arrays))


def write_program(name: str, folder: Path) -> None:
    """Writes a program in C for devices: ``device.c`` runs a library there, ``server.c`` lends the device to a farm."""
    _copy((name, *_PARTS_OF_PROGRAMS[name]), folder)


def _copy(parts: Sequence[str], folder: Path) -> None:
    for part in parts:
        (folder / part).write_text((_RUNTIME / part).read_text())


@functools.cache
def environment(package: str = _RUNTIME_PACKAGE) -> jinja2.Environment:
    """The templates of a package, and those here; it is kept, for it keeps them compiled."""

    def text(file: str) -> str:
        own = resources.files(package) / file
        return (own if own.is_file() else _RUNTIME / file).read_text()

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(text),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )


def _template_values(plan: Plan, signature: Signature) -> dict[str, Any]:
    return {
        "name": plan.name,
        "version": signature.tilewright_version,
        "target": f"{signature.triple}, {signature.cpu}",
        "inputs": tensor_notes(plan.inputs, plan.states),
        "states": plan.states,
        "outputs": tensor_notes(plan.outputs),
        "workspace_bytes": plan.workspace_bytes,
        "alignment": ALIGNMENT,
        "threaded": signature.threaded,
        "max_threads": MAX_THREADS,
        "default_threads": signature.default_threads,
        "sharing": max((kernel.threads for kernel in plan.kernels), default=1),
        "functions_symbol": own_symbol(THREAD_FUNCTIONS, plan.name),
        "limits_symbol": own_symbol(THREAD_LIMITS, plan.name),
        "cpu_features": signature.cpu_features,
        "kernels": [
            {"symbol": kernel.symbol, "parameters": _parameters(plan, i)} for i, kernel in enumerate(plan.kernels)
        ],
        "dimensions": plan.dimensions,
        "fits": any(isinstance(step, Copy) and step.fit is not None for step in leaves(plan.steps)),
        "steps": statements(plan),
        "told_steps": statements(plan, told=True),
        "num_leaves": len(signature.steps),
        "device": "",
    }


def _parameters(plan: Plan, kernel: int) -> list[str]:
    """The types of a kernel's parameters: its tensors and scratch, and the dimensions that it is told."""
    call = next(s for s in leaves(plan.steps) if isinstance(s, Call) and s.kernel == kernel)
    return ["void *"] * len(call.arguments) + ["int64_t"] * len(plan.kernels[kernel].dimensions)
