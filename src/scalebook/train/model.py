"""The network, any classification model of torchvision, and the number formats it computes in."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import nn

from scalebook.contract import UsageError
from scalebook.train.settings import TrainingSettings
from scalebook.train.torchvision_fix import import_torchvision


def build(settings: TrainingSettings, classes: int, image_size: int | list[int]) -> nn.Module:
    """Build a model with random weights, on the CPU.

    Parameters
    ----------
    settings : TrainingSettings
        ``model`` is torchvision's name, ``stem`` its entry: ``imagenet`` as torchvision has it,
        ``cifar`` a 3x3 convolution of stride 1 without pooling (ResNet-like models only).
    classes : int
        Number of outputs.
    image_size : int or [int, int]
        Pixels.

    Raises
    ------
    UsageError
        For an unknown model, or one that cannot take images of this size.
    """
    models = import_torchvision().models
    try:
        builder = models.get_model_builder(settings.model)
    except ValueError:
        close = difflib.get_close_matches(settings.model, models.list_models(module=models), 3)
        like = f", but {', '.join(close)}" if close else ""
        raise UsageError(
            f"model {settings.model!r}: torchvision has no such model{like}; see "
            "torchvision.models.list_models()"
        ) from None
    options: dict[str, Any] = {"weights": None, "num_classes": classes}
    size = image_size if isinstance(image_size, int) else max(image_size)
    if settings.model.startswith("vit_"):
        options["image_size"] = size
    if settings.model in ("googlenet", "inception_v3"):
        # Their auxiliary outputs would need a loss of their own.
        options.update(aux_logits=False, init_weights=True)
    try:
        model = builder(**options)
        if settings.stem == "cifar":
            _use_cifar_stem(model, settings.model)
        _try(model, classes, image_size)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"model {settings.model} with stem {settings.stem} cannot take {size}-pixel images of "
            f"{classes} classes ({reason}): choose another model, or set image_size"
        ) from None
    return model


def _use_cifar_stem(model: nn.Module, name: str) -> None:
    first = getattr(model, "conv1", None)
    if not isinstance(first, nn.Conv2d) or not hasattr(model, "maxpool"):
        raise UsageError(
            f"stem cifar is defined for ResNet-like models, and {name} is none: use stem imagenet"
        )
    model.conv1 = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()


def _try(model: nn.Module, classes: int, image_size: int | list[int]) -> None:
    """One forward pass, so that a model too deep for the images is refused before training."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    model.eval()
    with torch.no_grad():
        output = model(torch.zeros(1, 3, height, width))
    if not isinstance(output, torch.Tensor) or output.shape != (1, classes):
        raise ValueError(f"it gives no output of shape ({classes},)")


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """All batch-norm layers."""
    return [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


def set_training(model: nn.Module, freeze_batch_norm: bool) -> None:
    """Training mode; a frozen batch norm keeps its statistics and still learns its affine part."""
    model.train()
    if freeze_batch_norm:
        for layer in batch_norms(model):
            layer.eval()


def describe(settings: TrainingSettings, model: nn.Module) -> dict[str, Any]:
    """Return what the manifest says of a model."""
    trainable = sum(values.numel() for values in model.parameters() if values.requires_grad)
    return {"name": settings.model, "stem": settings.stem, "parameters": trainable}


# --------------------------------------------------------------------------- number formats

_AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


def set_up_precision(precision: str, device: torch.device) -> None:
    """Allow or forbid TF32, so that ``fp32`` means 32 bits in convolutions too.

    Raises
    ------
    UsageError
        For a precision that the device does not have.
    """
    if device.type == "cpu" and precision in ("fp16", "tf32"):
        raise UsageError(f"precision {precision} needs a GPU; allowed on a CPU are fp32 and bf16")
    if device.type == "cuda":
        if precision == "tf32" and torch.cuda.get_device_capability(device) < (8, 0):
            # It would compute in 32 bits and say nothing.
            name = torch.cuda.get_device_name(device)
            raise UsageError(f"precision tf32 needs an Ampere or newer GPU; this is {name}")
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Context in which the forward pass runs; does nothing for fp32 and tf32."""
    dtype = _AUTOCAST.get(precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def loss_scaler(precision: str) -> Any:
    """Dynamic loss scaling for fp16; passes everything through otherwise."""
    enabled = precision == "fp16"
    if hasattr(torch.amp, "GradScaler"):  # torch >= 2.3
        return torch.amp.GradScaler("cuda", enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)
