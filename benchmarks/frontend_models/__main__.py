"""Compiles small models of many architectures from PyTorch and compares them with it, for docs/models.md.

    python -m benchmarks.frontend_models [NAME...] [--fresh] [--write]
    python -m benchmarks.frontend_models --vary [NAME...] [--fresh] [--write]       batch and length left open

What is done is kept in build/frontend_models, so that a run that was stopped goes on, and several may run at a time.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tilewright
import torch
from tilewright.compiler.verification.compare import DEFAULT_RTOL, Comparison, compare
from tilewright.errors import CompilerError, ModelError, TilewrightError, UnsupportedError
from tilewright.frontends.pytorch.tensors import copied, is_tensor, leaves, to_array

from ..sections import with_section
from .language import LANGUAGE
from .model import Model
from .networks import NETWORKS
from .varying import WITHOUT_BATCH, at_all_sizes
from .vision import VISION

MODELS = (*NETWORKS, *LANGUAGE, *VISION)
_PAGE = Path(__file__).parents[2] / "docs" / "models.md"
_RECORDS = Path(__file__).parents[2] / "build" / "frontend_models"
_WEIGHTED = torch.nn.Linear | torch.nn.Conv1d | torch.nn.Conv2d


@dataclass(frozen=True)
class Outcome:
    """What became of a model; `error` is max |error| / max |reference| over its outputs, `problem` why it fails."""

    name: str
    family: str
    verdict: str
    nodes: int = 0
    error: float | None = None
    problem: str = ""
    seconds: float = 0.0


def tried(model: Model, *, vary: bool) -> Outcome:
    """Makes, compiles, runs and compares a model: as it is, or with sizes that vary."""
    began = time.perf_counter()
    torch.manual_seed(0)
    nodes, error, problem = 0, None, ""
    try:
        module = _awake(model.make().eval())
        given = model.inputs()
        args, kwargs = ((), dict(given)) if isinstance(given, Mapping) else (given, {})
        if vary:
            named = dict(zip(inspect.signature(module.forward).parameters, args, strict=False))
            nodes, found = at_all_sizes(module, {**named, **kwargs})
        else:
            nodes, found = _as_it_is(module, args, kwargs)
        error = max(each.relative_error for each in found)
        verdict = "yes" if all(each.passed for each in found) else "DIFFERS"
        problem = "" if verdict == "yes" else f"more than {DEFAULT_RTOL:g}"
    except TilewrightError as failure:
        verdict, problem = _verdict(failure), " ".join([failure.what, *failure.details])
    except Exception as failure:  # of the architecture itself, in this version of transformers
        verdict, problem = "not made", f"{type(failure).__name__}: {failure}"
    return Outcome(model.name, model.family, verdict, nodes, error, problem[:300], time.perf_counter() - began)


def _as_it_is(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[int, list[Comparison]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = tilewright.open(module, args, kwargs)
        compiled = tilewright.compile(opened, threads=1, jobs=1)
    results = compiled.run(dict(opened.examples))
    with torch.no_grad():
        expected = [to_array(leaf) for leaf in leaves(module(*copied(args), **copied(kwargs))) if is_tensor(leaf)]
    found = [compare(n, got, ref) for (n, got), ref in zip(results.items(), expected, strict=True)]
    return len(opened.proto.graph.node), found


def _verdict(error: TilewrightError) -> str:
    if "export" in error.what:
        return "PyTorch's exporter is wrong" if isinstance(error, ModelError) else "PyTorch's exporter fails"
    if isinstance(error, CompilerError):
        return "INTERNAL ERROR"
    return "not supported yet" if isinstance(error, UnsupportedError) else "refused"


def _awake(module: torch.nn.Module) -> torch.nn.Module:
    """Gives layers weights that keep the size of what they read, and batch norms statistics of their own.

    As they are initialised for training, outputs of many random networks vanish or depend on little but their biases.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                assert layer.running_mean is not None and layer.running_var is not None
                layer.running_mean.normal_(0, 0.1, generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(layer, _WEIGHTED):
                layer.weight.normal_(0, layer.weight[0].numel() ** -0.5, generator=generator)
    return module


def section(outcomes: list[Outcome], *, vary: bool) -> str:
    """The outcomes as a section of a page."""
    import transformers

    good = sum(each.verdict == "yes" for each in outcomes)
    again = [
        "The same models, exported with an open batch, and texts with an open length: one library for a batch of 1",
        "to 3 and lengths from 2 to twice the example's, held to PyTorch at the smallest and largest, and between.",
        f"{good} of {len(outcomes)} are right; some that are not fix a size in their own code. Written by",
        "",
        "    python -m benchmarks.frontend_models --vary --write",
    ]
    lines = [
        f"Small configurations with random weights, of transformers {transformers.__version__} and in plain PyTorch "
        f"{torch.__version__}, through the PyTorch",
        "frontend. Each is exported, compiled and run; *yes* means that every output is within "
        f"{DEFAULT_RTOL:g} of the largest |value|",
        f"that PyTorch computes. {good} of {len(outcomes)} are. Written by",
        "",
        "    python -m benchmarks.frontend_models --write",
    ]
    lines = [
        *(again if vary else lines),
        "",
        "| model | kind | verified | ONNX nodes | error / reference | why not |",
        "|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        error = "" if each.error is None else f"{each.error:.1e}"
        why = each.problem.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {each.name} | {each.family} | {each.verdict} | {each.nodes or ''} | {error} | {why} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="some of them; parts of names")
    parser.add_argument("--fresh", action="store_true", help="try again what was tried before")
    parser.add_argument("--vary", action="store_true", help="with an open batch, and texts with an open length")
    parser.add_argument("--write", action="store_true", help="write the section of docs/models.md")
    asked = parser.parse_args()
    chosen = [model for model in MODELS if not asked.names or any(name in model.name for name in asked.names)]
    if asked.vary:
        chosen = [model for model in chosen if not any(part in model.name for part in WITHOUT_BATCH)]
    records = _RECORDS / "vary" if asked.vary else _RECORDS
    records.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for model in chosen:
        kept = records / f"{model.name.replace('/', '_')}.json"
        if asked.fresh or not kept.exists():
            kept.write_text(json.dumps(asdict(tried(model, vary=asked.vary))))
        outcome = Outcome(**json.loads(kept.read_text()))
        outcomes.append(outcome)
        print(f"{outcome.seconds:6.1f} s  {outcome.name:32} {outcome.verdict:28} {outcome.problem[:200]}", flush=True)
    if asked.write:
        heading = "## Sizes that vary" if asked.vary else "## Architectures"
        _PAGE.write_text(with_section(_PAGE.read_text(), heading, section(outcomes, vary=asked.vary)))
    if any(each.verdict in ("DIFFERS", "INTERNAL ERROR") for each in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
