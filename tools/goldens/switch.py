"""One mechanism of the reference switched off, and what the modules of switches share."""

from dataclasses import dataclass
from typing import Callable

import torch

import fp8
import reference


def nothing(_) -> None:
    pass


@dataclass
class Switch:
    name: str
    edit_config: Callable = nothing  # on the parsed config, before the model is built
    edit_model: Callable = nothing  # on the loaded model
    dequantize: Callable = fp8.dequantized  # on the tensors of an FP8 checkpoint


def logits_with(switch: Switch, folder, tokens: torch.Tensor) -> torch.Tensor:
    model = reference.load(folder, switch.edit_config, switch.dequantize)
    undo = switch.edit_model(model)
    try:
        return reference.forward(model, tokens)
    finally:
        if undo:
            undo()


def on_every_layer(change: Callable):
    def edit(model):
        with torch.no_grad():
            for layer in model.model.layers:
                change(layer)

    return edit


def replaced(module, name: str, function: Callable):
    """Replaces a function of the model's Python module; returns how to put it back."""
    original = getattr(module, name)
    setattr(module, name, function)
    return lambda: setattr(module, name, original)
