"""combine_parallel_matmul."""

from __future__ import annotations

from typing import Any

from relax_models import assert_same_numbers, build, hints, op, operators, weights
from tilewright.ir_passes import CombineParallelMatmul


def test_query_key_value_become_one_product() -> None:
    def body(emit: Any, x: Any) -> Any:
        parts = [emit(op.matmul(x, weights(8, n, seed=n)), f"p{n}") for n in (4, 6, 5)]
        return [emit(op.add(part, weights(n, seed=n))) for part, n in zip(parts, (4, 6, 5), strict=True)]

    module = build({"x": (2, 3, 8)}, body)
    after = CombineParallelMatmul()(module).module
    assert operators(after).count("matmul") == 1 and operators(after).count("strided_slice") == 3
    assert hints(after)[0] == "p4+p6+p5"
    assert_same_numbers(module, after)


def test_few_or_wide_products_stay() -> None:
    def body(emit: Any, x: Any) -> Any:
        return [emit(op.matmul(x, weights(8, n))) for n in (4, 6)]

    module = build({"x": (2, 8)}, body)
    assert not CombineParallelMatmul(min_products=3)(module).modified
    assert not CombineParallelMatmul(max_columns=5)(module).modified
