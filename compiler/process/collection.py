"""Python's search for objects that keep each other alive, less often in processes of our own.

A compile makes a million objects and few circles among them. Looked for as often as Python does by itself, they take a
twentieth of its time.
"""

from __future__ import annotations

import gc

_OBJECTS, _YOUNGER_SEARCHES = 100_000, 20  # new ones before a search, and such searches before one of older objects


def collect_rarely() -> None:
    """For processes that are ours alone: a program that compiles by `tilewright.compile` keeps its own way."""
    gc.set_threshold(_OBJECTS, _YOUNGER_SEARCHES, _YOUNGER_SEARCHES)
