"""What `inspect` tells of a model (operators, shapes, work) and of a library (kernels, memory)."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from ...errors import ShapeError, UnsupportedError
from ..inputs.requests import request_of
from ..library.archive import begins_with, is_archive
from ..library.elf import MAGIC as ELF_MAGIC
from ..library.signature import Signature
from ..options import CompileOptions
from .report import Table, amount, fallbacks, shape_text, size
from .roofline_tables import intensity_text


def is_library(path: Path) -> bool:
    """Whether a file is a library rather than a model: by its first bytes, or by its name."""
    return is_archive(path) or begins_with(path, ELF_MAGIC) or path.suffix in (".so", ".a")


def inspect_library(signature: Signature, path: Path) -> dict[str, Any]:
    """A library's signature with totals, as JSON takes it."""
    calls = Counter(step.kernel for step in signature.steps if step.kernel >= 0)
    memory = {spec.name: spec.nbytes for spec in signature.inputs}
    return {
        "kind": "library",
        "file_bytes": path.stat().st_size,
        "name": signature.name,
        "target": {"triple": signature.triple, "cpu": signature.cpu, "cpu_features": list(signature.cpu_features)},
        "tilewright_version": signature.tilewright_version,
        "precision": signature.precision,
        "quantize": signature.quantize,
        "dimensions": [
            {"name": each.name, "least": each.least, "largest": each.bound} for each in signature.dimensions
        ],
        "inputs": [_spec(spec) for spec in signature.model_inputs],
        "outputs": [_spec(spec) for spec in signature.outputs],
        "states": [
            {"input": state.before.name, "output": state.after.name, "memory_bytes": memory[state.before.name]}
            for state in signature.states
        ],
        "workspace_bytes": signature.workspace_bytes,
        "weights_bytes": signature.weights_bytes,
        "threaded": signature.threaded,
        "flops": sum(signature.kernels[index].flops * count for index, count in calls.items()),
        "bytes": sum(signature.kernels[index].bytes * count for index, count in calls.items()),
        "kernels": [
            {
                "symbol": kernel.symbol,
                "template": kernel.template,
                "fallback": kernel.fallback,
                "flops": kernel.flops,
                "bytes": kernel.bytes,
                "intensity": kernel.flops / kernel.bytes if kernel.flops and kernel.bytes else None,
                "calls": calls[index],
                "sources": [list(step.sources) for step in signature.steps if step.kernel == index],
            }
            for index, kernel in enumerate(signature.kernels)
        ],
        "steps": len(signature.steps),
    }


def library_tables(found: dict[str, Any]) -> list[str | Table]:
    """The same for people."""
    target = found["target"]
    kernels = Table(
        ("kernel", "template", ">calls", ">FLOPs", ">bytes", ">FLOP/B", "computes"),
        "kernels; FLOPs and bytes of a call",
    )
    for row in found["kernels"]:
        first = " + ".join(row["sources"][0]) if row["sources"] else ""
        more = f" (and {row['calls'] - 1} more)" if row["calls"] > 1 else ""
        name = row["symbol"].removeprefix(f"{found['name']}_")
        moved = size(row["bytes"]) if row["bytes"] else "-"
        intensity = intensity_text(row["flops"], row["bytes"])
        kernels.add(name, row["template"], row["calls"], amount(row["flops"]), moved, intensity, first + more)
    return [
        f"{found['name']}: library for {target['triple']}, cpu {target['cpu']}",
        f"compiled by Tilewright {found['tilewright_version']}, precision {found['precision']}"
        f"{', ' + found['quantize'] if found['quantize'] else ''}",
        f"needs {', '.join(target['cpu_features']) or 'no special instructions'}; "
        f"{'threads' if found['threaded'] else 'one thread'}",
        f"file {size(found['file_bytes'])}, weights {size(found['weights_bytes'])}, "
        f"workspace {size(found['workspace_bytes'])}",
        f"a run: {found['steps']} steps, {amount(found['flops'], 'FLOP')}, {size(found['bytes'])} read and written",
        *(f"for {row['name']} from {row['least']} to {row['largest']}" for row in found["dimensions"]),
        *(f"input  {_spec_text(spec)}" for spec in found["inputs"]),
        *(f"output {_spec_text(spec)}" for spec in found["outputs"]),
        *(
            f"state  {row['input']} becomes {row['output']} in its memory, {size(row['memory_bytes'])}"
            for row in found["states"]
        ),
        kernels,
        *fallbacks((row["symbol"].removeprefix(f"{found['name']}_"), row["fallback"]) for row in found["kernels"]),
    ]


