"""What `inspect` tells of a model (operators, shapes, work) and of a library (kernels, memory)."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from .report import Table, amount, shape_text, size
from .signature import Signature


def inspect_library(signature: Signature, path: Path) -> dict[str, Any]:
    """A library's signature with totals, as JSON takes it."""
    calls = Counter(step.kernel for step in signature.steps if step.kernel >= 0)
    return {
        "kind": "library",
        "file_bytes": path.stat().st_size,
        "name": signature.name,
        "target": {"triple": signature.triple, "cpu": signature.cpu, "cpu_features": list(signature.cpu_features)},
        "tilewright_version": signature.tilewright_version,
        "inputs": [_spec(spec) for spec in signature.inputs],
        "outputs": [_spec(spec) for spec in signature.outputs],
        "workspace_bytes": signature.workspace_bytes,
        "weights_bytes": signature.weights_bytes,
        "threaded": signature.threaded,
        "flops": sum(signature.kernels[index].flops * count for index, count in calls.items()),
        "kernels": [
            {
                "symbol": kernel.symbol,
                "template": kernel.template,
                "flops": kernel.flops,
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
    kernels = Table(("kernel", "template", ">calls", ">FLOPs", "computes"), "kernels")
    for row in found["kernels"]:
        first = " + ".join(row["sources"][0]) if row["sources"] else ""
        more = f" (and {row['calls'] - 1} more)" if row["calls"] > 1 else ""
        name = row["symbol"].removeprefix(f"{found['name']}_")
        kernels.add(name, row["template"], row["calls"], amount(row["flops"]), first + more)
    return [
        f"{found['name']}: library for {target['triple']}, cpu {target['cpu']}",
        f"compiled by Tilewright {found['tilewright_version']}",
        f"needs {', '.join(target['cpu_features']) or 'no special instructions'}; "
        f"{'threads' if found['threaded'] else 'one thread'}",
        f"file {size(found['file_bytes'])}, weights {size(found['weights_bytes'])}, "
        f"workspace {size(found['workspace_bytes'])}, {amount(found['flops'])}FLOPs a run in {found['steps']} steps",
        *(f"input  {_spec_text(spec)}" for spec in found["inputs"]),
        *(f"output {_spec_text(spec)}" for spec in found["outputs"]),
        kernels,
    ]


def inspect_model(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """A model's operators, tensors and work, as JSON takes it; work is counted on kernels before fusion.

    Raises:
        ModelError, ShapeError, UnsupportedError: as compiling does.
    """
    import onnx

    from .. import frontends, targets
    from ..ir_passes import ChannelsLast, run_passes
    from ..ir_passes.graph import Graph
    from ..schedules.legalize import legalize
    from ..schedules.schedule import kernel_flops

    proto = onnx.load(str(path), load_external_data=False)
    imported = frontends.load(path, shapes=shapes)
    module = legalize(run_passes(imported.module, [ChannelsLast()]).module, targets.parse("host"))
    work: Counter[str] = Counter()
    for _, value in Graph.read(module).bindings:
        function = value.args[0] if getattr(value, "args", ()) else None
        name = getattr(function, "name_hint", None)
        if name is not None:
            work[name.rstrip("0123456789")] += kernel_flops(module[name])
    parameters = sum(math.prod(tensor.dims) for tensor in proto.graph.initializer)
    return {
        "kind": "model",
        "name": imported.name,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
        "parameters": parameters,
        "inputs": [_variable(name, var) for name, var in zip(imported.input_names, module["main"].params, strict=True)],
        "outputs": [
            _typed(name, field) for name, field in zip(imported.output_names, module["main"].ret_ty.fields, strict=True)
        ],
        "operators": dict(Counter(node.op_type for node in proto.graph.node).most_common()),
        "flops": sum(work.values()),
        "flops_by_kernel": {name: count for name, count in work.most_common() if count},
    }


def model_tables(found: dict[str, Any]) -> list[str | Table]:
    """The same for people."""
    operators = Table(("operator", ">nodes"), "operators")
    for name, count in found["operators"].items():
        operators.add(name, count)
    work = Table(("kernel", ">FLOPs", ">share"), "work")
    for name, flops in found["flops_by_kernel"].items():
        work.add(name, amount(flops), f"{flops / max(1, found['flops']):.1%}")
    opsets = ", ".join(f"{domain} {version}" for domain, version in found["opset"].items())
    return [
        f"{found['name']}: ONNX model, opset {opsets}",
        f"{amount(found['parameters'])} parameters, {amount(found['flops'])}FLOPs a run",
        *(f"input  {_spec_text(spec)}" for spec in found["inputs"]),
        *(f"output {_spec_text(spec)}" for spec in found["outputs"]),
        operators,
        work,
    ]


def _spec(spec: Any) -> dict[str, Any]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}


def _variable(name: str, variable: Any) -> dict[str, Any]:
    return _typed(name, variable.ty)


def _typed(name: str, type_: Any) -> dict[str, Any]:
    return {"name": name, "shape": [int(dim) for dim in type_.shape.values], "dtype": str(type_.dtype)}


def _spec_text(spec: dict[str, Any]) -> str:
    return f"{spec['name']}: {spec['dtype']} {shape_text(spec['shape'])}"
