"""`make conformance`: all of ONNX's backend tests, and docs/onnx-support.md from what was seen.

python tests/conformance/run.py                     everything: some minutes
python tests/conformance/run.py --only 'node/cast*'  these alone; what is known of the others stays
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import record
from onnx_cases import all_tests
from outcomes import PASSES, REFUSED, Outcome
from parallel import run_all


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="keys of tests: suite/name")
    parser.add_argument("--refused", action="store_true", help="only those that the record has as not passing")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=120, help="the most that one test may take")
    parser.add_argument("--record", type=Path, default=record.RECORD, help="where outcomes are kept")
    arguments = parser.parse_args()
    known = record.read(arguments.record)
    keys = [key for key in all_tests() if any(fnmatch(key, pattern) for pattern in arguments.only)]
    if arguments.refused:
        keys = [key for key in keys if key not in known or known[key].kind != PASSES]

    def tell(key: str, outcome: Outcome) -> None:
        if outcome.kind not in (PASSES, REFUSED):
            print(f"{key}: {outcome.kind}: {outcome.reason}", flush=True)
        known[key] = outcome

    outcomes = run_all(keys, processes=arguments.processes, seconds=arguments.seconds, tell=tell)
    record.write({key: known[key] for key in all_tests() if key in known}, arguments.record)
    if arguments.record == record.RECORD:
        from support_table import TABLE, render

        TABLE.write_text(render(record.read()), encoding="utf-8")
    counts = Counter(outcome.kind for outcome in outcomes.values())
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    return 0 if set(counts) <= {PASSES, REFUSED} else 1


if __name__ == "__main__":
    sys.exit(main())
