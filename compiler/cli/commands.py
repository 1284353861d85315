"""The commands of the command line, a file each. They read options, call the compiler, and show what that says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated

import typer

from ..reports.report import show
from .command_bench import bench
from .command_compile import compile_command
from .command_evaluate import evaluate
from .command_optimize import optimize
from .command_prune import prune
from .command_quantize import quantize
from .command_replace_weights import replace_weights_command
from .command_run import run
from .command_serve import serve
from .command_show import inspect, targets
from .command_tune import tune
from .command_verify import verify

_HELP = """Compiles trained models into standalone shared libraries.

Start with:

* `tilewright compile model.onnx -o model.so`
* `tilewright verify model.so model.onnx`
* `tilewright bench model.so --kernels`

Messages go to stderr, results to stdout. Exit codes: 0 done, 1 a comparison failed, 2 the command line is wrong,
3 not supported, 4 an input is damaged or missing, 5 a tool failed, 130 interrupted."""

# In the order in which the help lists them.
_COMMANDS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "compile": compile_command,
        "run": run,
        "verify": verify,
        "bench": bench,
        "inspect": inspect,
        "quantize": quantize,
        "prune": prune,
        "replace-weights": replace_weights_command,
        "optimize": optimize,
        "evaluate": evaluate,
        "tune": tune,
        "targets": targets,
        "serve": serve,
    }
)

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ... import __version__

        show(f"tilewright {__version__}")
        raise typer.Exit


@app.callback(help=_HELP)
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before a command."""
    del version


for name, command in _COMMANDS.items():
    app.command(name)(command)
