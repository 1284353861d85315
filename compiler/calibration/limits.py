"""What is enough, for the command line, which imports nothing else before it must."""

import math

from ...errors import UsageError

LEAST_DECIBELS = 15.0  # signal to noise of a quantized model's outputs, with which it passes
LEAST_OF_A_LAYER = 10.0  # of a layer's own, with which it is quantized


def check_decibels(least: float) -> None:
    """Whether a ratio of signal to noise can be compared with others.

    Raises:
        UsageError: it is NaN.
    """
    if math.isnan(least):
        raise UsageError("nan is no number of decibels", where="--least-db", hint="a number, such as 10")
