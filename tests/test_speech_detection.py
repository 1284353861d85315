"""silero-vad's six models, trained by others: 100 steps with the state carried over, as ONNX Runtime has them."""

from __future__ import annotations

import pytest
from tilewright.examples import detect_speech
from tilewright.examples.detect_speech import DETECTORS, Detector

FOLDER = detect_speech.models_folder()
QUICK = ("silero_vad.onnx", "silero_vad_op18_ifless.onnx")


@pytest.mark.skipif(FOLDER is None, reason="pip install --no-deps silero-vad, or name its models by TILEWRIGHT_SILERO")
@pytest.mark.parametrize(
    "detector",
    [pytest.param(each, id=each.file, marks=[] if each.file in QUICK else [pytest.mark.slow]) for each in DETECTORS],
)
def test_the_state_is_carried_over_a_hundred_steps(detector: Detector) -> None:
    pytest.importorskip("onnxruntime")
    assert FOLDER is not None
    path = FOLDER / detector.file
    ours = detect_speech.steps(detector, detect_speech.compiled(detector, path))
    theirs = detect_speech.steps(detector, detect_speech.reference(path))
    assert detect_speech.difference(ours, theirs) < 2e-5
