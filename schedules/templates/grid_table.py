"""The table of templates of machines that run grids, the most special first; `table.py` is that of all others.

Where the work of a template is the same on both, so is its compute; each of its blocks is a grid then.
"""

from __future__ import annotations

from typing import Any

from ...targets.target import Target
from . import (
    flash_attention,
    flash_attention_kernel,
    grid,
    grid_results,
    grid_rows,
    group_norm,
    interpolation,
    rows,
    rows_choice,
    simt,
    simt_schedule,
    table,
    tensor_cores,
    tensor_cores_schedule,
    warp_groups,
    warp_groups_schedule,
    window_choice,
)
from .microkernels import microkernel
from .template import Template

WARP_GROUPS = Template(
    warp_groups.TEMPLATE,
    warp_groups.takes,
    warp_groups.space,
    warp_groups.default,
    warp_groups.estimate,
    microkernel,
    warp_groups_schedule.schedule_kernel,
)
TENSOR_CORES = Template(
    tensor_cores.TEMPLATE,
    tensor_cores.takes,
    tensor_cores.space,
    tensor_cores.default,
    tensor_cores.estimate,
    microkernel,
    tensor_cores_schedule.schedule_kernel,
)
SIMT = Template(
    simt.TEMPLATE, simt.takes, simt.space, simt.default, simt.estimate, microkernel, simt_schedule.schedule_kernel
)
FLASH_ATTENTION = Template(
    flash_attention.TEMPLATE,
    flash_attention.takes,
    flash_attention.space,
    flash_attention.default,
    flash_attention.estimate,
    flash_attention_kernel.compute,
    flash_attention_kernel.schedule_kernel,
)
GRID_ROWS = Template(
    rows_choice.ROWS,
    grid_rows.takes,
    grid_rows.space,
    grid_rows.default,
    grid_rows.estimate,
    rows.compute,
    grid_rows.schedule_kernel,
)
GRID_WINDOW = Template(
    window_choice.TEMPLATE,
    window_choice.takes,
    grid_results.windows_space,
    grid_results.windows_default,
    grid_results.windows_estimate,
    None,
    grid.schedule_kernel,
)
GRID_GROUP_NORM = Template(
    group_norm.TEMPLATE,
    group_norm.takes,
    grid_results.group_norm_space,
    grid_results.group_norm_default,
    grid_results.group_norm_estimate,
    grid_results.group_norm_compute,
    grid.schedule_kernel,
)
GRID_INTERPOLATION = Template(
    interpolation.TEMPLATE,
    interpolation.takes,
    grid_results.interpolation_space,
    grid_results.interpolation_default,
    grid_results.interpolation_estimate,
    None,
    grid.schedule_kernel,
)
GRID = Template(grid.TEMPLATE, grid.takes, grid.space, grid.default, grid.estimate, None, grid.schedule_kernel)

GRID_TEMPLATES: tuple[Template[Any, Any], ...] = (
    WARP_GROUPS,
    TENSOR_CORES,
    SIMT,
    FLASH_ATTENTION,
    GRID_ROWS,
    GRID_WINDOW,
    GRID_GROUP_NORM,
    GRID_INTERPOLATION,
    table.RECURRENT,
    GRID,
)


def templates_for(target: Target) -> tuple[Template[Any, Any], ...]:
    """The table of a machine."""
    return table.TEMPLATES if target.grid is None else GRID_TEMPLATES
