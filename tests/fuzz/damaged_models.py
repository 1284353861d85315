"""Damaged models: `python tests/fuzz/damaged_models.py`. Each must compile, or be refused by an error of ours.

A model that the damage left sound is compiled and run, and where ONNX Runtime takes it too, both must compute the same.
No process may die, take 10 s or 2 GiB, and no exception may be other than a `TilewrightError`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import onnx
import tilewright
from campaign import Campaign
from children import Outcome, Verdict
from draft import Array
from generate import Sample
from google.protobuf.message import Message
from judge import compare
from mutate import mutate_bytes, mutate_message
from reference import Session
from specimens import EXTERNAL, external_weights, specimen
from tilewright.compiler.library.tensor_spec import TensorSpec
from tilewright.errors import CompilerError, TilewrightError

_MOST_BYTES = 64 << 20  # of inputs: what is read within the limit, by ONNX Runtime too

CAMPAIGN = Campaign(
    file=__file__,
    what="Damaged models must compile or be refused.",
    count=2000,
    limit_seconds=10.0,
    limit_bytes=2 << 30,
    failed=("wrong", "internal", "raised", "large", "crash", "hang"),
    told=("unjudged",),
)


def damaged(seed: int) -> tuple[bytes, Sample]:
    """The damaged model of a seed, as a file holds it, and what it was before."""
    rng = np.random.default_rng(seed)
    sound = specimen(rng)
    if rng.random() < 0.25:
        return mutate_bytes(rng, sound.model.SerializeToString()), sound
    model = onnx.ModelProto()
    model.CopyFrom(sound.model)
    message: Message = model
    mutate_message(rng, message, int(rng.integers(1, 4)))
    return message.SerializeToString(), sound


def work(seed: int) -> Verdict | Callable[[], Verdict]:
    """Compiles and runs the damaged model of a seed; what it computes is for the judge."""
    with tempfile.TemporaryDirectory(prefix="tilewright-fuzz-") as folder:
        path = Path(folder) / "model.onnx"
        data, sound = damaged(seed)
        path.write_bytes(data)
        (Path(folder) / EXTERNAL).write_bytes(external_weights())
        try:
            compiled = tilewright.compile(path, threads=1, jobs=1)
            if sum(spec.nbytes for spec in compiled.inputs) > _MOST_BYTES:
                return "compiled", "its inputs are too large to be run in time"
            inputs = {spec.name: _values(spec, sound, seed) for spec in compiled.inputs}
            results = compiled.run(inputs)
        except CompilerError as error:
            return "internal", str(error)
        except TilewrightError as error:
            return "refused", str(error)
        except BaseException as error:
            return "raised", f"{type(error).__name__}: {error}"
        try:
            model = onnx.load(path)
        except Exception as error:  # of protobuf, of files
            return "compiled", f"onnx does not read it: {error}"
    return lambda: judged(Sample(model, inputs, sound.noisy), results)


def _values(spec: TensorSpec, sound: Sample, seed: int) -> Array:
    """What an input is given: what the sound model was, or normal numbers, zeros where it takes integers."""
    known = sound.inputs.get(spec.name)
    if known is not None and known.shape == spec.shape and known.dtype == spec.dtype:
        return known
    if not np.issubdtype(spec.dtype, np.floating):
        return np.zeros(spec.shape, spec.dtype)
    return np.random.default_rng(seed).standard_normal(spec.shape).astype(spec.dtype)


def judged(sample: Sample, results: Mapping[str, Array]) -> Verdict:
    """Compares with ONNX Runtime, where it takes the model."""
    try:
        Session(sample.model).run(sample.inputs)
    except Exception as error:  # it has no common class of errors
        return "compiled", f"ONNX Runtime refuses it: {error}"
    try:
        verdict = compare(sample, results)
    except Exception as error:  # they differ, and by how much they may cannot be told of a graph like this
        return "unjudged", f"{type(error).__name__}: {error}"
    return verdict.kind, verdict.text


def report(outcome: Outcome, folder: Path) -> str:
    """Saves a damaged model that was not taken well."""
    path = folder / f"model_{outcome.kind}_{outcome.number}.onnx"
    path.write_bytes(damaged(outcome.number)[0])
    return f"{path}\n{outcome.text}"


def main() -> int:
    options = CAMPAIGN.parser().parse_args()
    return CAMPAIGN.run(options, work, lambda outcome: report(outcome, options.save))


if __name__ == "__main__":
    raise SystemExit(main())
