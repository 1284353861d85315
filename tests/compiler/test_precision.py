"""--precision: what a target can do of it, models in bfloat16 and with float16 weights, and how much they differ."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soft_units
import tilewright
from onnx import helper, numpy_helper
from tilewright import frontends, targets
from tilewright.compiler import api, pipeline
from tilewright.compiler.build import build
from tilewright.compiler.cli.main import run
from tilewright.compiler.library.artifact import read_signature
from tilewright.compiler.library.signature import Signature
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.precision import RTOL_OF_PRECISION, possible
from tilewright.compiler.verification.verify import verify
from tilewright.errors import PrecisionWarning
from tilewright.ir_passes import run_passes
from tilewright.schedules.templates import dot_product
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.template import choose_default

DIGITS = Path(__file__).parents[2] / "examples" / "models" / "digits_cnn.onnx"
SAPPHIRE_RAPIDS = targets.parse("x86_64-linux-gnu", cpu="sapphirerapids")


def block_network() -> onnx.ModelProto:
    """A small network with cases for bfloat16: padding, strides, a residual, pooling, depthwise, slices, joins."""
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}

    def conv(source: str, result: str, shape: tuple[int, ...], **attributes: object) -> onnx.NodeProto:
        scale = np.sqrt(np.prod(shape[1:]) / 2)
        weights[f"w_{result}"] = (rng.standard_normal(shape) / scale).astype(np.float32)
        weights[f"b_{result}"] = rng.standard_normal(shape[0]).astype(np.float32)
        return helper.make_node("Conv", [source, f"w_{result}", f"b_{result}"], [result], result, **attributes)

    weights["dense"] = (rng.standard_normal((144, 40)) / 12).astype(np.float32)
    weights["sizes"] = np.array([16, 32], np.int64)
    nodes = [
        conv("x", "stem", (32, 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["stem"], ["a"]),
        conv("a", "inner", (32, 32, 3, 3), pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["inner", "a"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["c"]),
        conv("c", "depthwise", (32, 1, 3, 3), pads=[1, 1, 1, 1], group=32),
        conv("c", "pointwise", (48, 32, 1, 1)),
        helper.make_node("MaxPool", ["depthwise"], ["pooled"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["pointwise", "sizes"], ["few", "many"], axis=1),
        conv("many", "of_many", (32, 32, 3, 3), pads=[1, 1, 1, 1]),
        conv("few", "of_few", (32, 16, 1, 1)),
        helper.make_node("Concat", ["pooled", "pointwise", "of_many", "of_few"], ["joined"], axis=1),
        helper.make_node("GlobalAveragePool", ["joined"], ["means"]),
        helper.make_node("Flatten", ["means"], ["row"]),
        helper.make_node("MatMul", ["row", "dense"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 34, 34])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 40])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("unit", ["AMX-BF16", "AVX512-BF16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_bfloat16(unit: str, threads: int) -> None:
    model = block_network()
    compiled = tilewright.compile(model, soft_units.target_with(unit), precision="bf16", threads=threads, jobs=1)
    assert compiled.precision == "bf16"

    found = verify(compiled, model)

    assert found.passed and found.rtol == RTOL_OF_PRECISION["bf16"]
    worst = found.worst()["y"]
    assert 1e-4 < worst.relative_error < 2e-2  # rounded, and only that
    assert worst.top1 == 1.0


def test_both_units_give_the_same_numbers() -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 34, 34)).astype(np.float32)
    results = [
        tilewright.compile(block_network(), soft_units.target_with(*units), precision="bf16", threads=1, jobs=1)(x)
        for units in (("AMX-BF16",), ("AVX512-BF16",), ("AMX-BF16", "AVX512-BF16"))
    ]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=0, atol=1e-2 * np.abs(results[0]).max())


def test_float16_weights(tmp_path: Path) -> None:
    model = block_network()
    half = api.compile(model, "host", precision="fp16", output=tmp_path / "half.so", threads=1)
    full = api.compile(model, "host", output=tmp_path / "full.so", threads=1)
    assert half.signature.weights_bytes < 0.7 * full.signature.weights_bytes
    found = verify(half, model)
    assert found.passed and found.rtol == RTOL_OF_PRECISION["fp16"]
    assert 1e-5 < found.worst()["y"].relative_error < 2e-3


@pytest.mark.parametrize(("precision", "cpu"), [("bf16", "x86-64-v3"), ("fp16", "x86-64-v2")])
def test_a_target_that_cannot_gets_float32_and_a_warning(precision: str, cpu: str) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu=cpu)
    with pytest.warns(PrecisionWarning, match=f"{cpu} .*float32 instead"):
        assert possible(precision, target) == "fp32"


def test_c_sources_are_in_float32_where_the_processor_has_vectors_too() -> None:
    with pytest.warns(PrecisionWarning, match=r"C sources, .*cortex-m55 .*float32 instead"):
        assert possible("bf16", targets.parse("thumbv8.1m.main-none-eabihf", cpu="cortex-m55")) == "fp32"


def test_features_of_units_are_required_only_where_their_dtypes_are(tmp_path: Path) -> None:
    features = {
        precision: emitted_for(SAPPHIRE_RAPIDS, precision, tmp_path / f"{precision}.so").cpu_features
        for precision in ("fp32", "bf16")
    }
    assert not {"amx-tile", "amx-bf16", "avx512bf16"} & set(features["fp32"])
    assert {"amx-tile", "amx-bf16", "avx512bf16"} <= set(features["bf16"])
    assert set(features["fp32"]) < set(features["bf16"])


def emitted_for(target: targets.Target, precision: str, library: Path) -> Signature:
    build(block_network(), library, CompileOptions(target, precision=precision, threads=1))
    return read_signature(library)


@pytest.mark.skipif(
    not targets.host().units_for("bfloat16", "bfloat16", "float32"), reason="this processor multiplies no bfloat16"
)
def test_bfloat16_on_this_processor() -> None:
    model = block_network()
    found = verify(tilewright.compile(model, precision="bf16", jobs=1), model)
    assert found.passed and 1e-4 < found.worst()["y"].relative_error < 2e-2


def test_nobody_multiplies_in_bfloat16_without_asking() -> None:
    seen: list[Workload] = []

    def noted(templates: Any, workload: Any, target: targets.Target) -> Any:
        if isinstance(workload, Workload):
            seen.append(workload)
        return choose_default(templates, workload, target)

    imported = frontends.load(frontends.open(block_network()))
    for precision, dtype in (("fp32", "float32"), ("bf16", "bfloat16")):
        seen.clear()
        run_passes(imported.module, pipeline.passes(SAPPHIRE_RAPIDS, precision=precision, choose=noted))
        assert {workload.lhs for workload in seen if workload.columns >= 8} == {dtype}
    # Code for float32 does not need a processor with units, so LLVM must not use them.
    asked = SAPPHIRE_RAPIDS.for_dtypes({"float32", "bfloat16"})
    assert {"-amx-tile", "-avx512bf16"} <= set(SAPPHIRE_RAPIDS.features)
    assert {"+amx-tile", "+avx512bf16"} <= set(asked.features) and "-amx-tile" not in asked.features
    assert SAPPHIRE_RAPIDS.for_dtypes({"float32", "int8"}) == SAPPHIRE_RAPIDS


@pytest.mark.parametrize(("cpu", "expected"), [("cooperlake", []), ("znver5", ["AVX512-BF16"])])
def test_vector_units_are_used_where_they_are_faster_than_multiply_adds(cpu: str, expected: list[str]) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu=cpu)
    dtypes = ("bfloat16", "bfloat16", "float32")
    assert [unit.name for unit in target.units_for(*dtypes)] == ["AVX512-BF16"]  # they round in any case
    assert [unit.name for unit in dot_product.faster_units(target, *dtypes)] == expected


def test_the_command_line_warns_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "digits.so"
    arguments = ["compile", str(DIGITS), "-o", str(output), "--precision", "bf16", "--target", "x86_64-linux-gnu"]
    assert run([*arguments, "--mcpu", "x86-64-v3"]) == 0
    assert "warning: x86-64-v3 multiplies no bfloat16" in capsys.readouterr().err
    assert run(["inspect", str(output)]) == 0
    assert "precision fp32" in capsys.readouterr().out
    assert run(["verify", str(output), str(DIGITS)]) == 0


def test_instructions_of_the_units(tmp_path: Path) -> None:
    for cpu, expected in (("sapphirerapids", "tdpbf16ps"), ("znver5", "vdpbf16ps")):
        output = tmp_path / f"{expected}.so"
        options = CompileOptions(target="x86_64-linux-gnu", cpu=cpu, precision="bf16", threads=1)
        build(block_network(), output, options)
        listing = subprocess.run(["objdump", "-d", str(output)], capture_output=True, text=True, check=True).stdout
        for instruction in (expected, "vcvtneps2bf16"):
            assert instruction in listing
        if expected == "tdpbf16ps":
            # Tiles are set up and released in pairs, and asked of Linux before.
            assert listing.count("ldtilecfg") == listing.count("tilerelease") > 0
            assert "$0x1023" in listing
