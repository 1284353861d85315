"""A candidate, really compiled and run: what it makes of the samples, and how long it takes beside the float library.

All that a process needs stands in the `Study`, so that any machine can do it; times are ratios to the float library,
which runs in turns with the candidate's, so that machines and moments compare.
"""

from __future__ import annotations

import pickle
import statistics
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from ...errors import DeviceLostError, TilewrightError
from ..build import build
from ..calibration.samples import Array, Sample
from ..evaluation.metrics import stacked
from ..library.artifact import load, read_file
from ..options import CompileOptions
from ..process.temporary import TemporaryFolder, temporary_folder
from ..recipes.recipe import Recipe
from ..runners.device import DeviceRunner
from ..runners.local import LocalRunner
from ..runners.places import place_of
from ..runners.runner import Library, Runner

_TURNS, _SETTLE_SECONDS = 9, 0.01
_MOST_TEXT = 200  # of an error


@dataclass(frozen=True)
class Study:
    """What candidates are tried on.

    Attributes:
        key: of it: a process that knows it has its float library already.
        model: an ONNX model with its weights, serialized.
        options: of every compile.
        samples: those that are held out.
        seconds: that timing takes.
        device: where libraries run; None: where they are made.
    """

    key: str
    model: bytes
    options: CompileOptions
    samples: tuple[Sample, ...]
    seconds: float
    device: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        outputs: of all samples, one behind the other.
        ratio: of its time to the float library's.
        seconds: of a run of the float library.
        bytes: of its file.
        failed: why there is no library, or "".
        lost: whether that is the fault of a device, which does not answer any more.
    """

    outputs: dict[str, Array]
    ratio: float = 1.0
    seconds: float = 0.0
    bytes: int = 0
    failed: str = ""
    lost: bool = False


def attempt(study: Study, recipe: Recipe | None) -> Outcome:
    """Compiles a model by a recipe, runs it on the samples and times it.

    Args:
        recipe: None for the float model itself.
    """
    with _one_at_a_time:
        return _attempted(study, recipe)


def _attempted(study: Study, recipe: Recipe | None) -> Outcome:
    try:
        exact = _exact(study)
        if recipe is None:
            return _outcome(study, exact, exact.library)
        with temporary_folder() as folder:
            return _outcome(study, exact, _compiled(study, recipe, folder / "candidate.so"))
    except DeviceLostError as error:
        return Outcome({}, failed=error.what, lost=True)
    except TilewrightError as error:
        return Outcome({}, failed=error.what)
    except Exception as error:  # of this candidate, foreseen by nobody: others may be well
        return Outcome({}, failed=f"{type(error).__name__}: {error}"[:_MOST_TEXT])


@dataclass(frozen=True)
class FromFile:
    """An attempt for a process of this machine, which reads the study from a file once."""

    study: Path
    recipe: Recipe | None

    def __call__(self) -> Outcome:
        """Does it."""
        return attempt(_read(self.study), self.recipe)


@dataclass(frozen=True)
class _Exact:
    """The float library of a study, and what runs libraries."""

    library: Library
    runner: Runner
    folder: TemporaryFolder


_one_at_a_time = threading.Lock()  # so that none disturbs the time of another
_known: dict[str, _Exact] = {}
_studies: dict[Path, Study] = {}


def _read(path: Path) -> Study:
    if path not in _studies:
        _studies.clear()
        _studies[path] = pickle.loads(path.read_bytes())
    return _studies[path]


def _exact(study: Study) -> _Exact:
    if study.key not in _known:
        for each in _known.values():
            each.folder.remove()
        _known.clear()
        folder = TemporaryFolder()
        library = _compiled(study, None, folder.path / "float.so")
        _known[study.key] = _Exact(library, _runner(study), folder)
    return _known[study.key]


def _runner(study: Study) -> Runner:
    if study.device is None:
        return LocalRunner()
    return DeviceRunner(place_of(study.device), study.options.threads or 0)


def _compiled(study: Study, recipe: Recipe | None, path: Path) -> Library:
    proto = onnx.ModelProto.FromString(study.model)
    build(proto, path, replace(study.options, recipe=recipe, name="model"))
    return load(path) if study.device is None else read_file(path)


def _outcome(study: Study, exact: _Exact, library: Library) -> Outcome:
    runner, sample = exact.runner, study.samples[0]
    outputs = stacked([runner.run(library, each) for each in study.samples])
    own: list[float] = []
    floats: list[float] = []
    for _ in range(_TURNS):
        for of, times in ((exact.library, floats), (library, own)):
            time.sleep(_SETTLE_SECONDS)  # threads of the library before are still spinning
            times.append(min(runner.time(of, sample, seconds=study.seconds / (2 * _TURNS))))
    same = library is exact.library
    ratio = 1.0 if same else statistics.median(a / b for a, b in zip(own, floats, strict=True))
    return Outcome(outputs, ratio, min(floats), library.path.stat().st_size)
