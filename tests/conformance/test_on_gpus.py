"""A fixed tenth of ONNX's own tests that pass on processors do so on an emulated GPU, a few of them every time."""

from __future__ import annotations

import zlib
from functools import partial

import pytest
import record
import tilewright
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation
from onnx_cases import all_tests
from outcomes import PASSES, outcome_of

__all__ = ["emulated_driver", "emulation"]  # fixtures

_KNOWN = record.read()
_TENTH = [
    key for key in all_tests() if zlib.crc32(key.encode()) % 10 == 0 and key in _KNOWN and _KNOWN[key].kind == PASSES
]
_FEW = _TENTH[::60]


@pytest.mark.parametrize(
    "key", [each if each in _FEW else pytest.param(each, marks=pytest.mark.slow) for each in _TENTH]
)
def test_outcome_is_that_of_processors(key: str, emulation: Emulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tilewright, "compile", partial(tilewright.compile, target=TRIPLE))

    assert outcome_of(all_tests()[key]) == _KNOWN[key]
