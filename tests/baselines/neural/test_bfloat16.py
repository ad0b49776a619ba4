"""Processors with instructions for bfloat16, and the variables that keep oneDNN from using them."""

import pytest

from baselines.neural.inference import computes_bfloat16

BFLOAT16 = {"avx512_bf16": True, "amx_bf16": False}


@pytest.mark.parametrize(
    ("capabilities", "environment", "expected"),
    [
        (BFLOAT16, {}, True),
        ({"amx_bf16": True}, {}, True),
        ({"avx512_f": True, "avx512_bf16": False}, {}, False),
        ({"bf16": True, "sve": True}, {}, False),
        (BFLOAT16, {"ATEN_CPU_CAPABILITY": "avx2"}, True),
        (BFLOAT16, {"ONEDNN_MAX_CPU_ISA": "avx2"}, False),
        (BFLOAT16, {"DNNL_MAX_CPU_ISA": "AVX512_CORE"}, False),
        (BFLOAT16, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, True),
    ],
    ids=["avx512", "amx", "neither", "arm", "aten", "onednn", "dnnl", "onednn with it"],
)
def test_bfloat16_needs_instructions_that_convolutions_may_use(capabilities, environment, expected):
    assert computes_bfloat16("cpu", capabilities, environment) is expected
