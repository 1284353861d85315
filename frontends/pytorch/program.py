"""A PyTorch model with the inputs it is exported with, whatever it came as: a module, an exported program, a file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ModelError, UnsupportedError, UsageError
from ..request import Request, framework
from .quiet import quiet

EXAMPLES = "give the tensors it is called with: tilewright.compile(module, example_inputs=(x,)), or open(...) likewise"


@dataclass(frozen=True)
class Program:
    """A model that can be called and exported.

    Attributes:
        model: an nn.Module in evaluation mode, or an ExportedProgram.
        call: computes what the model computes.
        args, kwargs: the inputs it is exported with, and checked on.
        name: what it is called.
        where: names it in errors.
        scripted: whether it is TorchScript, which PyTorch's new exporter does not take.
    """

    model: Any
    call: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    name: str
    where: str
    scripted: bool = False

    @property
    def is_module(self) -> bool:
        """Whether the model is a module, which may be in training mode, rather than a program."""
        return self.model is self.call


def program_of(source: Any, request: Request) -> Program:
    """What is exported for a module, an ExportedProgram, or the path of a file that holds one.

    Raises:
        ModelError: the file is missing or damaged, or holds no program.
        UsageError: there are no example inputs.
        UnsupportedError: a form of PyTorch's that holds weights alone.
        ToolError: PyTorch is not installed.
    """
    torch = framework("torch", "pytorch", "PyTorch models")
    if isinstance(source, Path):
        loaded, name, where = _load(torch, source), source.stem, str(source)
    else:
        loaded, name, where = source, type(source).__name__, type(source).__name__
    if isinstance(loaded, torch.export.ExportedProgram):
        args, kwargs = _examples(request, loaded.example_inputs, where, EXAMPLES)
        return Program(loaded, loaded.module(), args, kwargs, name, where)
    if not isinstance(loaded, torch.nn.Module):
        raise UsageError(f"{type(loaded).__name__} is no PyTorch model", where=where, hint="give an nn.Module")
    scripted = isinstance(loaded, torch.jit.ScriptModule)
    if scripted:
        hint = "give the shape of every input, for example " + " ".join(
            f"--shape {each}=1x3x224x224" for each in scripted_inputs(loaded)
        )
        args, kwargs = _examples(request, _from_shapes(torch, loaded, request), where, hint)
    else:
        args, kwargs = _examples(request, None, where, EXAMPLES)
    return Program(loaded, loaded, args, kwargs, name, where, scripted)


def _load(torch: Any, path: Path) -> Any:
    """Reads a `.pt2` or a TorchScript file. Both run code of the file's: it must come from somebody you trust."""
    if not path.is_file():
        raise ModelError("the model file does not exist", where=str(path))
    if path.suffix.lower() == ".pt2":
        try:
            with quiet():
                return torch.export.load(path)
        except Exception as error:  # damaged archives fail in ways that nobody lists
            raise ModelError(
                "the file is no program that torch.export.save wrote, or it is damaged",
                where=str(path),
                details=[_first_line(error)],
                hint="write it with torch.export.save, by the PyTorch that is installed here",
            ) from error
    if not zipfile.is_zipfile(path):
        raise ModelError("the file is no PyTorch model, or it is truncated", where=str(path))
    if not any(Path(name).name == "constants.pkl" for name in zipfile.ZipFile(path).namelist()):
        raise UnsupportedError(
            "the file holds weights, not a model: there is no program in it",
            where=str(path),
            hint="make the module in Python, load the weights into it, and save it with torch.export.save",
        )
    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except Exception as error:
        raise ModelError(
            "the TorchScript file cannot be loaded", where=str(path), details=[_first_line(error)]
        ) from error


def _examples(request: Request, own: Any, where: str, hint: str) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """The inputs given, or those that came with the program."""
    if request.example_inputs is not None or request.example_kwargs:
        given = request.example_inputs or ()
        return (given if isinstance(given, tuple) else (given,)), dict(request.example_kwargs)
    if own is None:
        raise UsageError("a PyTorch model needs example inputs", where=where, hint=hint)
    args, kwargs = own
    return tuple(args), dict(kwargs)


def _from_shapes(torch: Any, scripted: Any, request: Request) -> Any:
    """Random floats of the shapes that were given for every input of a TorchScript module; None without them."""
    names = scripted_inputs(scripted)
    if not names or any(name not in request.shapes for name in names):
        return None
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(tuple(request.shapes[name]), generator=generator) for name in names), {}


def scripted_inputs(scripted: Any) -> list[str]:
    """The parameters of a TorchScript module."""
    return [argument.name for argument in scripted.forward.schema.arguments][1:]


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"
