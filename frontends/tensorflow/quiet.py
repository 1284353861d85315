"""TensorFlow, imported and used without what it writes to the terminal from C++ and Python."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from ..request import framework

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_ERRORS_ALONE = "3"


def tensorflow() -> Any:
    """The package.

    Raises:
        ToolError: it is not installed.
    """
    os.environ.setdefault(_LOG_LEVEL, _ERRORS_ALONE)
    with quiet():
        return framework("tensorflow", "tensorflow", "TensorFlow models")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what others write to file descriptor 2, and their warnings, from the terminal."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx", "absl")]
    levels = [logger.level for logger in loggers]
    sys.stderr.flush()
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        os.dup2(sink, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
