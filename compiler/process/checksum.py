"""Checksums of what results depend on."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def key_of(*parts: Any) -> str:
    """A checksum of bytes, arrays, and anything else with a text of its own, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            part = np.ascontiguousarray(part).tobytes()
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()
