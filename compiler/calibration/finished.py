"""Corrections that are found already, written down every few seconds so that a kill loses little."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..process.install import written_whole
from ..process.places import output_errors
from ..recipes.recipe import Array

_FLUSH_SECONDS = 5.0


class Finished:
    """What was found by name: facts as JSON takes them, and perhaps an array.

    Args:
        path: the file; None keeps nothing between runs.
        key: what it depends on: with another one, one begins anew.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self._path, self._key = path, key
        self._facts: dict[str, Any] = {}
        self._arrays: dict[str, Array] = {}
        self._read()
        self._written = time.monotonic()

    def __contains__(self, name: str) -> bool:
        return name in self._facts

    def facts(self, name: str) -> Any:
        """What was found."""
        return self._facts[name]

    def array(self, name: str) -> Array | None:
        """The array that was found with it."""
        return self._arrays.get(name)

    def add(self, name: str, facts: Any, array: Array | None = None) -> None:
        """Keeps what was found."""
        self._facts[name] = facts
        if array is not None:
            self._arrays[name] = array
        if time.monotonic() - self._written > _FLUSH_SECONDS:
            self.write()

    def write(self) -> None:
        """Puts all of it into the file, whole or not at all."""
        self._written = time.monotonic()
        if self._path is None:
            return
        about = json.dumps({"key": self._key, "facts": self._facts, "arrays": list(self._arrays)})
        numbered = {f"a{number}": array for number, array in enumerate(self._arrays.values())}
        with output_errors(self._path), written_whole(self._path) as file:
            np.savez(file, allow_pickle=False, about=np.asarray(about), **numbered)

    def remove(self) -> None:
        """It is no longer needed."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        if self._path is None or not self._path.is_file():
            return
        try:
            with np.load(self._path, allow_pickle=False) as loaded:
                about = json.loads(str(loaded["about"]))
                if about["key"] != self._key:
                    return
                arrays = {name: loaded[f"a{number}"] for number, name in enumerate(about["arrays"])}
                self._facts, self._arrays = dict(about["facts"]), arrays
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return  # damaged: nothing is lost but time