def inspect_model(path: Path, options: CompileOptions) -> dict[str, Any]:
    """A model's operators, tensors and work, as JSON takes it.

    A model that cannot be compiled as it is (unknown dimensions, unsupported operators) is shown without its work, and
    `problem` says why. For a range of sizes it is compiled as far as its passes, which may refuse it, too.

    Raises:
        ModelError, UnsupportedError: the file is no model that can be read.
        ShapeError, UsageError: the shapes or the ranges do not fit the model.
    """
    from ... import frontends
    from ..build import build
    from ..measurement.model_work import node_flops

    opened = frontends.open(path, request_of(options))
    imported, problem = None, None
    try:
        imported = build(opened, None, options, stop_after="passes" if options.ranges else "import").imported
    except (ShapeError, UnsupportedError) as error:
        if options.shapes and isinstance(error, ShapeError):
            raise
        problem = str(error)
    model = opened.graph_form()
    graph = model.graph
    operator_of = frontends.node_operators(opened)
    found: dict[str, Any] = {
        "kind": "model",
        "name": opened.name,
        "ir_version": model.ir_version,
        "opset": {domain or "ai.onnx": version for domain, version in model.opset_imports.items()},
        "parameters": sum(math.prod(_dims(value)) for value in graph.initializers.values()),
        "parameters_bytes": sum(value.const_value.nbytes for value in graph.initializers.values() if value.const_value),
        "inputs": [_value(value) for value in graph.inputs if value.name not in graph.initializers],
        "outputs": [_value(value) for value in graph.outputs],
        "operators": dict(Counter(operator_of.values()).most_common()),
        "flops": None,
        "flops_by_operator": {},
        "problem": problem,
    }
    if imported is None:
        return found
    main = imported.module["main"]
    found["inputs"] = [_typed(name, var.ty) for name, var in zip(imported.input_names, main.params, strict=True)]
    found["outputs"] = [
        _typed(name, field) for name, field in zip(imported.output_names, main.ret_ty.fields, strict=True)
    ]
    work: Counter[str] = Counter()
    for source, count in node_flops(imported.module):
        work[operator_of.get(source, "inside functions")] += count
    found["flops"] = sum(work.values())
    found["flops_by_operator"] = {name: count for name, count in work.most_common() if count}
    return found


def model_tables(found: dict[str, Any]) -> list[str | Table]:
    """The same for people."""
    operators = Table(("operator", ">nodes", ">FLOPs", ">share"), "operators")
    work, total = found["flops_by_operator"], max(1, found["flops"] or 0)
    rows = {name: (count, work.get(name, 0)) for name, count in found["operators"].items()}
    rows.update({name: (0, flops) for name, flops in work.items() if name not in rows})
    for name, (count, flops) in sorted(rows.items(), key=lambda row: (-row[1][1], -row[1][0])):
        operators.add(name, count or "-", amount(flops), f"{flops / total:.1%}" if flops else "-")
    opsets = ", ".join(f"{domain} {version}" for domain, version in found["opset"].items())
    return [
        f"{found['name']}: ONNX model, opset {opsets}",
        f"{amount(found['parameters'])} parameters ({size(found['parameters_bytes'])}), "
        + ("work unknown" if found["flops"] is None else f"{amount(found['flops'], 'FLOP')} a run"),
        *(f"input  {_spec_text(spec)}" for spec in found["inputs"]),
        *(f"output {_spec_text(spec)}" for spec in found["outputs"]),
        operators,
        *([f"not compiled as it is: {found['problem']}"] if found["problem"] else []),
    ]


def _spec(spec: Any) -> dict[str, Any]:
    found = {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}
    return {**found, "sizes": list(spec.sizes)} if spec.sizes else found


def _value(value: Any) -> dict[str, Any]:
    """An ONNX value; dimensions that are not known are names or question marks."""
    dtype = value.dtype.name.lower() if value.dtype is not None else "unknown"
    return {"name": value.name, "shape": _dims_or_names(value), "dtype": {"float": "float32"}.get(dtype, dtype)}


def _dims_or_names(value: Any) -> list[Any]:
    if value.shape is None:
        return ["..."]
    return [dim if isinstance(dim, int) else str(getattr(dim, "value", dim) or "?") for dim in value.shape]


def _dims(value: Any) -> list[int]:
    return [dim for dim in value.shape if isinstance(dim, int)] if value.shape is not None else []


def _typed(name: str, type_: Any) -> dict[str, Any]:
    return {"name": name, "shape": [int(dim) for dim in type_.shape.values], "dtype": str(type_.dtype)}


def _spec_text(spec: dict[str, Any]) -> str:
    return f"{spec['name']}: {spec['dtype']} {shape_text(spec.get('sizes', spec['shape']))}"
