"""Miniatures of the benchmark models' families, for fast tests: `python -m benchmarks.tiny` writes tests/models/*.onnx.

Same structure and the same operators as exported from torch, small widths and images, so that a test compiles one in
seconds and needs no torch. Widths are odd on purpose (10, 12, 20 channels, 7x7 and 3x3 images): real networks are
multiples of what a vector holds, and the rest would never be met. The files are kept in the repository; the exporter's
notes on source files are taken out of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .models import _logits, check_outputs, export_module, randomise, run_module

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "models"
SEED = 11
LARGEST_BYTES = 400_000
