"""Lines of text drawn with the fonts at hand, for the recogniser that the package rapidocr-onnxruntime carries."""

from __future__ import annotations

import importlib.util
import pydoc_data.topics
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from ..trained import SourceMissingError
from .characters import right
from .task import Array, Results, Task, output_of

HEIGHT, WIDTH = 48, 320
CALIBRATION, HELD, FURTHER = 120, 400, 380
_FILE = "ch_PP-OCRv4_rec_infer.onnx"
_OPSET = 13  # scales along an axis, which all quantizers write
_FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")


def text_recognition(folder: Path) -> Task:
    """The task. Raises: SourceMissingError without the package, or without fonts."""
    path, images, labels = written_lines(folder, CALIBRATION + HELD + FURTHER)
    samples = [{"x": image} for image in images]
    calibration, held, further = (
        samples[start : start + count] for start, count in ((0, CALIBRATION), (CALIBRATION, HELD), (-FURTHER, FURTHER))
    )
    wanted = labels[CALIBRATION:-FURTHER]

    def score(results: Results, floats: Results) -> float:
        return right({"": np.concatenate([output_of(each) for each in results])}, wanted)

    return Task("text_recognition", path, calibration, held, score, "characters right, %", 0.5, further)


def written_lines(folder: Path, count: int) -> tuple[Path, list[Array], Array]:
    """The recogniser's file in a folder, images of lines, and their characters, as `characters.right` takes them.

    Raises:
        SourceMissingError: the package is missing, or there are no fonts.
    """
    model = onnx.load(_source())
    characters = next(each.value for each in model.metadata_props if each.key == "character").split("\n")
    places = {each: number for number, each in enumerate(["", *characters, " "])}  # the blank of CTC comes first
    lines = _lines(count)
    labels = np.zeros((count, max(map(len, lines))), np.int64)
    for row, line in zip(labels, lines, strict=True):
        row[: len(line)] = [places[each] for each in line]
    path = folder / "text_recognition.onnx"
    onnx.save(_static(model), path)
    return path, list(_images(lines)), labels


def _source() -> Path:
    spec = importlib.util.find_spec("rapidocr_onnxruntime")
    if spec is None or spec.origin is None:
        raise SourceMissingError("rapidocr_onnxruntime is missing: pip install --no-deps rapidocr-onnxruntime==1.4.4")
    return Path(spec.origin).parent / "models" / _FILE


def _static(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model for one line of a fixed width."""
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, HEIGHT, WIDTH), strict=True):
        dim.dim_value = size
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(onnx.version_converter.convert_version(model, _OPSET))


def _lines(count: int) -> list[str]:
    """Pieces of Python's documentation, of 6 to 20 characters, whole words."""
    words = re.findall(r"[!-~]+", " ".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)))
    generator = np.random.default_rng(1)
    lines: list[str] = []
    while len(lines) < count:
        at, length = int(generator.integers(0, len(words) - 8)), int(generator.integers(6, 21))
        line = words[at]
        for word in words[at + 1 : at + 8]:
            if len(line) + 1 + len(word) > length:
                break
            line += " " + word
        if len(line) <= length and any(each.isalnum() for each in line):
            lines.append(line)
    return lines


def _fonts() -> list[Path]:
    folders = [Path("/usr/share/fonts")]
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        folders.insert(0, Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf")
    for folder in folders:
        found = sorted(each for each in folder.rglob("*.ttf") if each.stem.partition("-")[0] in _FONTS)
        if found:
            return found
    raise SourceMissingError("there are no fonts: pip install matplotlib, which brings some")


def _images(lines: Sequence[str]) -> Iterator[Array]:
    """Each line as float32 (1, 3, HEIGHT, WIDTH) in -1..1: on a ground of any shade, blurred, turned and noisy."""
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    generator, fonts = np.random.default_rng(2), _fonts()
    for line in lines:
        font = ImageFont.truetype(str(fonts[int(generator.integers(len(fonts)))]), int(generator.integers(22, 38)))
        left, top, right, bottom = font.getbbox(line)
        wide, high = int(right - left), int(bottom - top)
        ground, ink = _shades(generator)
        image = Image.new("RGB", (wide + 16, high + 16), ground)
        ImageDraw.Draw(image).text((8 - left, 8 - top), line, fill=ink, font=font)
        image = image.rotate(float(generator.uniform(-2, 2)), Image.Resampling.BILINEAR, fillcolor=ground)
        image = image.filter(ImageFilter.GaussianBlur(float(generator.uniform(0, 1.2))))
        width = min(WIDTH, round(image.width * HEIGHT / image.height))
        pixels = np.asarray(image.resize((width, HEIGHT), Image.Resampling.BILINEAR), np.float32)
        pixels += generator.normal(0, generator.uniform(0, 16), pixels.shape).astype(np.float32)
        whole = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
        whole[0, :, :, :width] = np.clip(pixels, 0, 255).transpose(2, 0, 1) / 127.5 - 1
        yield whole


def _shades(generator: np.random.Generator) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Colours of ground and ink, apart enough to be read."""
    while True:
        ground, ink = (generator.integers(0, 256, 3) for _ in range(2))
        if abs(float(ground.mean() - ink.mean())) > 70:
            return (int(ground[0]), int(ground[1]), int(ground[2])), (int(ink[0]), int(ink[1]), int(ink[2]))
