"""ONNX's own tests that pass on processors: code is generated for GPUs, and a fixed tenth passes on an emulated one.

Some of these run every time; `make conformance ARGS='--target nvptx64-nvidia-cuda --emit cu'` generates code for all.
"""

from __future__ import annotations

import zlib
from functools import partial

import pytest
import record
import tilewright
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation
from onnx_cases import all_tests
from outcomes import PASSES, Outcome, outcome_of, outcome_of_compiling

__all__ = ["emulated_driver", "emulation"]  # fixtures

_KNOWN = record.read()
_PASSING = [key for key in all_tests() if key in _KNOWN and _KNOWN[key].kind == PASSES]
_TENTH = [key for key in _PASSING if zlib.crc32(key.encode()) % 10 == 0]
_SOME = _TENTH[::12]


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    "key", [each if each in _SOME else pytest.param(each, marks=pytest.mark.slow) for each in _TENTH]
)
def test_outcome_is_that_of_processors(key: str, emulation: Emulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tilewright, "compile", partial(tilewright.compile, target=TRIPLE))

    assert outcome_of(all_tests()[key]) == _KNOWN[key]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(1, 10))
def test_code_is_generated(part: int) -> None:
    keys = [each for each in _PASSING if zlib.crc32(each.encode()) % 10 == part]
    outcomes = {key: outcome_of_compiling(all_tests()[key], _KNOWN[key].bound, TRIPLE, "cu") for key in keys}

    assert outcomes == {key: Outcome(PASSES, "", _KNOWN[key].bound) for key in keys}
