"""A recogniser of text and lines to search with: `python -m benchmarks.smaller.recognition FOLDER`.

Writes NAME.onnx, `samples.npz` and `labels.npy` for `tilewright optimize`, which takes every other line to fit and
calibrate with and the rest to judge by. The network is that of the package rapidocr-onnxruntime; lines are drawn with
the fonts at hand. The same fonts give the same files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..accuracy.text_lines import written_lines
from ..trained import SourceMissingError

LINES = 240


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 1 where the package or fonts are missing."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.smaller.recognition", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", type=int, default=LINES)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        path, images, labels = written_lines(options.folder, options.lines)
    except SourceMissingError as reason:
        print(reason, file=sys.stderr)
        return 1
    np.savez(options.folder / "samples.npz", x=np.concatenate(images))
    np.save(options.folder / "labels.npy", labels)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
