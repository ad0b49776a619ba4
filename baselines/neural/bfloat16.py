"""Whether this process computes in bfloat16 faster than in float32.

Where the instructions are missing, it takes two to seven times as long (docs/log.md). What decides
on a CPU is the convolutions, which oneDNN computes: ATEN_CPU_CAPABILITY, which holds for the
kernels of torch itself, leaves them as fast as they are, ONEDNN_MAX_CPU_ISA does not.
"""

import os
from collections.abc import Mapping
from functools import cache

import torch

# Of processors with AMX or AVX-512, as torch names them; ARM's were not measured.
INSTRUCTIONS = ("amx_bf16", "avx512_bf16")
# Variables that bound the instructions that oneDNN uses, and the bounds without bfloat16.
BOUNDS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
WITHOUT = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


def computes_bfloat16(
    device: str, capabilities: Mapping[str, object], environment: Mapping[str, str]
) -> bool:
    """Return whether "cpu" or "cuda" has instructions for bfloat16 that torch uses.

    capabilities: of the processor, as `torch.cpu.get_capabilities` returns them.

    >>> computes_bfloat16("cpu", {"avx512_bf16": True}, {})
    True
    >>> computes_bfloat16("cpu", {"avx512_bf16": True}, {"ONEDNN_MAX_CPU_ISA": "AVX2"})
    False
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if any(environment.get(name, "").upper() in WITHOUT for name in BOUNDS):
        return False
    return any(capabilities.get(name) for name in INSTRUCTIONS)


@cache
def has_bfloat16(device: str) -> bool:
    """Return whether this process computes in bfloat16 on "cpu" or "cuda" where it is asked to."""
    return computes_bfloat16(device, torch.cpu.get_capabilities(), os.environ)
