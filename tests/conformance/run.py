"""`make conformance`: all of ONNX's backend tests, and docs/onnx-support.md from what was seen.

python tests/conformance/run.py                     everything: some minutes
python tests/conformance/run.py --only 'node/cast*'  these alone; what is known of the others stays
python tests/conformance/run.py --target nvptx64-nvidia-cuda --emit cu   those that pass compile for others, too
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

import record
from onnx_cases import all_tests
from outcomes import DISPUTED, PASSES, REFUSED, Outcome
from parallel import run_all

_SAVED_EVERY = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="keys of tests: suite/name")
    parser.add_argument("--refused", action="store_true", help="only those that the record has as not passing")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=120, help="the most that one test may take")
    parser.add_argument("--record", type=Path, default=record.RECORD, help="where outcomes are kept")
    parser.add_argument("--target", help="compile those that pass for it, run none, and leave the record as it is")
    parser.add_argument("--emit", default="so", help="what to compile them to")
    arguments = parser.parse_args()
    known = record.read(arguments.record)
    keys = [key for key in all_tests() if any(fnmatch(key, pattern) for pattern in arguments.only)]
    if arguments.target is not None:
        return _compiled_for_others([key for key in keys if known[key].kind == PASSES], arguments)
    if arguments.refused:
        keys = [key for key in keys if key not in known or known[key].kind != PASSES]

    told: list[str] = []

    def tell(key: str, outcome: Outcome) -> None:
        if outcome.kind not in (PASSES, REFUSED, DISPUTED):
            print(f"{key}: {outcome.kind}: {outcome.reason}", flush=True)
        known[key] = outcome
        told.append(key)
        if len(told) % _SAVED_EVERY == 0:  # a run that is stopped has not been for nothing
            save()

    def save() -> None:
        record.write({key: known[key] for key in all_tests() if key in known}, arguments.record)

    outcomes = run_all(keys, processes=arguments.processes, seconds=arguments.seconds, tell=tell)
    save()
    if arguments.record == record.RECORD:
        from support_table import TABLE, render

        TABLE.write_text(render(record.read()), encoding="utf-8")
    return _summed_up(outcomes, {PASSES, REFUSED, DISPUTED})


def _compiled_for_others(keys: Sequence[str], arguments: argparse.Namespace) -> int:
    def tell(key: str, outcome: Outcome) -> None:
        if outcome.kind != PASSES:
            print(f"{key}: {outcome.kind}: {outcome.reason}", flush=True)

    outcomes = run_all(
        keys,
        processes=arguments.processes,
        seconds=arguments.seconds,
        tell=tell,
        arguments=(arguments.target, arguments.emit),
    )
    return _summed_up(outcomes, {PASSES})


def _summed_up(outcomes: Mapping[str, Outcome], allowed: set[str]) -> int:
    """Prints how many came to what; returns the exit code."""
    counts = Counter(outcome.kind for outcome in outcomes.values())
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    return 0 if set(counts) <= allowed else 1


if __name__ == "__main__":
    sys.exit(main())
