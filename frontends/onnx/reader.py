"""Reads an ONNX file that is hostile until parsed: damaged, truncated, inconsistent, pointing at others' files."""

from __future__ import annotations

import logging
import stat
from collections import Counter
from pathlib import Path

import onnx
from google.protobuf.message import Message

from ...errors import ModelError, TilewrightError, UnsupportedVersionError
from ..opened import OpenedModel
from .external_data import check_external_data
from .function_calls import check_calls
from .lifted_constants import DEFAULT_DOMAINS, with_lifted_constants
from .proto_walk import every_node, every_tensor
from .sparse_tensors import with_dense_tensors
from .tensor_data import check_tensor_data

_NEWEST_OPSET = onnx.defs.onnx_opset_version()
_OLDEST_OPSET = 1
_LARGEST_PROTOBUF = 1 << 31
_REPLACED = "replaced.operators"  # a domain of which ONNX's checker knows nothing
_REMARKS = ("doc_string", "metadata_props", "producer_name", "producer_version")  # nothing depends on them
# Logs of third-party readers repeat what our error says, and would reach the user's terminal.
logging.getLogger("onnx_ir").setLevel(logging.ERROR)


def read_model(source: Path | onnx.ModelProto) -> OpenedModel:
    """Reads, parses and checks a model; weights in external files stay memory-mapped.

    Raises:
        ModelError: not a model, truncated, or inconsistent (unknown inputs, cycles, names defined twice).
        ExternalDataError: external weights are missing, too short, or lie outside the model's folder.
        UnsupportedVersionError: the model uses an operator set newer than this program knows.
    """
    if isinstance(source, onnx.ModelProto):
        proto, folder, where, name, file = source, None, "ModelProto", source.graph.name or "model", None
    else:
        proto, folder, where, name = _parse(source), source.resolve().parent, str(source), source.stem
        file = source
    _check_header(proto, where)
    _check_text(proto, where)
    _check_names(proto.graph, where)
    check_calls(proto, where)
    check_tensor_data(proto, where)
    check_external_data(proto, folder, where)
    proto = with_lifted_constants(with_dense_tensors(proto, folder, where))
    opened = OpenedModel(proto, name, where, folder, file)
    try:
        opened.graph_form()
        onnx.checker.check_model(_shell(proto))
    except TilewrightError:
        raise
    except Exception as error:  # a damaged model makes parsers fail in ways that nobody lists
        raise ModelError("the model is not valid ONNX", where=where, details=_reasons(error)) from error
    return opened


def _parse(path: Path) -> onnx.ModelProto:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return onnx.load(path, load_external_data=False)
        if not stat.S_ISFIFO(mode):
            raise ModelError("the model is no file", where=str(path), hint="give the path of an .onnx file")
        with path.open("rb") as pipe:
            return onnx.load_model_from_string(pipe.read(_LARGEST_PROTOBUF))
    except ModelError:
        raise
    except FileNotFoundError as error:
        raise ModelError("the model file does not exist", where=str(path)) from error
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}", where=str(path)) from error
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        hint = "check that it is an ONNX file and that it was copied completely"
        raise ModelError("the file is not an ONNX model, or it is truncated", where=str(path), hint=hint) from error


def _check_header(proto: onnx.ModelProto, where: str) -> None:
    """Refuses what a protobuf parser takes for a model but is none, and versions from the future."""
    if proto.ir_version < 1 or not proto.HasField("graph"):
        raise ModelError(
            "the file is not an ONNX model, or it is truncated",
            where=where,
            hint="check that it is an ONNX file and that it was copied completely",
        )
    if proto.ir_version > onnx.IR_VERSION:
        raise UnsupportedVersionError(
            f"the model has ONNX IR version {proto.ir_version}; the newest one known here is {onnx.IR_VERSION}",
            where=where,
            hint="export the model again with an older ONNX, or install a newer onnx package",
        )
    versions: dict[str, int] = {}
    for entry in proto.opset_import:
        if versions.setdefault(entry.domain, entry.version) != entry.version:
            raise ModelError(
                f"the model uses versions {versions[entry.domain]} and {entry.version} of the operators of one domain",
                where=f"{where}: domain '{entry.domain or 'ai.onnx'}'",
            )
    for domain in DEFAULT_DOMAINS:
        version = versions.get(domain)
        if version is not None and not _OLDEST_OPSET <= version <= _NEWEST_OPSET:
            raise UnsupportedVersionError(
                f"the model uses ONNX opset {version}; opsets {_OLDEST_OPSET} to {_NEWEST_OPSET} are known here",
                where=where,
                hint=f"export the model again with opset_version={_NEWEST_OPSET} or lower",
            )


