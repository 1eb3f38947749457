"""Which floating-point numbers a run computes with: what its processor is fast with."""

from __future__ import annotations

import torch

FLOAT32, BFLOAT16 = "32-true", "bf16-mixed"
BF16 = ("bf16-mixed", "bf16-true", "bf16", "transformer-engine")
CHOICES = (FLOAT32, BFLOAT16, "16-mixed")


def choose_precision(wanted: str | int | None, accelerator: str) -> tuple[str | int, str]:
    """The trainer's precision, and one sentence on why.

    bfloat16 is chosen where the processor computes with it: most NVIDIA GPUs since Ampere, CPUs with AVX512-BF16 or
    AMX. Elsewhere it is emulated: a 3D convolution, forward and backward, takes many times as long as in float32 (with
    AVX2 7 times were measured with one thread, and 94 reported).

    Args:
        wanted: What the user asked for, which stands; None for what is fast.
        accelerator: Lightning's name: auto, cpu, gpu, cuda or mps.
    """
    if wanted is not None and wanted not in BF16:
        return wanted, f"precision {wanted}, as asked for"
    place, fast = _place(accelerator)
    if wanted is None:
        wanted = BFLOAT16 if fast else FLOAT32
    elif not fast:
        return wanted, f"warning: precision {wanted} is many times slower than {FLOAT32} on {place}, which emulates it"
    return wanted, f"precision {wanted}: {place} {'computes with' if fast else 'would emulate'} bfloat16"


def _place(accelerator: str) -> tuple[str, bool]:
    """What computes, and whether it has bfloat16 arithmetic."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name(), torch.cuda.is_bf16_supported(including_emulation=False)
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "this Mac's GPU", False
    return "this CPU", cpu_has_bfloat16()


def cpu_has_bfloat16() -> bool:
    """Whether the CPU has AVX512-BF16 or AMX, and PyTorch uses them.

    False on processors that PyTorch tells nothing about, such as ARM.
    """
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False  # an older processor, or ATEN_CPU_CAPABILITY says so
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
