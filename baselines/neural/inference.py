"""Settings of torch under which encoders and decoders run."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from baselines.neural.freed_memory import keep_freed_memory


@contextmanager
def inference() -> Iterator[None]:
    """Switch gradients off; on a GPU, use full float32 and the same kernels in every call.

    The process keeps freed memory from now on (`keep_freed_memory`).
    """
    keep_freed_memory()
    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ),
    ):
        yield
