"""The table of operator rows: for each ONNX operator, how to add one with valid inputs to a graph."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from draft import Draft

Row = Callable[[Draft, str], None]

ROWS: dict[str, Row] = {}

# Operators of the importer that no row can make, and why.
WITHOUT_ROW: Mapping[str, str] = MappingProxyType(
    {
        "Det": "ONNX Runtime computes it by elimination and we by expansion: both lose digits when it is near 0",
        "Scatter": "the old name of ScatterElements, which ONNX Runtime takes up to opset 10 only",
        "Upsample": "the old name of Resize, which ONNX Runtime takes up to opset 9 only",
        "CumProd": "since opset 26, which ONNX Runtime does not run",
        "BitCast": "since opset 26, which ONNX Runtime does not run",
        "TensorScatter": "since opset 24, which ONNX Runtime does not run",
        "SimplifiedLayerNormalization": "ONNX Runtime's own, and no operator of the standard",
        "DeformConv": "ONNX Runtime has no kernel of it for processors",
        **dict.fromkeys(
            ("Compress", "NonMaxSuppression", "NonZero", "Unique"),
            "a draft's values go into any operator, and those of a size that data decides into few",
        ),
        **dict.fromkeys(
            (
                *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"),
                "RandomUniformLike",
            ),
            "random numbers are others in ONNX Runtime",
        ),
        **dict.fromkeys(
            ("DFT", "GridSample", "MaxRoiPool", "RoiAlign", "STFT"),
            "ONNX Runtime's sums lose more digits than others: test_sampling.py compares them by what is known",
        ),
        **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), "a draft has no graphs inside of its nodes"),
        **dict.fromkeys(
            (
                *("ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase"),
                *("SequenceInsert", "SequenceLength", "SplitToSequence"),
                *("Optional", "OptionalGetElement", "OptionalHasElement"),
            ),
            "a draft's values are tensors",
        ),
    }
)


def row(*op_types: str) -> Callable[[Row], Row]:
    """Registers how to add operators to a graph."""

    def register(function: Row) -> Row:
        for op_type in op_types:
            if op_type in ROWS:
                raise ValueError(f"{op_type} has two rows")
            ROWS[op_type] = function
        return function

    return register


_FAMILIES = (
    "elementwise",
    "moves",
    "windows",
    "reductions",
    "indexing",
    "products",
    "quantized",
    "recurrent",
    "motifs",
)


def all_rows() -> dict[str, Row]:
    """Every row, from all files of rows."""
    for family in _FAMILIES:
        importlib.import_module(f"rows_{family}")
    return ROWS
