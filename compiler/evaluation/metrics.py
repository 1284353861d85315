"""What outputs are worth, in a number: agreement with the float model, accuracy by labels, or a user's function."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError, TilewrightError, UsageError
from ..calibration.errors_of_layers import whole_metrics

Array = npt.NDArray[Any]
# Outputs by name, those of all samples one behind the other on the first axis.
Outputs = Mapping[str, Array]
# Of outputs, labels (or None) and the outputs of the float model; more is better.
Function = Callable[[Outputs, "Array | None", Outputs], float]

DEFAULT = "top1"


@dataclass(frozen=True)
class Metric:
    """A number for outputs.

    Attributes:
        name: for people.
        unit: what a difference of it is counted in.
        function: computes it.
    """

    name: str
    unit: str
    function: Function

    def __call__(self, outputs: Outputs, labels: Array | None, reference: Outputs) -> float:
        """The number.

        Raises:
            UsageError: the function fails, or gives no number.
            DataError: a label is none of the classes.
        """
        try:
            value = float(self.function(outputs, labels, reference))
        except TilewrightError:
            raise
        except (Exception, SystemExit) as error:  # a user's function may do anything
            raise UsageError(
                f"the metric fails: {type(error).__name__}: {str(error)[:200]}",
                where=f"--metric {self.name}",
                hint="it takes a dict of arrays, samples on the first axis, and the labels if it has two parameters",
            ) from error
        if not np.isfinite(value):
            raise UsageError("the metric gives no finite number", where=f"--metric {self.name}")
        return value


def metric_of(given: str | Callable[..., float] | None) -> Metric:
    """A metric by its name, as ``FILE.py:FUNCTION``, or of a function of outputs and, if it takes them, labels.

    Args:
        given: it; None: how often the largest output is at the label's place, or the float model's without labels.

    Raises:
        UsageError: there is no such metric, file or function.
    """
    if callable(given):
        name = f"{given.__module__}.{getattr(given, '__qualname__', type(given).__name__)}"
        return Metric(name, "", _judging(given, f"metric {name}"))
    text = given or DEFAULT
    if text in METRICS:
        return METRICS[text]
    file, colon, name = text.rpartition(":")
    if not colon or not file.endswith(".py"):
        known = ", ".join(METRICS)
        raise UsageError("there is no such metric", where=f"--metric {text}", hint=f"{known}, or FILE.py:FUNCTION")
    return Metric(text, "", _users(Path(file), name))


def _users(file: Path, name: str) -> Function:
    where = f"--metric {file}:{name}"
    if not file.is_file():
        raise DataError("the file of the metric does not exist", where=str(file))
    try:
        found = runpy.run_path(str(file)).get(name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"the file cannot be run: {type(error).__name__}: {error}", where=where) from error
    if not callable(found):
        raise UsageError("the file has no such function", where=where)
    return _judging(found, where)


def _judging(found: Callable[..., float], where: str) -> Function:
    """A user's function, which may leave labels out. What it is given is its own to change: others read the outputs."""
    parameters = list(inspect.signature(found).parameters.values())[:2]
    needs_labels = len(parameters) == 2 and parameters[1].default is inspect.Parameter.empty

    def judged(outputs: Outputs, labels: Array | None, reference: Outputs) -> float:
        own = {name: array.copy() for name, array in outputs.items()}
        if len(parameters) < 2:
            return float(found(own))
        if labels is None and needs_labels:
            raise UsageError("the function takes labels, and there are none", where=where, hint="give --labels FILE")
        return float(found(own, None if labels is None else labels.copy()))

    return judged


def label_count(labels: Array) -> int:
    """How many labels there are, one for each sample, on the first axis.

    Raises:
        DataError: it is one number without axes.
    """
    if not labels.ndim:
        raise DataError(
            "one number is not a label for each sample", where="--labels", hint="an array of them, in order"
        )
    return len(labels)


def stacked(results: Sequence[Outputs]) -> dict[str, Array]:
    """The outputs of samples, one behind the other; numbers without axes get one."""
    names = results[0].keys() if results else ()
    return {name: np.concatenate([np.atleast_1d(each[name]) for each in results]) for name in names}


def relative_error(outputs: Outputs, reference: Outputs) -> float:
    """How far outputs are from others, as a share of these: root mean squares of all of them."""
    difference = energy = 0.0
    for name, wanted in reference.items():
        wide = np.asarray(wanted, np.float64)
        difference += float(np.square(wide - outputs[name]).sum())
        energy += float(np.square(wide).sum())
    return float(np.sqrt(difference / energy)) if energy else float(difference > 0)


def _top1(outputs: Outputs, labels: Array | None, reference: Outputs) -> float:
    """In percent: rows of the first output whose largest element is at the label's place, or at the float model's."""
    given = next(iter(outputs.values()))
    rows = given.reshape(-1, given.shape[-1]).argmax(-1)
    if labels is None:
        wanted = next(iter(reference.values()))
        right = wanted.reshape(-1, wanted.shape[-1]).argmax(-1)
    else:
        right = labels.reshape(-1)
    if len(rows) != len(right):
        raise ValueError(f"the first output has {len(rows)} rows, and there are {len(right)} labels")
    classes = given.shape[-1]
    wrong = right[~np.isin(right, np.arange(classes))]
    if len(wrong):
        raise DataError(
            f"{len(wrong)} of {len(right)} labels, {wrong[0]} among them, are none of the {classes} classes",
            where="--labels",
            hint=f"a label is a place in the last axis of the first output, 0 to {classes - 1}",
        )
    return 100 * float((rows == right).mean())


def _cosine(outputs: Outputs, labels: Array | None, reference: Outputs) -> float:
    return 100 * whole_metrics([(outputs, reference)], list(reference)).cosine


def _decibels(outputs: Outputs, labels: Array | None, reference: Outputs) -> float:
    return min(whole_metrics([(outputs, reference)], list(reference)).decibels, _MOST_DECIBELS)


_MOST_DECIBELS = 200.0  # of outputs that are the float model's own

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "top1": Metric("top1", "points", _top1),
        "cosine": Metric("cosine", "points", _cosine),
        "snr": Metric("snr", "dB", _decibels),
    }
)
