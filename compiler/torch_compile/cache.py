"""Compiled graphs on disk, so that the next process need not compile them: found by everything they depend on."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import LibraryError, OutputError
from ..build import build, target_of
from ..options import CompileOptions
from ..version import version
from .frozen import Frozen

if TYPE_CHECKING:
    from ..library.artifact import CompiledModel

CACHE_VARIABLE = "TILEWRIGHT_CACHE"  # the folder, where the option is not given


def cache_folder() -> Path:
    """Where compiled graphs are kept: ``$TILEWRIGHT_CACHE``, or ``tilewright`` among the user's caches."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tilewright"


def compiled_once(frozen: Frozen, options: CompileOptions, folder: Path | None) -> CompiledModel:
    """The library of a graph: the one that is kept, or a new one, kept from now on.

    Raises:
        TilewrightError: of exporting or compiling the graph.
    """
    from ..library.artifact import load

    place = (folder or cache_folder()) / f"{_key(frozen, options)}.so"
    if place.exists():
        try:
            return load(place)
        except LibraryError:
            place.unlink(missing_ok=True)  # damaged: it is written anew
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the cache's folder cannot be made: {error.strerror}", where=str(place.parent)) from error
    build(frozen.open(), place, options)
    return load(place)


def _key(frozen: Frozen, options: CompileOptions) -> str:
    """What a library depends on: the graph, its weights and sizes, the options, the machine, and the versions."""
    import torch

    from ...frontends.pytorch.tensors import to_array
    from ...schedules.tuner.records import fingerprint

    target = target_of(options)
    digest = hashlib.sha256()
    described = [
        version(),
        _newest_source(),
        torch.__version__,
        fingerprint(target),
        target.required_features,
        target.cores,
        [(name, getattr(options, name)) for name in sorted(options.__dataclass_fields__) if name != "bindings"],
        str(frozen.module.graph),
        [(tuple(each.shape), str(each.dtype)) for each in frozen.examples],
    ]
    digest.update(repr(described).encode())
    for name, value in frozen.module.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(to_array(value).tobytes())
    return digest.hexdigest()[:40]


@cache
def _newest_source() -> int:
    """When the newest file of this package was written: between versions, programs change too."""
    root = Path(__file__).parents[2]
    folders = ("compiler", "frontends", "ir_passes", "schedules", "targets")
    files = [*root.glob("*.py"), *(path for folder in folders for path in (root / folder).rglob("*.*"))]
    return max(int(path.stat().st_mtime_ns) for path in files if path.suffix != ".pyc")
