"""Random graphs against ONNX Runtime: `python tests/fuzz/graphs.py --count 5000`; `--seed N --count 1` for one of them.

Prints a line for each graph that fails, minimised, and a summary; saves what failed under build/fuzz. Exit status 1 if
any failed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import children
from generate import generate
from judge import Verdict, judge
from minimise import describe, minimise, save

FAILED = ("wrong", "internal", "raised", "crash", "hang")
_LIMIT_SECONDS = 120.0


def work(seed: int, operators: tuple[str, ...] = ()) -> tuple[str, str]:
    """Generates and judges the graph of a seed."""
    try:
        sample = generate(seed, operators)
    except Exception as error:
        return "generator", f"{type(error).__name__}: {error}"
    verdict = judge(sample)
    return verdict.kind, verdict.text


def report(seed: int, kind: str, text: str, folder: Path, operators: tuple[str, ...]) -> None:
    """Minimises a failing graph, saves it and prints it."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = generate(seed, operators)
    if kind not in ("crash", "hang"):
        reason = _reason(Verdict(kind, text))
        sample = minimise(sample, lambda each: _reason(judge(each)) == reason)
        text = judge(sample).text or text
    path = folder / f"{kind}_{seed}.onnx"
    save(sample, str(path))
    print(f"=== seed {seed}: {kind}: {path}\n{describe(sample)}\n{text}\n", flush=True)


def _reason(verdict: Verdict) -> tuple[str, str]:
    """What makes two failures the same: the kind, and what an error says first."""
    if verdict.kind == "wrong":
        return verdict.kind, ""
    lines = [line for line in verdict.text.splitlines() if "where:" not in line]
    return verdict.kind, lines[0][:60] if lines else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=5000, help="how many graphs")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--operators", nargs="*", default=[], help="the first operator of each graph is one of these")
    parser.add_argument("--save", type=Path, default=Path("build/fuzz"), help="a folder for graphs that failed")
    parser.add_argument("--show", action="store_true", help="print the graphs and do nothing")
    parser.add_argument("--child", nargs="*", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    operators = tuple(options.operators)
    if options.child is not None:
        children.serve(lambda seed: work(seed, operators), options.child)
        return 0
    seeds = range(options.seed, options.seed + options.count)
    if options.show:
        for seed in seeds:
            print(f"seed {seed}: {describe(generate(seed, operators))}")
        return 0
    command = [children.script(__file__), *(["--operators", *operators] if operators else []), "--child"]
    kinds: Counter[str] = Counter()
    began = time.monotonic()
    for outcome in children.run(command, seeds, options.jobs, _LIMIT_SECONDS):
        kinds[outcome.kind] += 1
        if outcome.kind in FAILED:
            report(outcome.number, outcome.kind, outcome.text, options.save, operators)
        elif outcome.kind in ("refused", "generator"):
            print(f"seed {outcome.number}: {outcome.kind}: {' | '.join(outcome.text.splitlines())[:300]}", flush=True)
    print(f"{dict(kinds)} of {len(seeds)} graphs in {time.monotonic() - began:.0f} s")
    return int(any(kinds[kind] for kind in (*FAILED, "generator")))


if __name__ == "__main__":
    raise SystemExit(main())
