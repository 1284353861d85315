"""Random weights under which activations keep an ordinary size at every depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn


def randomise(model: nn.Module, batch: Tensor | None, gain: float, seed: int) -> None:
    """Give `model` random parameters under which activations keep an ordinary size at every depth, in place.

    Convolutions and dense layers are drawn after He et al. (2015); biases, scales and shifts are non-trivial
    everywhere, so that an error in folding them shows. Then each batch norm takes mean and variance of what reaches it
    when `batch` runs, disturbed by a tenth, so that they never cancel exactly. Means over whole images differ little
    between images, so that a disturbance of what comes before moves them far: norms of such take theirs after it.

    Args:
        model: left in evaluation mode.
        batch: several examples of its only input, for the batch norms; None for a model without them.
        gain: factor on He's standard deviation; 0 leaves matrices and embeddings as the model's author draws them.
        seed: of every random number drawn here.
    """
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    signals = {id(module.weight) for module in model.modules() if isinstance(module, nn.Conv1d)}
    model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("layer_scale_parameter"):  # ConvNext starts at 1e-6, which would hide its blocks
                parameter.uniform_(0.1, 0.5, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1, generator=generator)
            elif parameter.ndim == 1:
                parameter.uniform_(0.7, 1.3, generator=generator)
            elif gain and (parameter.ndim in (2, 4) or id(parameter) in signals):  # no embeddings of positions
                fan_in = parameter[0].numel()
                parameter.normal_(0, gain * (2 / fan_in) ** 0.5, generator=generator)
        if batch is not None:
            pooled: set[nn.Module] = set()
            set_norms(model, norms, batch, generator, pooled)
            set_norms(model, [norm for norm in norms if norm in pooled], batch, generator, pooled)


def set_norms(
    model: nn.Module, norms: Sequence[nn.Module], batch: Tensor, generator: Generator, pooled: set[nn.Module]
) -> None:
    """Give batch norms the disturbed statistics of what reaches them when `batch` runs.

    Args:
        pooled: norms that meet a single value a channel and example are put into it.
    """
    import torch
    from torch import nn

    def note(norm: nn.Module, arguments: tuple[Tensor]) -> None:
        if arguments[0].numel() == len(batch) * norm.num_features:
            pooled.add(norm)

    if not norms:
        return
    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # running statistics become those of this one batch
        norm.train()
    model(batch)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        norm.eval()
        if isinstance(norm, nn.BatchNorm1d) and norm not in pooled:
            # Tokens that attention has averaged are alike: a division by their spread would make much of rounding.
            norm.running_var += norm.running_mean.square()
        noise = torch.randn(norm.num_features, generator=generator)
        norm.running_mean += 0.1 * noise * norm.running_var.sqrt()
        norm.running_var *= torch.empty(norm.num_features).uniform_(0.8, 1.25, generator=generator)
