"""Sounds and images that are like what the models were trained on: random noise drives most of them to 0."""

from __future__ import annotations

import numpy as np

from .model import Array, Inputs

RATE = 16000


def speech(samples: int, rate: int = RATE) -> Array:
    """Something like a voice: harmonics of a pitch that moves, loud and silent by turns, and some noise; float32."""
    generator = np.random.default_rng(0)
    time = np.arange(samples) / rate
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
    loudness = np.clip(np.sin(2 * np.pi * 1.1 * time) + 0.3, 0, 1)
    sound: Array = (0.1 * voice * loudness + 0.003 * generator.standard_normal(samples)).astype(np.float32)
    return sound


def chunks(steps: int, size: int, context: int, rate: int = RATE) -> Array:
    """(steps, context + size): pieces of a sound, each behind the end of the one before."""
    sound = np.concatenate([np.zeros(context, np.float32), speech(steps * size, rate)])
    return np.stack([sound[step * size : step * size + context + size] for step in range(steps)])


def text(images: int, height: int, width: int) -> Array:
    """(images, 3, height, width), -1 to 1: dark strokes in lines on white paper; float32."""
    generator = np.random.default_rng(1)
    paper = np.full((images, 3, height, width), 0.95, np.float32)
    paper += 0.02 * generator.standard_normal(paper.shape).astype(np.float32)
    line = max(min(height, 48), 8)
    for image in range(images):
        for top in range(0, height - line + 1, line):
            left = int(generator.integers(2, 12))
            while left < width - line // 2:
                _letter(paper[image], generator, top + line // 6, left, line * 2 // 3)
                left += int(generator.integers(line // 3, line))
    return np.clip(paper, 0, 1) * 2 - 1


def _letter(paper: Array, generator: np.random.Generator, top: int, left: int, size: int) -> None:
    """A few strokes down and across."""
    thick = max(size // 8, 1)
    for _ in range(int(generator.integers(2, 5))):
        at = int(generator.integers(0, max(size - thick, 1)))
        if generator.random() < 0.5:
            paper[:, top : top + size, left + at // 2 : left + at // 2 + thick] = 0.1
        else:
            paper[:, top + at : top + at + thick, left : left + size // 2] = 0.1


def pixels(images: int, height: int, width: int) -> Inputs:
    """Smooth images, about -1 to 1, as `image`."""
    generator = np.random.default_rng(2)
    coarse = generator.uniform(-1, 1, (images, 3, -(-height // 8), -(-width // 8))).astype(np.float32)
    smooth = coarse.repeat(8, 2).repeat(8, 3)[:, :, :height, :width]
    return {"image": np.ascontiguousarray(smooth + 0.1 * generator.standard_normal(smooth.shape).astype(np.float32))}


def frames(count: int) -> Inputs:
    """Overlapping frames of a sound, each of mean 0 and variance 1, as `frames`."""
    sound = speech(160 * count + 1024)
    cut = np.stack([sound[160 * frame : 160 * frame + 1024] for frame in range(count)])
    cut = cut - cut.mean(1, keepdims=True)
    return {"frames": (cut / np.maximum(cut.std(1, keepdims=True), 1e-10)).astype(np.float32)}
