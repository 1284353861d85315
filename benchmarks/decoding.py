"""Time a token of a decoder with a cache: a library whose cache changes in place, and ONNX Runtime, whose cache grows.

    python -m benchmarks.decoding                                  a GPT-2 with random weights, 6 layers of 384
    python -m benchmarks.decoding --layers 12 --width 768 --heads 12

Both read a text of 128 tokens and then 64 more, one by one, on one thread, in turns; of each token the least time
counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tilewright.compiler.api import compile as compile_model

from .decoders import Decoder, decoder

PROMPT, TOKENS = 128, 64

Array = np.ndarray[Any, Any]
Step = Callable[[Array], Array]


def main() -> None:
    """Prints the milliseconds of the text and of a token, and how far the outputs are apart."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=(__doc__ or "").splitlines()[0])
    sizes = {"layers": 6, "width": 384, "heads": 6, "vocabulary": 4000, "room": 512}
    for name, value in {**sizes, "rounds": 6}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = vars(parser.parse_args())
    of = Decoder(**{name: asked[name] for name in sizes})
    generator = np.random.default_rng(0)
    text = generator.integers(0, of.vocabulary, (1, PROMPT + TOKENS))
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = _library(of, Path(folder) / "decoder.so"), _engine(of)
        rounds = [[_decoded(start(), text) for start in (ours, theirs)] for _ in range(asked["rounds"])]
    times = np.array([[each[0] for each in pair] for pair in rounds]).min(axis=0) * 1e3
    for engine, row in zip(("tilewright", "onnxruntime"), times, strict=True):
        print(f"{engine:12} text {row[0]:8.2f} ms   token {np.median(row[1:]):8.3f} ms")
    print(f"ratio of a token {np.median(times[0, 1:]) / np.median(times[1, 1:]):.2f}")
    one, other = (each[1] for each in rounds[-1])
    print(f"max |error| / max |reference| {np.abs(one - other).max() / np.abs(other).max():.1e}")


def _library(of: Decoder, place: Path) -> Callable[[], Step]:
    ranges = {"past": (0, of.room - PROMPT), "seq": (1, PROMPT)}
    session = compile_model(decoder(of), output=place, ranges=ranges, threads=1).session()

    def start() -> Step:
        session.reset()
        return lambda ids: session.run({"input_ids": ids})["logits"]

    return start


def _engine(of: Decoder) -> Callable[[], Step]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(decoder(of).SerializeToString(), options, ["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]

    def start() -> Step:
        cache: Mapping[str, Array] = of.past(0)

        def step(ids: Array) -> Array:
            nonlocal cache
            made = dict(zip(names, session.run(None, {"input_ids": ids, **cache}), strict=True))
            cache = {name: made[name.replace("past_key_values", "present")] for name in cache}
            logits: Array = made["logits"]
            return logits

        return step

    return start


def _decoded(step: Step, text: Array) -> tuple[list[float], Array]:
    """The seconds of the text and of each token after it, and the last logits of each."""
    seconds, logits = [], []
    for ids in [text[:, :PROMPT], *np.split(text[:, PROMPT:], TOKENS, axis=1)]:
        begin = time.perf_counter()
        made = step(ids)
        seconds.append(time.perf_counter() - begin)
        logits.append(made[0, -1].copy())
    return seconds, np.stack(logits)


if __name__ == "__main__":
    main()
