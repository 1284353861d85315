"""What operators do to factors of channels: keep them, take them into their weights, or refuse them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import onnx

from .seam_parts import Clip, Edit, Graph, Place, RefusedError, Shape


@dataclass(frozen=True)
class Found:
    """What goes along with a tensor at a node: other tensors, initializers, and the ends of a clip."""

    tensors: Mapping[str, Place] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    clips: tuple[Clip, ...] = ()


Rule = Callable[[Graph, onnx.NodeProto, str, Place], Found]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _vector(graph: Graph, name: str, place: Place, *, divides: bool) -> Edit:
    """The edit of an initializer that broadcasts against a tensor and has each place of its axis."""
    shape = graph.shape(graph.own(name))
    if len(shape) < -place.axis or shape[place.axis] != place.extent:
        raise RefusedError
    before, after = math.prod(shape[: place.axis]), math.prod(shape[place.axis :]) // place.extent
    return Edit(name, place, (before, place.extent, after), (1, place.extent, 1), divides)


def _keeps(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> Found:
    """f(x / s) = f(x) / s, element by element or over axes that are not the channels'."""
    rank = len(graph.shape(node.input[0]))
    if len(graph.shape(node.output[0])) != rank or (node.op_type in _WINDOWS and place.axis != 1 - rank):
        raise RefusedError
    return Found({node.input[0]: place, node.output[0]: place})


