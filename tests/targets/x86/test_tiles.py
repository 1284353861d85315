"""The configuration of tiles, as the manual lays it out."""

from __future__ import annotations

from tilewright.targets.x86.tiles import palette, tile_sizes


def test_palette() -> None:
    data = palette([(14, 64), (14, 64), (14, 48), (12, 64)])
    assert len(data) == 64 and data[0] == 1
    assert [int.from_bytes(data[16 + 2 * i : 18 + 2 * i], "little") for i in range(8)] == [64, 64, 48, 64, 0, 0, 0, 0]
    assert list(data[48:56]) == [14, 14, 14, 12, 0, 0, 0, 0]


def test_sums_come_first_then_the_operands() -> None:
    extents = {"register": 2, "row": 14, "vector": 1, "lane": 16, "group": 12, "term": 2}
    # Rows and bytes a row: two tiles of 14 x 16 sums, two of 14 x 24 bfloat16, one of 12 groups of 16 pairs.
    assert tile_sizes(extents, 2) == [(14, 64), (14, 64), (14, 48), (14, 48), (12, 64)]
