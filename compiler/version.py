"""Tilewright's own version, as libraries and records say it."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The installed package's; ``unknown`` where it is not installed."""
    try:
        return metadata.version("tilewright")
    except metadata.PackageNotFoundError:
        return "unknown"
