"""The tasks, one row each: to add one, add a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from .sentence_pairs import sentence_similarity
from .small_networks import digits, tiny
from .task import Task
from .text_lines import text_recognition

# What makes a task, given a folder for its model. Raises SourceMissingError where weights or data are missing.
TASKS: Mapping[str, Callable[[Path], Task]] = MappingProxyType(
    {
        "digits_cnn": digits,
        "text_recognition": text_recognition,
        "sentence_similarity": sentence_similarity,
        **{
            name: tiny(name)
            for name in (
                "image_classification",
                "visual_wake_words",
                "keyword_spotting",
                "streaming_wake_word",
                "anomaly_detection",
            )
        },
    }
)
