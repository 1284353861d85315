"""Modules of several Relax functions, taken apart and put together."""

from __future__ import annotations

from typing import Any

from tilewright.ir_passes.core.functions import joined, split
from tvm import relax, te, tirx


def scaled(factor: float) -> Any:
    """A module whose `main` calls a kernel `scale`."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType([3], "float32"))

    def scale(data: te.Tensor) -> te.Tensor:
        return te.compute(data.shape, lambda i: data[i] * tirx.const(factor, "float32"), name="scaled")

    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(relax.Tuple([builder.emit_te(scale, x, primfunc_name_hint="scale")]))
        builder.emit_func_output(result)
    return builder.get()


def test_a_module_of_one_function_stays_the_same_object() -> None:
    module = scaled(2)
    assert split(module)["main"] is module and joined({"main": module}) is module


def test_kernels_of_the_same_name_stay_apart() -> None:
    whole = joined({"main": scaled(2), "body_0": scaled(3), "body_1": scaled(5)})
    assert relax.analysis.well_formed(whole) is not False
    parts = split(whole)
    assert list(parts) == ["main", "body_0", "body_1"]
    for name, factor in (("main", 2.0), ("body_0", 3.0), ("body_1", 5.0)):
        relax.analysis.well_formed(parts[name])
        (kernel,) = (each for each in parts[name].functions.values() if isinstance(each, tirx.PrimFunc))
        assert f"T.float32({factor})" in kernel.script()
        assert parts[name]["main"].attrs["global_symbol"] == "main"
    assert sorted(str(each.name_hint) for each in joined(parts).functions) == sorted(
        str(each.name_hint) for each in whole.functions
    )
