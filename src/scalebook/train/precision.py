"""Number formats of the computation, and torch's changing names for them."""

from __future__ import annotations

from typing import Any

import torch

from scalebook.contract import UsageError

_AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


def set_up(precision: str, device: torch.device) -> None:
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
