"""A benchmark model in int8: the recipe that Tilewright finds, and the same as a QDQ model for the other engines.

    python -m benchmarks.int8_model build/models/resnet50.onnx

Both stand beside the model, and what is there is not made again while the model is the same. Models of ours are
calibrated with random inputs of their kind, as their weights are random; others with NAME.calibration.npz beside the
file, arrays of samples by the inputs' names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tilewright
from tilewright import frontends
from tilewright.compiler.calibration.quantize import quantize
from tilewright.compiler.calibration.request import Request
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.files import read_recipe, write_recipe
from tilewright.compiler.recipes.identity import identity_of
from tilewright.compiler.recipes.quantized_onnx import export_quantized

from .models import MODELS
from .not_available import NotAvailableError

_SAMPLES = 16
_FIRST_SEED = 1  # 0 made the inputs that are measured with


@dataclass(frozen=True)
class Int8Model:
    """Where its files are."""

    recipe: Path
    onnx: Path


def int8_model(model: Path, threads: int = 1) -> Int8Model:
    """The files for a model, made if they are not there.

    Raises:
        NotAvailableError: there are no samples, or the model has no int8 form.
    """
    made = Int8Model(model.with_suffix(".int8.json"), model.with_suffix(".int8.onnx"))
    opened = frontends.open(model)
    if made.onnx.exists() and made.recipe.exists():
        recipe = read_recipe(made.recipe)
        if recipe.model.sha256 == identity_of(opened).sha256:
            return made
    try:
        found = quantize(opened, _samples(model), Request(CompileOptions(threads=threads), details=False))
        # The QDQ model last: where it is, the recipe is, too.
        write_recipe(found.recipe, made.recipe)
        export_quantized(opened, found.recipe, made.onnx)
    except (tilewright.errors.UnsupportedError, tilewright.errors.UsageError) as error:
        raise NotAvailableError(str(error)) from error
    return made


def _samples(model: Path) -> Any:
    beside = model.with_suffix(".calibration.npz")
    if beside.exists():
        return beside
    if model.stem in MODELS:
        return [MODELS[model.stem].example_inputs(seed) for seed in range(_FIRST_SEED, _FIRST_SEED + _SAMPLES)]
    raise NotAvailableError(f"there are no samples for int8: {beside.name} beside the model")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    summary, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        "python -m benchmarks.int8_model", None, summary, more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    for model in parser.parse_args(arguments).models:
        try:
            print(int8_model(model).onnx)
        except (NotAvailableError, tilewright.errors.TilewrightError) as reason:
            print(f"{model}: {reason}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
