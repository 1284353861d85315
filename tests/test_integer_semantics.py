"""Integers of the model wrap, whatever their dtype, and keep no algebra that holds within their range alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import tilewright
from c_sources import built, called
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation
from integer_cases import DTYPES, sample
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.options import CompileOptions

__all__ = ["emulated_driver", "emulation"]  # fixtures


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("dtype", [pytest.param(each, marks=pytest.mark.sweep(2)) for each in DTYPES])
def test_integers_wrap(dtype: str, cpu: str) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu=cpu)
    if not set(target.required_features) <= set(targets.parse("host").required_features):
        pytest.skip("this machine lacks the instructions")
    given = sample(dtype)
    compiled = tilewright.compile(given.model, target="x86_64-linux-gnu", cpu=cpu, threads=1)
    assert not given.wrong(compiled.run(given.inputs))


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32", "int64", "uint64"])
def test_integers_wrap_in_c(dtype: str, tmp_path: Path) -> None:
    given = sample(dtype)
    options = CompileOptions(target="x86_64-linux-gnu", emit="c", name="net", jobs=1)
    made = build(given.model, tmp_path / "net", options)
    library = built(made.path, "net")
    results = called(library, made.plan, [given.inputs[spec.name] for spec in made.plan.inputs])
    assert not given.wrong({spec.name: each for spec, each in zip(made.plan.outputs, results, strict=True)})


@pytest.mark.parametrize("dtype", [pytest.param("int32", marks=pytest.mark.slow), "int64"])
def test_integers_wrap_on_gpus(dtype: str, emulation: Emulation, tmp_path: Path) -> None:
    given = sample(dtype)
    build(given.model, tmp_path / "net.so", CompileOptions(target=TRIPLE, cpu="sm_80", name="net", jobs=1))
    assert not given.wrong(tilewright.load(tmp_path / "net.so").run(given.inputs))
