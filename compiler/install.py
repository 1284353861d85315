"""Puts finished files in their places, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def install(files: Mapping[Path, Path]) -> None:
    """Copies files to their places so that each is there whole or not at all, whatever happens.

    Raises:
        OSError: a place cannot be written or is full; then no place was changed.
    """
    staged: dict[Path, Path] = {}
    try:
        for source, place in files.items():
            staging = place.with_name(f".{place.name}.{os.getpid()}.tmp")
            staged[staging] = place
            shutil.copyfile(source, staging)
            shutil.copymode(source, staging)
        for staging, place in staged.items():
            staging.replace(place)
    finally:
        for staging in staged:
            staging.unlink(missing_ok=True)
