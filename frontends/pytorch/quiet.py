"""PyTorch without what it tells of itself: what matters to a user is an exception, and that is an error of ours."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

_LOGGERS = ("torch.export", "torch.onnx", "torch.onnx._internal.exporter", "onnxscript")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings of the exporter, and of what reads its files, to itself."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
