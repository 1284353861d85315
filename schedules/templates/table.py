"""The table of templates: whatever computes with a choice is a row here, the most special first."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from . import (
    attention,
    attention_schedule,
    cached_attention,
    cached_attention_kernel,
    contraction,
    contraction_choice,
    contraction_schedule,
    dot_product,
    group_norm,
    group_norm_schedule,
    interpolation,
    plain,
    recurrent,
    recurrent_kernel,
    rows,
    rows_choice,
    rows_schedule,
    sparse,
    sparse_kernel,
    sparse_schedule,
    sparsity,
    taps,
    transposition,
    weight_product,
    window_choice,
    window_schedule,
    winograd,
    winograd_schedule,
)
from .microkernels import microkernel
from .template import Template

# Units save more than any other way to compute a contraction but Winograd's with integers. Winograd's transformed
# weights are larger: it has to take this much less time than the direct algorithm.
_ALWAYS, _WINOGRAD_GAIN = math.inf, 0.9
# Sparse kernels are chosen where that is sure to be faster.
_SPARSE_GAIN = 0.85

DOT_PRODUCT = Template(
    dot_product.TEMPLATE,
    dot_product.takes,
    dot_product.space,
    dot_product.default,
    dot_product.estimate,
    microkernel,
    contraction_schedule.schedule_kernel,
    gain=_ALWAYS,
)
SPARSE = Template(
    sparse.TEMPLATE,
    sparse.takes,
    sparse.space,
    sparse.default,
    sparse.estimate,
    sparse_kernel.NonzeroBlocks,
    sparse_schedule.schedule_kernel,
    gain=_SPARSE_GAIN,
)
WINOGRAD = Template(
    winograd.TEMPLATE,
    winograd.takes,
    winograd.space,
    winograd.default,
    winograd.estimate,
    winograd.compute,
    winograd_schedule.schedule_kernel,
    gain=_WINOGRAD_GAIN,
)
INTEGER_WINOGRAD = replace(WINOGRAD, name=winograd.OF_INTEGERS, takes=winograd.takes_integers)
CONTRACTION = Template(
    contraction.TEMPLATE,
    contraction.takes,
    contraction_choice.space,
    contraction_choice.default,
    contraction_choice.estimate,
    microkernel,
    contraction_schedule.schedule_kernel,
)
ATTENTION = Template(
    attention.ATTENTION,
    attention.takes,
    attention.space,
    attention.default,
    attention.estimate,
    attention.compute,
    attention_schedule.schedule_kernel,
)
CACHED_ATTENTION = Template(
    cached_attention.TEMPLATE,
    cached_attention.takes,
    cached_attention.space,
    cached_attention.default,
    cached_attention.estimate,
    cached_attention_kernel.compute,
    cached_attention_kernel.schedule_kernel,
)
WINDOW = Template(
    window_choice.TEMPLATE,
    window_choice.takes,
    window_choice.space,
    window_choice.default,
    window_choice.estimate,
    None,
    window_schedule.schedule_kernel,
)
ROWS = Template(
    rows_choice.ROWS,
    rows_choice.takes,
    rows_choice.space,
    rows_choice.default,
    rows_choice.estimate,
    rows.compute,
    rows_schedule.schedule_kernel,
)
INTERPOLATION = Template(
    interpolation.TEMPLATE,
    interpolation.takes,
    interpolation.space,
    interpolation.default,
    interpolation.estimate,
    None,
    interpolation.schedule_kernel,
)
GROUP_NORM = Template(
    group_norm.TEMPLATE,
    group_norm.takes,
    group_norm.space,
    group_norm.default,
    group_norm.estimate,
    group_norm.compute,
    group_norm_schedule.schedule_kernel,
)
TRANSPOSITION = Template(
    transposition.TEMPLATE,
    transposition.takes,
    transposition.space,
    transposition.default,
    transposition.estimate,
    None,
    transposition.schedule_kernel,
)
RECURRENT = Template(
    recurrent.TEMPLATE,
    recurrent.takes,
    recurrent.space,
    recurrent.default,
    recurrent.estimate,
    recurrent_kernel.compute,
    recurrent_kernel.schedule_kernel,
)
WEIGHT_PRODUCT = Template(
    weight_product.TEMPLATE,
    weight_product.takes,
    weight_product.space,
    weight_product.default,
    weight_product.estimate,
    weight_product.compute,
    contraction_schedule.schedule_kernel,
)
PLAIN = Template(plain.TEMPLATE, plain.takes, plain.space, plain.default, plain.estimate, None, plain.schedule_kernel)

TEMPLATES: tuple[Template[Any, Any], ...] = (
    INTEGER_WINOGRAD,
    DOT_PRODUCT,
    SPARSE,
    WINOGRAD,
    CONTRACTION,
    WEIGHT_PRODUCT,
    ATTENTION,
    CACHED_ATTENTION,
    WINDOW,
    ROWS,
    GROUP_NORM,
    INTERPOLATION,
    RECURRENT,
    TRANSPOSITION,
    PLAIN,
)

# The classes of workloads, and of what is in them, by their names: what `keys.parse_key` needs.
WORKLOADS: dict[str, type] = {
    each.__name__: each
    for each in (
        contraction.Workload,
        sparsity.Sparsity,
        taps.Filter,
        weight_product.WeightProduct,
        attention.Heads,
        cached_attention.CachedHeads,
        window_choice.Windows,
        rows_choice.Rows,
        group_norm.Groups,
        interpolation.Interpolation,
        transposition.Squares,
        plain.Elements,
    )
}
