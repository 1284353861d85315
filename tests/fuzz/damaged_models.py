"""Damaged models: `python tests/fuzz/damaged_models.py`. Each must compile, or be refused by an error of ours.

A model that the damage left sound is compiled and run. No process may die, none may take 10 s, and no exception may be
other than a `TilewrightError`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import tilewright
from campaign import Campaign
from children import Outcome
from google.protobuf.message import Message
from mutate import mutate_bytes, mutate_message
from specimens import EXTERNAL, external_weights, specimen
from tilewright.errors import CompilerError, TilewrightError

CAMPAIGN = Campaign(
    file=__file__,
    what="Damaged models must compile or be refused.",
    count=2000,
    limit_seconds=10.0,
    failed=("internal", "raised", "crash", "hang"),
)


def damaged(seed: int) -> bytes:
    """The damaged model of a seed, as a file holds it."""
    rng = np.random.default_rng(seed)
    model: Message = specimen(rng)
    if rng.random() < 0.25:
        return mutate_bytes(rng, model.SerializeToString())
    mutate_message(rng, model, int(rng.integers(1, 4)))
    return model.SerializeToString()


def work(seed: int) -> tuple[str, str]:
    """Compiles and runs the damaged model of a seed."""
    with tempfile.TemporaryDirectory(prefix="tilewright-fuzz-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(damaged(seed))
        (Path(folder) / EXTERNAL).write_bytes(external_weights())
        try:
            compiled = tilewright.compile(path, threads=1, jobs=1)
            compiled.run({spec.name: np.zeros(spec.shape, spec.dtype) for spec in compiled.inputs})
        except CompilerError as error:
            return "internal", str(error)
        except TilewrightError as error:
            return "refused", str(error)
        except BaseException as error:
            return "raised", f"{type(error).__name__}: {error}"
    return "compiled", ""


def report(outcome: Outcome, folder: Path) -> str:
    """Saves a damaged model that was not taken well."""
    path = folder / f"model_{outcome.kind}_{outcome.number}.onnx"
    path.write_bytes(damaged(outcome.number))
    return f"{path}\n{outcome.text}"


def main() -> int:
    options = CAMPAIGN.parser().parse_args()
    return CAMPAIGN.run(options, work, lambda outcome: report(outcome, options.save))


if __name__ == "__main__":
    raise SystemExit(main())
