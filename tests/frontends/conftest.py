"""Puts this folder's own modules on the path, and adds the option that rewrites the table of operators."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-support-table", action="store_true", help="rewrite docs/onnx-support.md")