def _check_text(message: Message, where: str) -> None:
    """Strings that are not UTF-8, which protobuf hands on as bytes, wherever they mean something."""
    for field, value in message.ListFields():
        if field.name in _REMARKS or field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for each in [value] if isinstance(value, str | bytes | Message) else value:
            if isinstance(each, Message):
                _check_text(each, where)
            elif not isinstance(each, str):
                raise ModelError(
                    "the model holds a string that is not text in UTF-8",
                    where=f"{where}: '{field.name}' of a {message.DESCRIPTOR.name}",
                    hint="check that the file was copied completely",
                )


def _check_names(graph: onnx.GraphProto, where: str) -> None:
    """Names defined twice, which the in-memory form would silently merge."""
    for kind, names in (
        ("inputs", [value.name for value in graph.input]),
        (
            "initializers",
            [
                *(tensor.name for tensor in graph.initializer),
                *(sparse.values.name for sparse in graph.sparse_initializer),
            ],
        ),
    ):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ModelError(f"the graph defines {kind} twice: {', '.join(twice)}", where=where)
    if not graph.output:
        raise ModelError("the graph has no outputs", where=where)


def _shell(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its weights, which are inputs instead: all that ONNX's checker has to see, and never large.

    Inputs and outputs of unknown rank are given one, and outputs of unknown type a type, because the checker wants them
    and runtimes do not. Operators that were replaced are hidden from it.
    """
    shell = onnx.ModelProto()
    for name in ("ir_version", "domain", "model_version"):
        setattr(shell, name, getattr(proto, name))
    shell.opset_import.extend(proto.opset_import)
    shell.functions.extend(proto.functions)
    shell.graph.name = proto.graph.name or "graph"
    shell.graph.node.extend(proto.graph.node)
    versions = {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}
    shell.opset_import.append(onnx.helper.make_opsetid(_REPLACED, 1))
    for node in every_node(shell):
        if node.domain in DEFAULT_DOMAINS and _is_replaced(node.op_type, versions.get("ai.onnx", 1)):
            node.domain = _REPLACED
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    shell.graph.input.extend(value for value in proto.graph.input if value.name not in weights)
    shell.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in weights.values()
    )
    shell.graph.output.extend(proto.graph.output)
    for tensor, _ in every_tensor(shell):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:  # checked already; the checker looks in another folder
            tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[0]))
    for value in shell.graph.output:
        if value.type.WhichOneof("value") is None:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for value in (*shell.graph.input, *shell.graph.output):
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.SetInParent()
    return shell


def _is_replaced(op_type: str, opset: int) -> bool:
    """Whether ONNX has replaced an operator: a runtime computes it all the same, its checker refuses it."""
    return onnx.defs.has(op_type, opset) and bool(onnx.defs.get_schema(op_type, opset).deprecated)


def _reasons(error: BaseException) -> list[str]:
    """The few lines of a chain of exceptions that a person can use."""
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 3:
        lines = [line.strip() for line in str(current).splitlines() if line.strip()]
        # ONNX's checker says which node it means further below.
        context = [line.removeprefix("==> Context: ") for line in lines[1:] if line.startswith("==> Context: ")]
        text = " / ".join(each[:300] for each in [lines[0], *context[:1]]) if lines else type(current).__name__
        if text not in chain:
            chain.append(text)
        current = current.__cause__
    return chain[-2:]