def _clip(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> Found:
    """Ends that are zero or none keep factors; those of a ReLU6 become one for each channel."""
    given = _attributes(node)
    ends = [given.get("min", -math.inf), given.get("max", math.inf)]
    for number, bound in enumerate(node.input[1:3]):
        if bound:
            ends[number] = float(graph.value(bound))
    low, high = (end if abs(end) < _NO_BOUND else math.copysign(math.inf, end) for end in ends)
    kept = _keeps(graph, node, name, place)
    if all(end == 0 or math.isinf(end) for end in (low, high)):
        return kept
    if not low < high:
        raise RefusedError
    return Found(kept.tensors, clips=(Clip(node.output[0], place, low, high),))


def _layer(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> Found:
    """Convolutions and products: rows of weights for what they make, columns for what they read."""
    weights = graph.own(node.input[1]) if len(node.input) > 1 else ""
    shape, rank = graph.shape(weights), len(graph.shape(name))
    if name != node.output[0] and name != node.input[0]:
        raise RefusedError
    if node.op_type != "Conv" and len(shape) != 2:
        raise RefusedError
    attributes = _attributes(node)
    if any(attributes.get(each, 1.0) != 1.0 for each in ("alpha", "beta")) or attributes.get("transA", 0):
        raise RefusedError
    if place.axis != (1 - rank if node.op_type == "Conv" else -1):
        raise RefusedError
    turned = node.op_type == "Conv" or bool(attributes.get("transB", 0))
    outputs, rest = (shape[0], math.prod(shape[1:])) if turned else (shape[1], shape[0])
    if name == node.output[0]:
        if place.extent != outputs:
            raise RefusedError
        view, like = ((outputs, rest), (outputs, 1)) if turned else ((rest, outputs), (1, outputs))
        edits = [Edit(weights, place, view, like, True)]
        edits += [_vector(graph, bias, _last(place), divides=True) for bias in node.input[2:3] if bias]
        return Found(edits=tuple(edits))
    groups = int(attributes.get("group", 1))
    inputs = shape[1] * groups if node.op_type == "Conv" else rest
    if place.extent != inputs:
        raise RefusedError
    if not turned:
        return Found(edits=(Edit(weights, place, (inputs, outputs), (inputs, 1), False),))
    own = inputs // groups
    apart = (groups, outputs // groups, own, rest // own)
    return Found(edits=(Edit(weights, place, apart, (groups, 1, own, 1), False),))


def _norm(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> Found:
    """What a norm makes, it scales and shifts; what a batch norm reads, it scales, too."""
    rank, makes = len(graph.shape(node.output[0])), name == node.output[0]
    by_row = node.op_type == "LayerNormalization"
    if place.axis != (-1 if by_row else 1 - rank) or (by_row and _attributes(node).get("axis", -1) % rank != rank - 1):
        raise RefusedError
    if makes:
        vectors = [_vector(graph, each, _last(place), divides=True) for each in node.input[1:3] if each]
        return Found(edits=tuple(vectors))
    if node.op_type != "BatchNormalization" or name != node.input[0]:
        raise RefusedError
    return Found(edits=tuple(_vector(graph, node.input[at], _last(place), divides=at == _MEAN) for at in (1, _MEAN)))


def _last(place: Place) -> Place:
    return Place(-1, place.channels, place.tiles, place.repeats)


def _add(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> Found:
    """A sum is divided where both its terms are; one that is a constant is an initializer."""
    rank, tensors, edits = len(graph.shape(node.output[0])), {node.output[0]: place}, []
    for each in node.input:
        if each in graph.constants:
            edits.append(_vector(graph, each, place, divides=True))
        elif len(graph.shape(each)) != rank or graph.shape(each)[place.axis] != place.extent:
            raise RefusedError
        else:
            tensors[each] = place
    return Found(tensors, tuple(edits))


def _multiply(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> Found:
    """A constant factor of each channel takes factors on either side; a gate is left as it is."""
    one, other = node.input[0], node.input[1]
    if other not in graph.constants and one in graph.constants:
        one, other = other, one
    if other in graph.constants:
        if math.prod(graph.shape(other)) == 1:
            return Found({one: place, node.output[0]: place})
        return Found(edits=(_vector(graph, other, place, divides=name == node.output[0]),))
    shape = graph.shape(node.output[0])
    whole = [each for each in (one, other) if graph.shape(each) == shape and 0 not in shape[1:]]
    if len(whole) > 1:  # as large as its gate: what weights made is scaled, and no function of them
        whole = [each for each in whole if graph.uses[each] == 1 and graph.maker(each) in LAYERS]
    if len(whole) != 1 or name not in (whole[0], node.output[0]):
        raise RefusedError
    return Found({whole[0]: place, node.output[0]: place})


def _reshape(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> Found:
    """Elements keep their order: so many channels, each so many times in a row."""
    shapes = {each: _known(graph.shape(each)) for each in (node.input[0], node.output[0])}
    if len({math.prod(shape) for shape in shapes.values()}) > 1 or name not in shapes:
        raise RefusedError
    inner = place.repeats * math.prod(shapes[name][place.axis :]) // shapes[name][place.axis]
    other = next(each for each in shapes if each != name)
    passed = 1
    for axis in range(-1, -len(shapes[other]) - 1, -1):
        extent = shapes[other][axis]
        # The channels are within this axis: what is behind it is repeated, what is left of it repeats.
        repeats = inner // passed
        if inner % passed == 0 and extent % (repeats * place.channels) == 0 and extent > 1:
            moved = Place(axis, place.channels, extent // (repeats * place.channels), repeats)
            return Found({name: place, other: moved})
        passed *= extent
    raise RefusedError


def _known(shape: Shape) -> Shape:
    """A shape whose first axis may be unknown: it counts as one."""
    if 0 in shape[1:] or not shape:
        raise RefusedError
    return (shape[0] or 1, *shape[1:])


def _transpose(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> Found:
    rank = len(graph.shape(node.input[0]))
    order = [int(axis) for axis in _attributes(node).get("perm", range(rank)[::-1])]
    if name == node.output[0]:
        axis = order[place.axis + rank] - rank
        return Found({name: place, node.input[0]: Place(axis, place.channels, place.tiles, place.repeats)})
    axis = order.index(place.axis + rank) - rank
    return Found({name: place, node.output[0]: Place(axis, place.channels, place.tiles, place.repeats)})


def _pad(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> Found:
    """Zeros stay zeros, and copies go along; but channels must not be padded."""
    rank = len(graph.shape(node.input[0]))
    if len(node.input) < 2 or any(node.input[3:4]) or (any(node.input[2:3]) and graph.value(node.input[2]).any()):
        raise RefusedError
    pads = graph.value(node.input[1]).reshape(2, rank)
    if pads[:, place.axis].any():
        raise RefusedError
    return _keeps(graph, node, name, place)


def _concat(graph: Graph, node: onnx.NodeProto, name: str, place: Place) -> Found:
    """Along another axis than the channels' all parts have the same ones."""
    rank = len(graph.shape(node.output[0]))
    if _attributes(node)["axis"] % rank == place.axis + rank or any(each in graph.constants for each in node.input):
        raise RefusedError
    return Found(dict.fromkeys((*node.input, *node.output), place))


LAYERS = ("Conv", "Gemm", "MatMul")
# Their channels are the second axis, and windows go over those behind it.
_WINDOWS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
# Beside what they compute of each element of an image, one multiplication costs little.
_ELEMENTWISE = ("Add", "Elu", "Gelu", "HardSigmoid", "HardSwish", "Mish", "Mul", "Sigmoid", "Softplus", "Tanh")
_MEAN = 3  # the input of a batch norm
_NO_BOUND = 3e38  # exporters write the largest float where there is none

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("Relu", "LeakyRelu", "Abs", "Neg", "Identity", "Dropout", *_WINDOWS), _keeps),
        **dict.fromkeys(LAYERS, _layer),
        **dict.fromkeys(("BatchNormalization", "LayerNormalization", "InstanceNormalization"), _norm),
        **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
        "Clip": _clip,
        "Add": _add,
        "Mul": _multiply,
        "Transpose": _transpose,
        "Pad": _pad,
        "Concat": _concat,
    }
)


# Operators that make channels -> the axis of their constant that has them: that of the weights, or the last one.
_MAKERS = {"Conv": 0, "BatchNormalization": 0, "InstanceNormalization": 0, "Gemm": -1, "MatMul": -1}


def channels_made(graph: Graph, node: onnx.NodeProto) -> Place | None:
    """Where the channels are that a node with constant weights makes; None of another node."""
    known = node.op_type in _MAKERS or node.op_type in ("LayerNormalization", "Mul")
    weights = next((name for name in node.input[:2] if name in graph.floats), None)
    if not known or weights is None or node.domain not in ("", "ai.onnx") or node.output[0] not in graph.shapes:
        return None
    shape, axis = graph.shapes[weights], 0 if _attributes(node).get("transB", 0) else _MAKERS.get(node.op_type, -1)
    rank = len(graph.shapes[node.output[0]])
    channels = shape[axis] if shape else 1
    return Place(1 - rank if _MAKERS.get(node.op_type, -1) == 0 else -1, channels) if channels > 1 else None


def channels_read(graph: Graph, node: onnx.NodeProto) -> Place | None:
    """Where the channels are that a layer with constant weights reads; None of another node."""
    weights = next((name for name in node.input[1:2] if graph.is_own(name)), None)
    if weights is None or node.op_type not in LAYERS or node.domain not in ("", "ai.onnx"):
        return None
    shape = graph.shapes[weights]
    if node.op_type == "Conv":
        if graph.maker(node.input[0]) not in _ELEMENTWISE:
            return None
        return Place(1 - len(shape), shape[1] * int(_attributes(node).get("group", 1)))
    if len(shape) != 2:
        return None
    return Place(-1, graph.shapes[weights][1 if _attributes(node).get("transB", 0) else 0])
