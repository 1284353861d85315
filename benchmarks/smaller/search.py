"""A search on a recogniser of text, from its files to a page: `python -m benchmarks.smaller.search FOLDER`.

Writes the network and the lines of `benchmarks.smaller.recognition`, runs `tilewright optimize` on them, and sets the
front that it found against the same treatment of all layers, as `benchmarks.smaller.front` does. What was found stays
in FOLDER: the same command goes on where it was, `--seconds` being the time of all runs together.

Exit codes: 0 done; 1 the package or fonts are missing, or the search failed; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..accuracy import characters
from . import front, recognition

_PROGRAM = "from tilewright.compiler.cli.main import main; main()"


def searching(folder: Path, seconds: float, loss: float, kinds: str, jobs: int) -> list[str]:
    """The words of `tilewright optimize`, without the program's name.

    Args:
        folder: of the files that `recognition` writes.
        loss: points of accuracy that the recipe may lose.
    """
    metric = f"{Path(characters.__file__)}:{characters.right.__name__}"
    words = ["optimize", str(folder / "text_recognition.onnx"), "--calibration", str(folder / "samples.npz")]
    words += ["--labels", str(folder / "labels.npy"), "--metric", metric, "--budget", f"accuracy=-{loss:g}"]
    words += ["--try", kinds, "--seconds", f"{seconds:g}", "--threads", "1", "--jobs", str(jobs)]
    return [*words, "-o", str(folder / "small.json"), "--report", str(folder / "report.html"), "--json"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smaller.search", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--loss", type=float, default=2.0, help="points that the recipe may lose")
    parser.add_argument("--try", dest="kinds", default="int8,rank,channels", help="as `tilewright optimize` takes it")
    parser.add_argument("--jobs", type=int, default=1, help="processes that try networks")
    parser.add_argument("--out", type=Path, help="the page, .md; by default FOLDER/front.md")
    options = parser.parse_args(given)
    folder = options.folder
    if not (folder / "labels.npy").exists() and recognition.main([str(folder)]):
        return 1
    words = searching(folder, options.seconds, options.loss, options.kinds, options.jobs)
    found = folder / "front.json"
    with found.open("wb") as file:
        code = subprocess.run([sys.executable, "-c", _PROGRAM, *words], stdout=file, check=False).returncode
    if not found.stat().st_size:  # it said why
        return code or 1
    command = shlex.join(["python", "-m", "benchmarks.smaller.search", *given])
    return front.main([str(found), "--command", command, "--out", str(options.out or folder / "front.md")])


if __name__ == "__main__":
    sys.exit(main())
