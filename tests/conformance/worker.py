"""A process that runs tests whose keys it reads, one a line, and writes what came of each, as JSON."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from onnx_cases import all_tests
from outcomes import outcome_of


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what anything prints on the way is no answer
    cases = all_tests()
    print("ready", file=answers)
    for line in sys.stdin:
        print(json.dumps(asdict(outcome_of(cases[line.strip()]))), file=answers)


if __name__ == "__main__":
    main()
