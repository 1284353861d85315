"""What was seen of every one of ONNX's tests, as a file of the repository: one a line, so that changes can be read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from outcomes import Outcome

RECORD = Path(__file__).with_name("record.tsv")


def read(path: Path = RECORD) -> dict[str, Outcome]:
    """Outcomes by the tests' keys; none if there is no file."""
    if not path.exists():
        return {}
    outcomes = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, kind, bound, reason = line.split("\t")
        outcomes[key] = Outcome(kind, reason, tuple(filter(None, bound.split(","))))
    return outcomes


def write(outcomes: Mapping[str, Outcome], path: Path = RECORD) -> None:
    """One line a test: key, what came of it, the inputs that were fixed, why it was refused."""
    lines = [
        "\t".join([key, outcome.kind, ",".join(outcome.bound), outcome.reason])
        for key, outcome in sorted(outcomes.items())
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
