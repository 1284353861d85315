"""`evaluate`: several libraries on one data set: accuracy against speed, memory, size and energy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import UsageError
from ..process.install import check_place, written_whole
from ..process.places import output_errors
from ..process.progress import Timeline, shown
from ..reports.report import show, show_json
from .command_options import Image, Json, Labels, MetricOption, Threads
from .opened_libraries import open_library
from .tensor_options import read_labels


def evaluate(
    libraries: Annotated[
        list[Path],
        typer.Argument(metavar="LIB...", help="Libraries with the same inputs; the first is compared with."),
    ],
    data: Annotated[
        Path,
        typer.Option("--data", metavar="DATA", help="Samples: an .npz or .npy file, an image, or a folder of them."),
    ],
    labels: Labels = None,
    metric: MetricOption = None,
    image: Image = None,
    threads: Threads = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="PAGE.html", help="Write a page with a table and plots.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare libraries on the same data: what their outputs are worth, and what they take.

    Each runs on all samples; they are timed in turns on the first. Energy is that of the processor, where Linux shows
    RAPL counters that may be read.

    Examples:

    * `tilewright evaluate float.so int8.so half.so --data test.npz --labels labels.npy`
    * `tilewright evaluate float.so int8.so --data test.npz --metric score.py:character_accuracy --report page.html`
    """
    from ..calibration.images import parse_preprocessing
    from ..calibration.samples import samples_of
    from ..evaluation.evaluate import evaluate as evaluated
    from ..evaluation.metrics import metric_of
    from ..reports import evaluation_report

    if report is not None:
        check_place(report, keep=[data, *libraries])
    given = None if labels is None else read_labels(labels)
    judged = metric_of(metric)
    loaded = [open_library(path, threads) for path in libraries]
    if any(each.signature.dimensions for each in loaded):
        raise UsageError("libraries for a range of sizes have no one size of samples", where="LIB")
    images = parse_preprocessing(image) if image is not None else None
    samples = list(samples_of(data, loaded[0].inputs, images))
    with shown("evaluating", Timeline()) as progress:
        found = evaluated(loaded, samples, given, judged, progress)
    if report is not None:
        with output_errors(report), written_whole(report) as file:
            file.write(evaluation_report.render(found, judged, len(samples)).encode())
    if as_json:
        show_json(evaluation_report.to_json(found, judged, len(samples)))
    else:
        show(evaluation_report.table(found, judged))
