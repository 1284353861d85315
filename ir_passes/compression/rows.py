"""The table of operators: how indices of axes go together, and the call on fewer of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..layout.layouts import CONVOLUTIONS, POOLS
from ..operators.elementwise import ELEMENTWISE
from . import move_rows as moves
from . import product_rows as products
from .row import Row

_RESHAPES = "expand_dims squeeze flatten nn.batch_flatten"


def _named(row: Row, names: str) -> dict[str, Row]:
    return {f"relax.{name}": row for name in names.split()}


ROWS: Mapping[str, Row] = MappingProxyType(
    {
        **dict.fromkeys(ELEMENTWISE, Row(products.elementwise)),
        **dict.fromkeys(CONVOLUTIONS, Row(products.convolution, products.fewer_groups)),
        **dict.fromkeys(POOLS, Row(products.pool)),
        **_named(Row(products.matmul), "matmul"),
        **_named(Row(products.total), "sum"),
        **_named(Row(products.reduction), "mean max min prod std variance argmax argmin"),
        **_named(Row(products.along_axis), "nn.softmax nn.log_softmax cumsum cumprod"),
        **_named(Row(products.normalisation), "nn.layer_norm nn.rms_norm"),
        **_named(Row(products.group_norm, products.fewer_normalised), "nn.group_norm"),
        **_named(Row(products.prelu), "nn.prelu"),
        **_named(Row(moves.permute), "permute_dims"),
        **_named(Row(moves.reshape, moves.reshaped), "reshape"),
        **_named(Row(moves.reshape), _RESHAPES),
        **_named(Row(moves.concat), "concat"),
        **_named(Row(moves.split, moves.split_again), "split"),
        **_named(Row(moves.strided_slice, moves.sliced_again), "strided_slice"),
        **_named(Row(moves.take, moves.taken_again), "take"),
        **_named(Row(moves.broadcast, moves.broadcast_again), "broadcast_to"),
        **_named(Row(moves.tile, moves.tiled_again), "tile"),
        **_named(Row(moves.repeat, moves.repeated_again), "repeat"),
        **_named(Row(moves.flip), "flip"),
        **_named(Row(moves.pad, moves.padded_again), "nn.pad"),
        **_named(Row(moves.interpolate), "tilewright.interpolate"),
        **_named(Row(moves.made, moves.made_again), "full zeros ones"),
    }
)
