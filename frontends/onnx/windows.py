"""The geometry of sliding windows: how attributes of ONNX convolutions and pools become kernel, strides and padding."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tvm import relax

from .limits import check_tensor
from .node import Expr, Node, shape_of


@dataclass(frozen=True)
class Window:
    """A sliding window over the spatial dimensions, each field with one entry a dimension.

    Args:
        kernel: extent of the window in taps.
        strides: steps between windows.
        dilations: distance between taps.
        begins: padding before the first element; negative where elements are cut.
        ends: padding after the last element, as given; negative where elements are cut.
        extra: further padding after the last element that exists only so that the last window of ceil_mode fits.
        output: number of windows.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    extra: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def padding(self) -> tuple[int, ...]:
        """All begins, then all ends including the extra, as Relax wants it."""
        return (*self.begins, *(end + more for end, more in zip(self.ends, self.extra, strict=True)))


def cropped(node: Node, x: Expr, window: Window) -> tuple[Expr, Window]:
    """x without the elements that negative padding cuts, and the window without negative padding."""
    spatial = shape_of(x)[2:]
    if min((*window.begins, *window.ends), default=0) >= 0:
        return x, window
    starts = [max(-begin, 0) for begin in window.begins]
    stops = [extent + min(end, 0) for extent, end in zip(spatial, window.ends, strict=True)]
    axes = list(range(2, 2 + len(spatial)))
    rest = replace(
        window,
        begins=tuple(max(begin, 0) for begin in window.begins),
        ends=tuple(max(end, 0) for end in window.ends),
    )
    return node.emit(relax.op.strided_slice(x, axes, starts, stops, assume_inbound=True)), rest


def read_steps(
    node: Node, rank: int, kernel: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The attributes strides, dilations and pads (all begins, then all ends) of a node, or what they are by default.

    Raises:
        ModelError: one of them, or the kernel, is not for `rank` dimensions, or a step or an extent is not positive.
    """
    strides = node.attr_ints("strides") or (1,) * rank
    dilations = node.attr_ints("dilations") or (1,) * rank
    pads = node.attr_ints("pads") or (0,) * (2 * rank)
    if not len(kernel) == len(strides) == len(dilations) == rank or len(pads) != 2 * rank:
        raise node.invalid(f"kernel, strides, dilations and pads do not fit {rank} spatial dimensions")
    if min((*kernel, *strides, *dilations), default=1) < 1:
        raise node.invalid("kernel, strides and dilations must be positive")
    return strides, dilations, pads


def read_window(node: Node, spatial: tuple[int, ...], kernel: tuple[int, ...], *, same_may_cut: bool = False) -> Window:
    """The window of a node, from its attributes strides, dilations, pads, auto_pad and ceil_mode.

    Args:
        node: a convolution or pooling node.
        spatial: the input's spatial extents.
        kernel: the kernel's extents.
        same_may_cut: whether SAME cuts elements, half of them at either end, where windows do not reach each other: the
            formula that ONNX gives for pools does; for convolutions it only speaks of padding.

    Raises:
        ModelError: an attribute has the wrong length or sign, or the window does not fit the padded input.
        UnsupportedError: the padded input is too large.
    """
    rank = len(spatial)
    strides, dilations, pads = read_steps(node, rank, kernel)
    auto_pad = node.attr_str("auto_pad", "NOTSET") or "NOTSET"
    ceil_mode = node.attr_flag("ceil_mode", False)
    begins, ends, extra, output = [], [], [], []
    dilations = tuple(1 if taps == 1 else dilation for taps, dilation in zip(kernel, dilations, strict=True))
    for axis in range(rank):
        taps = (kernel[axis] - 1) * dilations[axis] + 1
        begin, end = pads[axis], pads[rank + axis]
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            windows = -(-spatial[axis] // strides[axis])
            total = (windows - 1) * strides[axis] + taps - spatial[axis]
            total = total if same_may_cut else max(total, 0)
            begin = int((total if auto_pad == "SAME_UPPER" else total + 1) / 2)
            end = total - begin
        elif auto_pad == "VALID":
            begin = end = 0
        elif auto_pad != "NOTSET":
            raise node.invalid(f"the attribute auto_pad is '{auto_pad}'")
        room = spatial[axis] + begin + end - taps
        windows = room // strides[axis] + 1
        if ceil_mode and room % strides[axis] and windows * strides[axis] < spatial[axis] + begin:
            # One more window; it must start inside the input or the padding before it.
            windows += 1
        if windows < 1:
            raise node.invalid(f"a window of {taps} does not fit spatial dimension {axis} of {spatial[axis]}")
        begins.append(begin)
        ends.append(end)
        extra.append(max((windows - 1) * strides[axis] - room, 0))
        output.append(windows)
    padded = [sum(parts) for parts in zip(spatial, begins, ends, extra, strict=True)]
    check_tensor([*node.shape(0)[:2], *padded])
    # Where one window is all, the next is nowhere.
    strides = tuple(min(stride, size) for stride, size in zip(strides, padded, strict=True))
    return Window(kernel, strides, dilations, tuple(begins), tuple(ends), tuple(extra), tuple(output))
