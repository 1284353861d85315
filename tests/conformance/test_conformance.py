"""A fixed tenth of ONNX's own tests come to what `make conformance` saw, and the document says what it saw."""

from __future__ import annotations

import zlib

import pytest
import record
from onnx_cases import all_tests
from outcomes import DISPUTED, PASSES, REFUSED, outcome_of
from support_table import TABLE, render

_TENTH = [key for key in all_tests() if zlib.crc32(key.encode()) % 10 == 0]
_MEND = "run `make conformance` and look at what changed in tests/conformance/record.tsv"


@pytest.mark.parametrize("key", _TENTH)
def test_outcome_is_as_recorded(key: str) -> None:
    assert outcome_of(all_tests()[key]) == record.read().get(key), _MEND


def test_every_test_is_recorded_and_passes_or_is_refused() -> None:
    known = record.read()

    assert set(known) == set(all_tests()), _MEND
    assert {key for key, outcome in known.items() if outcome.kind not in (PASSES, REFUSED, DISPUTED)} == set()


def test_document_is_what_was_seen() -> None:
    assert TABLE.read_text(encoding="utf-8") == render(record.read()), _MEND
