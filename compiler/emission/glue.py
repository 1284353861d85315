"""The plan as C: the header, the functions that run its steps, and the signature; and the weights as assembly."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from ...targets.architectures import ARCHITECTURES
from ..codegen.llvm import launch_symbol
from ..library.integrity import record_placeholder
from ..library.naming import unique_identifiers
from ..library.plan import ALIGNMENT, Buffer, BufferKind, Call, Constants, Plan, Step, align
from ..library.signature import MAX_THREADS, SECTION, Signature
from ..library.tensor_spec import C_TYPES, TensorSpec

_RUNTIME = resources.files(__package__) / "runtime"

# How a step names a buffer; the letters are macros of library.c.
_REFERENCE = {
    BufferKind.INPUT: "I({})",
    BufferKind.OUTPUT: "O({})",
    BufferKind.CONSTANT: "C({})",
    BufferKind.WORKSPACE: "W({})",
}


def write_weights(name: str, constants: Constants, folder: Path, arch: str) -> None:
    """Writes weights.S and weights.bin, which depend on nothing but the constants and the architecture."""
    section = ARCHITECTURES[arch].weights_section
    values = {"name": name, "alignment": ALIGNMENT, "section": section.name, "flags": section.flags}
    (folder / "weights.S").write_text(_environment().get_template("weights.S.jinja").render(values))
    with (folder / "weights.bin").open("wb") as file:
        for contents in constants.contents:
            file.write(contents)
            file.write(bytes(align(len(contents)) - len(contents)))


def write_sources(plan: Plan, signature: Signature, folder: Path) -> None:
    """Writes library.h, library.c, signature.S, signature.json, and the parts of runtime/ that they include."""
    environment = _environment()
    values = _template_values(plan, signature)
    for template, name in (
        ("library.h.jinja", "library.h"),
        ("library.c.jinja", "library.c"),
        ("signature.S.jinja", "signature.S"),
    ):
        (folder / name).write_text(environment.get_template(template).render(values))
    if signature.threaded:
        (folder / "thread_pool.c").write_text((_RUNTIME / "thread_pool.c").read_text())
    if signature.cpu_features:
        (folder / "cpu_check.c").write_text(ARCHITECTURES[signature.arch].cpu_check(signature.cpu_features))
    (folder / "signature.json").write_text(signature.to_json())
    (folder / "record.bin").write_bytes(record_placeholder())


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: (_RUNTIME / file).read_text()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )


def _template_values(plan: Plan, signature: Signature) -> dict[str, Any]:
    return {
        "name": plan.name,
        "version": signature.tilewright_version,
        "target": f"{signature.triple}, {signature.cpu}",
        "inputs": _tensors(plan.inputs),
        "outputs": _tensors(plan.outputs),
        "workspace_bytes": plan.workspace_bytes,
        "alignment": ALIGNMENT,
        "threaded": signature.threaded,
        "max_threads": MAX_THREADS,
        "default_threads": signature.default_threads,
        "launch_symbol": launch_symbol(plan.name),
        "cpu_features": signature.cpu_features,
        "pause": ARCHITECTURES[signature.arch].pause,
        "kernels": [{"symbol": kernel.symbol, "arity": _arity(plan, i)} for i, kernel in enumerate(plan.kernels)],
        "steps": [_step(plan, step) for step in plan.steps],
        "signature_section": SECTION,
    }


def _tensors(specs: Sequence[TensorSpec]) -> list[dict[str, object]]:
    identifiers = unique_identifiers(spec.name for spec in specs)
    return [
        {
            "identifier": identifier,
            "c_type": C_TYPES[spec.dtype],
            "dimensions": "".join(f"[{d}]" for d in spec.shape),
            "nbytes": spec.nbytes,
            "note": _note(spec, identifier),
        }
        for spec, identifier in zip(specs, identifiers, strict=True)
    ]


def _note(spec: TensorSpec, identifier: str) -> str:
    """What the C identifier and type do not say; printable and unable to end the comment it stands in."""
    name = spec.name.replace("*/", "* /").encode("ascii", "backslashreplace").decode()
    facts = [] if spec.name == identifier else [f"named {''.join(c if c.isprintable() else '?' for c in name)!r}"]
    if spec.dtype in ("bool", "float16", "bfloat16"):
        facts.append(spec.dtype)
    if not spec.shape:
        facts.append("a scalar")
    return f" ({', '.join(facts)})" if facts else ""


def _arity(plan: Plan, kernel: int) -> int:
    return next(len(s.arguments) for s in plan.steps if isinstance(s, Call) and s.kernel == kernel)


def _step(plan: Plan, step: Step) -> str:
    if isinstance(step, Call):
        arguments = ", ".join(_reference(plan.buffers[i]) for i in step.arguments)
        return f"if ({plan.kernels[step.kernel].symbol}({arguments})) return {plan.name}_ERROR_KERNEL;"
    source, destination = plan.buffers[step.source], plan.buffers[step.destination]
    return f"memcpy({_reference(destination)}, {_reference(source)}, {destination.bytes});"


def _reference(buffer: Buffer) -> str:
    return _REFERENCE[buffer.kind].format(buffer.offset)
