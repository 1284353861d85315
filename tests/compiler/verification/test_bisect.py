"""Bisecting names the operator, says whether it takes fusion to go wrong, and names the pass: with faults put in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
import soft_units
from small_models import swish_network
from tilewright import targets
from tilewright.compiler import pipeline
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import read_signature
from tilewright.compiler.lowering import float_steps
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.verification.bisect import bisect, describe, target_of
from tilewright.compiler.verification.compare import DEFAULT_RTOL
from tilewright.ir_passes import GraphPass, PassResult
from tilewright.ir_passes.core.match import calls
from tilewright.ir_passes.core.rewriter import rewrite
from tilewright.ir_passes.registry import spelled
from tilewright.schedules.tensorir import vector_math
from tvm import relax

DIGITS = Path(__file__).parents[3] / "examples" / "models" / "digits_cnn.onnx"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bisect") / "swish.onnx"
    onnx.save(swish_network(), path)
    return path


@dataclass(frozen=True)
class Faulty(GraphPass):
    """Takes one operator for another, in models that have no more than so many outputs."""

    most_outputs: int = 1000
    operator: str = "tanh"
    name = "faulty"

    def __call__(self, module: Any) -> PassResult:
        if len(module["main"].ret_ty.fields) > self.most_outputs:
            return PassResult(module, False)
        return rewrite(module, self._visit)

    def _visit(self, rewriter: Any, var: Any, value: Any) -> Any:
        if not calls(value, self.operator):
            return None
        return rewriter.emit(relax.op.negative(value.args[0]), rewriter.hint(var, value))


def with_pass(monkeypatch: pytest.MonkeyPatch, fault: GraphPass) -> None:
    sound = pipeline.passes
    monkeypatch.setattr(pipeline, "passes", lambda *arguments, **options: [fault, *sound(*arguments, **options)])


def test_a_sound_compiler_has_no_culprit(network: Path) -> None:
    assert bisect(network, rtol=DEFAULT_RTOL) is None


def test_it_computes_in_the_precision_of_the_library(network: Path) -> None:
    machine = soft_units.target_with("AVX512-BF16")

    assert bisect(network, CompileOptions(target=machine), rtol=DEFAULT_RTOL) is None
    rounded = bisect(network, CompileOptions(target=machine, precision="bf16"), rtol=DEFAULT_RTOL)
    assert rounded is not None and 1e-4 < rounded.comparison.relative_error < 2e-2


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("cpu", "features", "precision"),
    [
        ("x86-64", (), "fp32"),
        ("x86-64-v3", ("-bmi2", "+gfni"), "fp32"),
        ("sapphirerapids", ("-amx-tile", "+avx512fp16"), "bf16"),
        ("znver4", ("-avx512vl",), "fp32"),
    ],
)
def test_it_compiles_for_what_the_library_was_compiled_for(
    cpu: str, features: tuple[str, ...], precision: str, tmp_path: Path
) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, features=features)
    library = tmp_path / "digits.so"
    build(DIGITS, library, CompileOptions(target, precision=precision, threads=1))
    signature = read_signature(library)

    found = target_of(signature)

    assert (found.cpu, found.isa) == (target.cpu, target.isa)
    build(DIGITS, library, CompileOptions(found, precision=precision, threads=1))
    assert set(read_signature(library).cpu_features) == set(signature.cpu_features)


def test_a_wrong_kernel_is_named_by_its_operator(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {**vector_math.EXPANSIONS, "tanh": lambda a, x: a.multiply(x, a.number(0.5))}
    monkeypatch.setattr(float_steps, "EXPANSIONS", wrong)

    found = bisect(network, rtol=DEFAULT_RTOL)

    assert found is not None
    # No pass is to blame for what a kernel computes.
    assert (found.node, found.operator, found.only_fused, found.passes) == ("tanh", "Tanh", False, ())


def test_a_wrong_pass_is_named(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_pass(monkeypatch, Faulty())

    found = bisect(network, rtol=DEFAULT_RTOL)

    assert found is not None
    assert (found.node, found.only_fused, found.passes) == ("tanh", False, ("faulty",))
    assert "without the pass: faulty" in describe(found)


def test_a_fault_that_hides_when_values_are_kept(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Faulty(most_outputs=1, operator="nn.relu")
    with_pass(monkeypatch, fault)

    found = bisect(network, rtol=DEFAULT_RTOL)

    assert found is not None
    assert (found.node, found.operator, found.only_fused, found.passes) == ("relu", "Relu", True, (spelled(fault),))
    assert "where operators are fused" in describe(found)
