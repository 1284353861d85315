"""What the programs of this folder share: options, child processes, a summary and an exit status."""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import children
from children import Work


@dataclass(frozen=True)
class Campaign:
    """One kind of trial, many times.

    Attributes:
        file: the program.
        what: in a sentence.
        count: how many trials there are by default.
        limit_seconds: processor time that one may take.
        limit_bytes: memory that the process of one may have at any time; None for any.
        failed: the kinds of outcome that are failures.
        told: the kinds that are printed in a line and are none.
    """

    file: str
    what: str
    count: int
    limit_seconds: float
    failed: Sequence[str]
    told: Sequence[str] = ()
    limit_bytes: int | None = None

    def parser(self) -> argparse.ArgumentParser:
        """The options that all have."""
        parser = argparse.ArgumentParser(description=self.what)
        parser.add_argument("--seed", type=int, default=0, help="the first seed")
        parser.add_argument("--count", type=int, default=self.count, help="how many")
        parser.add_argument("--jobs", type=int, default=2, help="processes")
        parser.add_argument("--save", type=Path, default=Path("build/fuzz"), help="a folder for what failed")
        parser.add_argument("--child", nargs="*", type=int, help=argparse.SUPPRESS)
        return parser

    def run(
        self,
        options: argparse.Namespace,
        work: Work,
        report: Callable[[children.Outcome], str],
        arguments: Sequence[str] = (),
    ) -> int:
        """Runs all trials, or as a child some.

        Args:
            options: of `parser`.
            work: does the trial of a seed; says the kind of its outcome and more, or how to judge what it did.
            report: what to print of one that failed, once it was saved.
            arguments: further ones for children.

        Returns:
            the exit status.
        """
        warnings.simplefilter("ignore")
        if options.child is not None:
            children.serve(work, options.child, self.limit_seconds, self.limit_bytes)
            return 0
        seeds = range(options.seed, options.seed + options.count)
        options.save.mkdir(parents=True, exist_ok=True)
        kinds: Counter[str] = Counter()
        began, slowest = time.monotonic(), 0.0
        for outcome in children.run([str(Path(self.file).resolve()), *arguments, "--child"], seeds, options.jobs):
            kinds[outcome.kind] += 1
            slowest = max(slowest, outcome.seconds)
            if outcome.kind in self.failed:
                print(f"=== seed {outcome.number}: {outcome.kind}: {report(outcome)}\n", flush=True)
            elif outcome.kind in self.told:
                print(f"seed {outcome.number}: {outcome.kind}: {' | '.join(outcome.text.split())[:300]}", flush=True)
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        print(f"{len(seeds)} in {time.monotonic() - began:.0f} s, the slowest {slowest:.1f} s: {counts}")
        return int(any(kinds[kind] for kind in self.failed))
