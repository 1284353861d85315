"""The main job on a real trained model: compile it, run it on held-out digits, verify it, time it (`make demo`)."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tilewright
from rich import box
from rich.console import Console
from rich.table import Table

EXAMPLES = Path(__file__).resolve().parent
MODEL = EXAMPLES / "models" / "digits_cnn.onnx"
HELD_OUT = EXAMPLES / "models" / "digits_test.npz"
OUTPUT = EXAMPLES.parent / "build" / "demo" / "digits_cnn.so"
LEAST_ACCURACY = 0.98
TIMED_RUNS = 2000

Array = np.ndarray[Any, Any]


def picture(image: Array) -> list[str]:
    """An 8x8 digit in 0..1 as eight lines of text."""
    shades = " .:*#@"
    return ["".join(shades[round(float(value) * (len(shades) - 1))] * 2 for value in row) for row in image]


def show_digits(console: Console, images: Array, labels: Array, logits: Array, count: int = 4) -> None:
    """Some held-out digits side by side, each over what the library says it is."""
    columns = [
        [*picture(images[index, 0]), f"it says {logits[index].argmax()}, is {labels[index]}".ljust(16)]
        for index in range(count)
    ]
    for row in zip(*columns, strict=True):
        console.print("  ".join(row), highlight=False, markup=False)


def median_microseconds(run: Callable[[], object], runs: int = TIMED_RUNS) -> float:
    """The median time of one call, after a tenth of the calls to warm up."""
    times = []
    for _ in range(runs // 10):
        run()
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def main() -> int:
    """The demo; returns the exit code: 1 if the accuracy or the comparison is not what it should be."""
    console = Console()
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)

    console.rule("1. compile")
    console.print(f"tilewright compile {MODEL.name} -o {OUTPUT.name} --threads 1", highlight=False)
    start = time.perf_counter()
    with console.status("compiling"):
        tilewright.compile(MODEL, output=OUTPUT, threads=1)
    compile_seconds = time.perf_counter() - start
    console.print(f"done in {compile_seconds:.1f} s: {OUTPUT.name} and {OUTPUT.with_suffix('.h').name}")

    console.rule("2. run on held-out digits")
    model = tilewright.load(OUTPUT)
    with np.load(HELD_OUT) as data:
        images, labels = data["images"], data["labels"]
    logits = np.concatenate([model.run({"image": image[None]})["logits"] for image in images])
    show_digits(console, images, labels, logits)
    correct = int((logits.argmax(1) == labels).sum())
    accuracy = correct / len(labels)
    console.print(f"accuracy: {correct} of {len(labels)} digits it never saw in training ({accuracy:.2%})")

    console.rule("3. verify against ONNX Runtime")
    verification = tilewright.verify(model, MODEL)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    references = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])
    error = float(np.abs(logits - references).max() / np.abs(references).max())
    digits_agree = error <= verification.rtol
    for each in verification.worst().values():
        console.print(
            f"random inputs: max |error| {each.max_error:.1e}, allowed {each.limit:.1e}: "
            f"{'equal' if each.passed else 'DIFFERENT'}"
        )
    console.print(
        f"the {len(labels)} digits: max |error| {error:.1e} of the largest logit, allowed {verification.rtol:.0e}: "
        f"{'equal' if digits_agree else 'DIFFERENT'}"
    )

    console.rule("4. what it costs")
    one = {"image": images[:1]}
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_row("latency of one digit, one thread", f"{median_microseconds(lambda: model.run(one)):.0f} us")
    table.add_row(
        f"  ONNX Runtime {onnxruntime.__version__}, the same",
        f"{median_microseconds(lambda: session.run(None, one)):.0f} us",
    )
    table.add_row("ONNX model", f"{MODEL.stat().st_size:,} bytes")
    table.add_row("library, weights inside", f"{OUTPUT.stat().st_size:,} bytes")
    table.add_row("arena: all memory that a run needs", f"{model.workspace_bytes:,} bytes")
    console.print(table)
    console.print(
        f"Try: {Path(sys.executable).parent / 'tilewright'} inspect {OUTPUT}", highlight=False, soft_wrap=True
    )

    if accuracy < LEAST_ACCURACY or not verification.passed or not digits_agree:
        print("error: the compiled model is not what it should be (see above)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except tilewright.errors.TilewrightError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
