"""Pairs of English sentences, for the MiniLM sentence encoder: are the similar ones still similar?"""

from __future__ import annotations

import pydoc_data.topics
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np

from ..trained import SENTENCES, export_minilm, minilm_folder, tokenize
from .task import Array, Results, Task, correlation

CALIBRATION, HELD = 40, 167  # samples, of PAIRS each
PAIRS = len(SENTENCES) // 2  # the network takes so many sentences at once
_WORDS = (6, 24)  # that a sentence has at least and at most
_NEIGHBOURS = 0.6  # of the pairs; others are of sentences from anywhere


def sentence_similarity(folder: Path) -> Task:
    """The task. Raises: SourceMissingError without the weights."""
    path, tokenizer = export_minilm(folder), minilm_folder() / "tokenizer.json"
    sentences = _sentences()
    generator = np.random.default_rng(3)
    samples = []
    for _ in range(CALIBRATION + HELD):
        chosen = []
        for _ in range(PAIRS):
            one, other = (int(each) for each in generator.integers(0, len(sentences) - 1, 2))
            chosen += [sentences[one], sentences[one + 1 if generator.random() < _NEIGHBOURS else other]]
        samples.append(tokenize(chosen, tokenizer))

    def score(results: Results, floats: Results) -> float:
        return correlation(_similarities(results), _similarities(floats))

    metric = f"Spearman, {HELD * PAIRS} pairs"
    return Task("sentence_similarity", path, samples[:CALIBRATION], samples[CALIBRATION:], score, metric, 0.01)


def _similarities(results: Results) -> list[float]:
    return [float(one @ other) for result in results for one, other in _pairs(result)]


def _pairs(result: Mapping[str, Array]) -> Array:
    """The embeddings of a sample, of length 1, two by two."""
    embedding = result["sentence_embedding"]
    return embedding.reshape(PAIRS, 2, embedding.shape[-1])


def _sentences() -> list[str]:
    """Sentences of Python's documentation and of scikit-learn's about its data, in their order."""
    topics = pydoc_data.topics.topics
    about = resources.files("sklearn.datasets.descr")
    texts = [*(topics[name] for name in sorted(topics)), *_texts(about)]
    found = []
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text):
            if re.match(r"\s|[*.=:|-]", paragraph):
                continue  # code, tables and marks
            for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
                if _WORDS[0] <= len(sentence.split()) <= _WORDS[1] and sentence[0].isupper() and sentence[-1] in ".!?":
                    found.append(sentence)
    return found


def _texts(folder: resources.abc.Traversable) -> list[str]:
    files = sorted(each.name for each in folder.iterdir() if each.name.endswith(".rst"))
    return [(folder / name).read_text("utf-8") for name in files]
