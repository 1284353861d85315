"""ONNX's own tests that pass on processors: code is generated for GPUs, and a fixed tenth passes on an emulated one.

A few of these run every time.
"""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path

import pytest
import record
import tilewright
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation
from onnx_cases import all_tests
from outcomes import PASSES, outcome_of
from tilewright.compiler.build import build
from tilewright.compiler.options import CompileOptions
from tilewright.errors import TilewrightError

__all__ = ["emulated_driver", "emulation"]  # fixtures

_KNOWN = record.read()
_PASSING = [key for key in all_tests() if key in _KNOWN and _KNOWN[key].kind == PASSES]
_TENTH = [key for key in _PASSING if zlib.crc32(key.encode()) % 10 == 0]
_FEW = _TENTH[::60]


@pytest.mark.parametrize(
    "key", [each if each in _FEW else pytest.param(each, marks=pytest.mark.slow) for each in _TENTH]
)
def test_outcome_is_that_of_processors(key: str, emulation: Emulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tilewright, "compile", partial(tilewright.compile, target=TRIPLE))

    assert outcome_of(all_tests()[key]) == _KNOWN[key]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(1, 10))
def test_code_is_generated(part: int, tmp_path: Path) -> None:
    refused = {}
    for number, key in enumerate(each for each in _PASSING if zlib.crc32(each.encode()) % 10 == part):
        case, bound = all_tests()[key], _KNOWN[key].bound
        given = dict(zip([value.name for value in case.model.graph.input], case.data_sets[0][0], strict=False))
        arrays = {name: value for name, value in given.items() if not isinstance(value, list)}
        options = CompileOptions(
            target=TRIPLE,
            emit="cu",
            name="net",
            jobs=1,
            shapes={name: value.shape for name, value in arrays.items() if name not in bound},
            bindings={name: arrays[name] for name in bound},
        )
        try:
            build(case.model, tmp_path / str(number), options)
        except TilewrightError as error:
            refused[key] = str(error)

    assert refused == {}
