"""A process that runs tests whose keys it reads, one a line, and writes what came of each, as JSON.

python worker.py                runs them on this machine
python worker.py TARGET EMIT    compiles them for a target, with the inputs fixed that the record says
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

import record
from onnx_cases import Case, all_tests
from outcomes import Outcome, outcome_of, outcome_of_compiling


def main(arguments: Sequence[str]) -> None:
    known = record.read()

    def answered(case: Case) -> Outcome:
        if not arguments:
            return outcome_of(case)
        target, emit = arguments
        return outcome_of_compiling(case, known[case.key].bound, target, emit)

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what anything prints on the way is no answer
    cases = all_tests()
    print("ready", file=answers)
    for line in sys.stdin:
        print(json.dumps(asdict(answered(cases[line.strip()]))), file=answers)


if __name__ == "__main__":
    main(sys.argv[1:])
