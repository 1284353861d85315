"""What a Python program calls: `tilewright.optimize`; the command line calls the same."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UsageError
from ..options import CompileOptions

if TYPE_CHECKING:
    from ..process.progress import ProgressCallback
    from .request import Optimized

SUFFIX = ".search"  # of the folder beside the recipe


def optimize(
    model: Any,
    calibration: Any,
    *,
    budget: str | Sequence[str],
    output: str | os.PathLike[str] | None = None,
    search: str | os.PathLike[str] | None = None,
    seconds: float | None = None,
    kinds: Sequence[str] = (),
    labels: np.ndarray[Any, Any] | None = None,
    metric: str | Callable[..., float] | None = None,
    images: str = "",
    options: CompileOptions | None = None,
    seed: int = 0,
    jobs: int = 1,
    device: str | None = None,
    cluster: str | None = None,
    progress: ProgressCallback | None = None,
) -> Optimized:
    """Searches what is done to each layer of a model, and finds the front of accuracy against speed and size.

    `compile` takes the result's `recipe()`, that of another point of its `front`, `recipe(point)`, or the file that is
    written, as `recipe`.

    Args:
        model: as `compile` takes it, or what `open` gave.
        calibration: samples of its inputs, as `quantize` takes them. Every other one is fitted and calibrated on, the
            rest judge.
        budget: ``accuracy=-0.5`` (points of the metric), ``latency=0.5x``, ``size=0.25x`` (of the float library's);
            or several, which all hold.
        output: the recipe to write: that of the best network so far, from the first one on.
        search: a folder for all that is found: nothing in it is measured again, so a call that was cut off, or is
            repeated, goes on. None: beside the output, or without one nothing is kept.
        seconds: of all runs of this search together, in which it ends whatever it is at; None: until little is to be
            won.
        kinds: what is tried, of `treatments.KINDS`; all, if there are none.
        labels: one for each sample, on the first axis.
        metric: what outputs are worth, as `--metric` takes it, or a function of the outputs (arrays by name, samples
            on the first axis) and, if it has a second parameter, the labels; more is better.
        images: how images become inputs, as `quantize` takes it.
        options: how the model will be compiled: target, shapes, threads.
        seed: of the search.
        jobs: processes that try networks.
        device: where these run, as `--device` writes it; None: here.
        cluster: ``dask://HOST:PORT``: the workers there try networks.
        progress: called as progress(stage, done, total) while it works.

    Returns:
        All networks that were measured, those that no other is better than, and the best within the budget; where none
        is within it, `excess` is not 0, and the best is the nearest.

    Raises:
        CalibrationError, DataError: the samples do not fit the model, or the folder holds another search.
        ModelError, ShapeError, UnsupportedError, UsageError, OutputError, ToolError: see `tilewright.errors`.
    """
    since = time.monotonic()
    from ... import frontends
    from ..calibration.images import parse_preprocessing
    from ..calibration.samples import samples_of
    from ..calibration.tapped import input_specs
    from ..evaluation.metrics import metric_of
    from ..extents.ranges import static_shapes
    from ..process.temporary import temporary_folder
    from .budget import parse_budgets
    from .cluster import check_cluster, cluster_crew
    from .data import data_of
    from .optimize import optimize as searched
    from .request import Request
    from .treatments import checked_kinds

    if seconds is not None and not seconds > 0:
        raise UsageError(f"{seconds} is no limit", where="--seconds", hint="give more than 0, or leave it out")
    if cluster is not None:
        check_cluster(cluster)
    asked = Request(
        parse_budgets([budget] if isinstance(budget, str) else budget),
        metric_of(metric),
        options or CompileOptions(),
        checked_kinds(kinds),
        seconds,
        seed,
        jobs,
        device,
        crew=None if cluster is None else partial(cluster_crew, address=cluster, seconds=seconds),
    )
    tell: ProgressCallback = progress or (lambda stage, done, total: None)
    opened = frontends.open(model, frontends.Request(shapes=static_shapes(asked.options)))
    tell("read samples", 0, 0)
    prepared = parse_preprocessing(images) if images else None
    data = data_of(
        samples_of(calibration, input_specs(opened, asked.options), prepared),
        None if labels is None else np.asarray(labels),
    )
    place = None if output is None else Path(output)
    with ExitStack() as stack:
        if search is not None:
            folder = Path(search)
        elif place is not None:
            folder = place.with_suffix(SUFFIX)
        else:
            folder = stack.enter_context(temporary_folder())
        return searched(opened, data, asked, place, folder, tell, since)
