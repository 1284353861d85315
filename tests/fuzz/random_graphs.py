"""Random graphs against ONNX Runtime: `python tests/fuzz/random_graphs.py --seed N --count M`.

Prints each graph that fails, minimised, and a summary; saves what failed under build/fuzz. Exit status 1 if any did.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from campaign import Campaign
from children import Outcome
from generate import generate
from judge import Verdict, judge
from minimise import describe, minimise, save

CAMPAIGN = Campaign(
    file=__file__,
    what="Random graphs against ONNX Runtime.",
    count=5000,
    limit_seconds=60.0,
    failed=("wrong", "internal", "raised", "crash", "hang", "generator"),
    told=("refused",),
)


def work(seed: int, operators: tuple[str, ...] = ()) -> tuple[str, str]:
    """Generates and judges the graph of a seed."""
    try:
        sample = generate(seed, operators)
    except Exception as error:
        return "generator", f"{type(error).__name__}: {error}"
    verdict = judge(sample)
    return verdict.kind, verdict.text


def report(outcome: Outcome, folder: Path, operators: tuple[str, ...], whole: bool) -> str:
    """Minimises a failing graph, saves it and describes it; or leaves it whole and tells only what was seen."""
    text = outcome.text
    if outcome.kind == "generator" or whole:
        return text
    sample = generate(outcome.number, operators)
    if outcome.kind not in ("crash", "hang"):
        reason = _reason(Verdict(outcome.kind, text))
        sample = minimise(sample, lambda each: _reason(judge(each)) == reason)
        text = judge(sample).text or text
    path = folder / f"{outcome.kind}_{outcome.number}.onnx"
    save(sample, path)
    return f"{path}\n{describe(sample)}\n{text}"


def _reason(verdict: Verdict) -> tuple[str, str]:
    """What makes two failures the same: the kind, and what an error says beside where."""
    lines = [line for line in verdict.text.splitlines() if "where:" not in line and "nodes:" not in line]
    return verdict.kind, "" if verdict.kind == "wrong" else " ".join(lines)[:100]


def main() -> int:
    parser = CAMPAIGN.parser()
    parser.add_argument("--operators", nargs="*", default=[], help="the first operator of each graph is one of these")
    parser.add_argument("--whole", action="store_true", help="do not minimise: tell what failed and go on")
    parser.add_argument("--show", action="store_true", help="print the graphs and do nothing")
    options = parser.parse_args()
    operators = tuple(options.operators)
    if options.show:
        for seed in range(options.seed, options.seed + options.count):
            print(f"seed {seed}: {describe(generate(seed, operators))}")
        return 0
    return CAMPAIGN.run(
        options,
        lambda seed: work(seed, operators),
        lambda outcome: report(outcome, options.save, operators, options.whole),
        ["--operators", *operators] if operators else [],
    )


if __name__ == "__main__":
    raise SystemExit(main())
