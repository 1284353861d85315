"""Small models emitted by the back half alone: Relax built by hand, TVM's own fusion, and a trivial schedule.

So the tests of plan, memory, code generation and runtime depend on no template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.built import Build
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.process.workers import Workers
from tilewright.frontends import ImportedModel
from tvm import relax, s_tir

Body = Callable[..., Any]
Inputs = Mapping[str, tuple[Sequence[int], str]]


def relax_module(inputs: Inputs, body: Body) -> Any:
    """`main` of the outputs that `body(emit, *inputs)` returns, as a tuple; nothing lowered yet."""
    builder = relax.BlockBuilder()
    parameters = [relax.Var(name, relax.TensorType(shape, dtype)) for name, (shape, dtype) in inputs.items()]
    with builder.function("main", parameters):
        with builder.dataflow():
            outputs = builder.emit_output(relax.Tuple(list(body(builder.emit, *parameters))))
        builder.emit_func_output(outputs)
    return builder.get()


def fused(module: Any, *, keep_reshapes: bool = True) -> Any:
    """Legalized by TVM and fused; reshapes stay aliases, as the project's own legalization leaves them."""
    keep = {"relax.reshape": lambda builder, call: call} if keep_reshapes else {}
    transform = relax.transform
    return tvm.ir.transform.Sequential(
        [
            transform.LegalizeOps(keep),
            transform.AnnotateTIROpPattern(),
            transform.FuseOps(),
            transform.FuseTIR(),
            transform.DeadCodeElimination(),
        ]
    )(module)


def scheduled(module: Any) -> Any:
    """Every block's outer loop is parallel, and reductions start from their own loop."""
    functions = {}
    for variable, function in module.functions.items():
        if isinstance(function, tvm.tirx.PrimFunc):
            schedule = s_tir.Schedule(function.with_attr("global_symbol", "main"))
            for block in schedule.get_child_blocks(schedule.get_sblock("root")):
                loops = schedule.get_loops(block)
                kinds = [int(i.iter_type) for i in schedule.get(block).iter_vars]
                spatial = kinds.count(0)
                if spatial and len(loops) == len(kinds):
                    schedule.parallel(loops[0])
                    if spatial < len(kinds):
                        schedule.decompose_reduction(block, loops[spatial])
            function = schedule.mod["main"].without_attr("global_symbol")
        functions[variable] = function
    return tvm.IRModule(functions)


def built(
    module: Any, output: Path, *, outputs: Sequence[str], workers: Workers | None = None, **options: Any
) -> Build:
    """A library of a module of scheduled kernels, which no pass changes any more."""
    inputs = tuple(str(parameter.name) for parameter in module["main"].params)
    given = {"target": targets.parse("host", cores=2), "jobs": 1, **options}
    imported = ImportedModel(module, output.stem, inputs, tuple(outputs))
    return build(imported, output, CompileOptions(**given), passes=lambda order: [], workers=workers)


def emitted(
    folder: Path,
    inputs: Inputs,
    body: Body,
    *,
    outputs: int | Sequence[str] = 1,
    name: str = "net",
    emit: str = "so",
    **options: Any,
) -> Build:
    """A library of `body` in `folder`; outputs are named y0, y1, ... when given as a number."""
    names = [f"y{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
    module = scheduled(fused(relax_module(inputs, body)))
    return built(module, folder / f"{name}.{emit}", outputs=names, name=name, emit=emit, **options)


MLP_INPUTS: Inputs = {"x": ((5, 24), "float32")}
MLP_WEIGHTS = tuple(
    np.random.default_rng(seed).standard_normal(shape).astype("float32")
    for seed, shape in enumerate([(24, 40), (40, 7)])
)


def mlp(emit: Any, x: Any) -> list[Any]:
    """Two products with a ReLU between: has weights, workspace, kernel scratch and parallel loops."""
    first, second = (relax.const(weight) for weight in MLP_WEIGHTS)
    hidden = emit(relax.op.nn.relu(emit(relax.op.matmul(x, first), "hidden")), "relu")
    return [emit(relax.op.tanh(emit(relax.op.matmul(hidden, second), "logits")), "tanh")]


def mlp_reference(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same in numpy, in float64."""
    first, second = (weight.astype(np.float64) for weight in MLP_WEIGHTS)
    return np.asarray(np.tanh(np.maximum(x.astype(np.float64) @ first, 0) @ second))
