"""Images as inputs of a model, by a preprocessing that is declared: `resize=256,crop=224,mean=0.5,layout=NCHW`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError, ToolError, UsageError

Array = npt.NDArray[Any]
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff", ".gif"))
_COLORS = MappingProxyType({"rgb": "RGB", "bgr": "RGB", "gray": "L"})
_LAYOUTS = ("NCHW", "NHWC")


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image, in this order.

    Attributes:
        color: ``rgb``, ``bgr`` or ``gray``.
        resize: pixels of the shorter side, 0 leaves it.
        crop: pixels of the square that is cut from the middle; 0: the input's own height and width, after an image of
            another size is resized to them.
        scale: values are divided by it.
        mean, std: then the mean is taken away, and the rest divided by this, of each channel or of all.
        layout: of the input.
    """

    color: str = "rgb"
    resize: int = 0
    crop: int = 0
    scale: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "NCHW"

    def read(self, path: Path, shape: tuple[int, ...]) -> Array:
        """One image as float32 of an input's shape, whose batch is 1.

        Raises:
            ToolError: Pillow is not installed.
            DataError: the file is no image, or does not become the input's shape.
        """
        try:
            from PIL import Image, UnidentifiedImageError
        except ImportError as error:
            raise ToolError(
                "images are read by the package Pillow, which is not installed", hint="pip install 'tilewright[images]'"
            ) from error
        if len(shape) != 4:
            raise DataError(f"images do not become an input of shape {list(shape)}", where=str(path))
        height, width = shape[2:] if self.layout == "NCHW" else shape[1:3]
        try:
            with Image.open(path) as opened:
                image = opened.convert(_COLORS[self.color])
        except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
            raise DataError("the file is no image that can be read", where=str(path), details=[str(error)]) from error
        if self.resize:
            ratio = self.resize / min(image.size)
            width_now, height_now = (max(1, round(side * ratio)) for side in image.size)
            image = image.resize((width_now, height_now), Image.Resampling.BILINEAR)
        if self.crop:
            left, top = ((side - self.crop) // 2 for side in image.size)
            image = image.crop((left, top, left + self.crop, top + self.crop))
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        values = np.asarray(image, np.float32).reshape(height, width, -1)
        if self.color == "bgr":
            values = values[..., ::-1]
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        scaled: Array = (values / np.float32(self.scale) - mean) / std
        array = scaled[None] if self.layout == "NHWC" else scaled.transpose(2, 0, 1)[None]
        if array.shape != tuple(shape):
            raise DataError(f"the image becomes {list(array.shape)}, the input is {list(shape)}", where=str(path))
        return np.ascontiguousarray(array, np.float32)


def parse_preprocessing(text: str) -> Preprocessing:
    """A preprocessing in writing; what is not named has its default.

    Raises:
        UsageError: it is written otherwise.
    """
    known = {each.name for each in fields(Preprocessing)}
    given: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        hint = f"write NAME=VALUE,... of {', '.join(sorted(known))}"
        if not equals or name not in known or name in given:
            raise UsageError(f"{part!r} is no step of a preprocessing", where="--image", hint=hint)
        try:
            given[name] = _READ[name](value)
        except ValueError:
            raise UsageError(f"{value!r} is no value of {name}", where="--image", hint=hint) from None
    return Preprocessing(**given)


def _word(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(value)
        return value

    return read


def _numbers(value: str) -> tuple[float, ...]:
    return tuple(float(each) for each in value.split(":"))


def _pixels(value: str) -> int:
    if int(value) < 0:
        raise ValueError(value)
    return int(value)


_READ: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "color": _word(*_COLORS),
        "resize": _pixels,
        "crop": _pixels,
        "scale": float,
        "mean": _numbers,
        "std": _numbers,
        "layout": _word(*_LAYOUTS),
    }
)
