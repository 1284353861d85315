"""Libraries for NVIDIA's GPUs against their peers, built beforehand and measured in one short call where a GPU is.

    python -m benchmarks.cuda build resnet50 mobilenet_v2 bert_base resnet50-b32    needs nvcc, no GPU
    python -m benchmarks.cuda run build/cuda --json build/cuda.json                 needs a GPU, no nvcc; 5 minutes

`build` writes a library for each model and precision, its inputs, and the outputs of ONNX Runtime here; `run` holds
every engine to these, and times those that are installed in turns: Tilewright, PyTorch (eager, in a CUDA graph,
compiled and in a CUDA graph), ONNX Runtime, TensorRT. Then it tells what each library does: launched from the memory
of the machine, launched in a row, and its kernels under the GPU's measured ceilings. A page stands beside the JSON.

Exit codes: 0 done; 1 a library computes something else or does not run; 2 wrong usage; 5 there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tilewright.compiler.process.install import written_whole
from tilewright.errors import EXIT_TOOL_FAILED, DeviceError, TilewrightError
from tilewright.targets.cuda.driver import driver

from ..engines.gpu import GPU_ENGINES, PRECISIONS
from ..measurement import MEASURED
from ..rounds import Schedule
from .building import build
from .measuring import Plan, run
from .page import page


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = _parser().parse_args(given)
    try:
        if asked.command == "build":
            build(asked.models, asked.precision, asked.mcpu, asked.out, with_onnx=asked.onnx)
            return 0
        gpu = driver().name()
    except DeviceError as error:
        print(error, file=sys.stderr)
        return EXIT_TOOL_FAILED
    except TilewrightError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    plan = Plan(asked.minutes, Schedule(asked.rounds, asked.seconds, engine_seconds=10 * asked.seconds))
    found = {
        "gpu": gpu,
        **run(asked.folder, asked.engines, plan, lambda text: print(text, file=sys.stderr, flush=True)),
    }
    text = page(found, shlex.join(["python", "-m", "benchmarks.cuda", *given]))
    print(text)
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        for path, content in ((asked.json, json.dumps(found, indent=1) + "\n"), (asked.json.with_suffix(".md"), text)):
            with written_whole(path) as file:
                file.write(content.encode())
    own = [each for each in found["measurements"] if GPU_ENGINES[each["engine"]].ours]
    return 0 if own and all(each["state"] == MEASURED for each in own) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="libraries, inputs, expected outputs")
    builder.add_argument("models", nargs="+", help="models of ours, NAME-bN for batches, or ONNX files")
    builder.add_argument("--precision", nargs="+", choices=list(PRECISIONS), default=["fp16"])
    builder.add_argument("--mcpu", default="sm_90a")
    builder.add_argument("--out", type=Path, default=Path("build/cuda"))
    builder.add_argument("--onnx", action="store_true", help="copy the models, too, for engines that read them")
    runner = commands.add_parser("run", help="measure what was built")
    runner.add_argument("folder", type=Path)
    runner.add_argument("--engines", nargs="+", choices=list(GPU_ENGINES), default=list(GPU_ENGINES), metavar="ENGINE")
    runner.add_argument("--json", type=Path)
    runner.add_argument("--minutes", type=float, default=Plan.minutes, help="that all of it may take (4.5)")
    runner.add_argument("--rounds", type=int, default=Plan.schedule.rounds, help="turns of each engine (5)")
    runner.add_argument("--seconds", type=float, default=Plan.schedule.seconds, help="of a turn (0.3)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
