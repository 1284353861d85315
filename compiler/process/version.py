"""Which version of Tilewright this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Tilewright's own, as libraries and records say it."""
    try:
        return metadata.version("tilewright")
    except metadata.PackageNotFoundError:
        return "unknown"
