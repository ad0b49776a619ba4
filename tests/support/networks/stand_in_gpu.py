"""A GPU that is not there: tensors of the device "cuda", computed on the processor.

Inside `stand_in_gpu()` torch takes the device "cuda", also as "cuda:1". A tensor of it is a wrapper
around one of the CPU: kernels get what is inside, so that values are those of the CPU, and the
rules are those of a GPU. An operation of tensors of both devices is torch's `RuntimeError`, a
conversion to NumPy its `TypeError`, a generator of the other device its `RuntimeError`. Whatever
makes the processor wait for the device (a value that is read, a copy to the CPU or, unless
`non_blocking`, from there, a shape that depends on values) is counted with the function of this
project that asked. A CUDA graph is a list of operations, computed again in the same tensors; what
waits may not be recorded. torch's own fake tensors cannot do it: a build of torch for the CPU alone
refuses to move one to "cuda", and they hold no values to compare.

Nor may memory be pinned meanwhile, in the mode "global" by any thread, else by the recording one.

What it cannot show: kernels, their rounding, speed, memory, autocast, streams, several GPUs.
"""

import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda", 0)
# What torch's C++ takes the tensors for: a device of every build, run by the calling thread. Its
# index tells it from the device "meta" of networks that are built without values.
INSIDE = torch.device("meta", 1)
PLACES = tuple(Path(__file__).parents[3] / name for name in ("baselines", "benchmark"))
MIXED = (
    "Expected all tensors to be on the same device, but found at least two devices, cuda and cpu"
)
aten = torch.ops.aten
Generator, EMPTY = torch.Generator, torch.empty
# An index or a mask may be on the CPU, and is copied; a copy is between devices.
BY_INDEX = {
    aten.index, aten._unsafe_index, aten.index_put, aten.index_put_, aten._index_put_impl_,
}  # fmt: skip
TAKE_BOTH = {aten.copy_, aten._to_copy, *BY_INDEX}
SHAPED_BY_VALUES = {
    aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim, aten.unique_consecutive,
    aten.repeat_interleave,
}  # fmt: skip


class OnGpu(Tensor):
    """Tensor of the device "cuda"; `inner` has its values."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnGpu":
        wrapper: OnGpu = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, layout=inner.layout, device=INSIDE,
        )  # fmt: skip
        wrapper.inner = inner
        return wrapper

    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Stand in for the mode where torch has switched it off."""
        return _dispatched(func, args, kwargs or {}, Counter())

    def __repr__(self, **_: Any) -> str:
        return f"OnGpu({self.inner!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnGpu":
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied


@contextmanager
def stand_in_gpu() -> Iterator[Counter[str]]:
    """Have torch take the device "cuda"; yields how often which function waited for it.

    Functions are "baselines/FILE.py: NAME". Threads that are started inside see no such device.
    """
    waits: Counter[str] = Counter()
    with (
        patch.object(torch, "Generator", _AnyGenerator),
        # A view of a wrapper made outside of it would have to be an inference tensor inside.
        patch.object(
            torch, "inference_mode", lambda mode=True: torch.no_grad() if mode else nullcontext()
        ),
        patch.object(torch.cuda, "is_available", lambda: True),
        # A build for CUDA asks its driver whether it records a graph.
        patch.object(torch.accelerator, "current_accelerator", lambda check_available=False: None),
        patch.object(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True),
        patch.object(torch.cuda, "synchronize", lambda device=None: None),
        patch.object(torch.cuda, "mem_get_info", lambda device=None: (1 << 34, 1 << 34)),
        patch.object(torch.cuda, "CUDAGraph", _Graph),
        patch.object(torch.cuda, "graph", _Graph.recording),
        patch.object(torch.cuda, "Stream", _Stream),
        patch.object(torch.cuda, "current_stream", _Stream),
        patch.object(torch.cuda, "stream", lambda stream: nullcontext()),
        # Threads that read photographs ahead pin memory, and torch's modes are those of one thread.
        patch.object(torch, "empty", _empty),
        _Devices(),
        _Values(waits),
    ):
        try:
            yield waits
        finally:
            _AnyGenerator.of_gpu.clear()


class _Graph:
    """Operations in the order in which they were recorded, with their tensors."""

    open: ClassVar["_Graph | None"] = None
    threads: ClassVar[set[int] | None] = None  # that may not pin memory while it is open; None: all

    def __init__(self) -> None:
        self._operations: list[tuple[Any, Any, Any, Any]] = []
        self._changed: list[tuple[Tensor, Tensor]] = []  # while recorded, with the values before

    @classmethod
    @contextmanager
    def recording(cls, graph: "_Graph", capture_error_mode: str = "global") -> Iterator[None]:
        """Note what is computed, and undo it: a GPU only notes it."""
        cls.threads = None if capture_error_mode == "global" else {threading.get_ident()}
        cls.open, random = graph, torch.get_rng_state()
        try:
            yield
        finally:
            cls.open = None
            for tensor, earlier_value in reversed(graph._changed):
                tensor.copy_(earlier_value)
            torch.set_rng_state(random)

    def note(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func._schema.is_mutable:
            leaves = _leaves((args, kwargs))
            self._changed += [(leaf, leaf.clone()) for leaf in leaves if isinstance(leaf, Tensor)]
        result = func(*args, **kwargs)
        self._operations.append((func, args, kwargs, result))
        return result

    def replay(self) -> None:
        """Compute all again, with whatever is in the tensors now."""
        for func, args, kwargs, result in self._operations:
            new_result = func(*args, **kwargs)
            for old, new in zip(_leaves(result), _leaves(new_result), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def _empty(*sizes: Any, pin_memory: bool = False, **options: Any) -> Tensor:
    """Make a tensor as `torch.empty` does; a build for the CPU alone cannot pin memory."""
    is_capturing = _Graph.threads is None or threading.get_ident() in _Graph.threads
    if pin_memory and _Graph.open is not None and is_capturing:
        raise RuntimeError("operation not permitted when stream is capturing (cudaHostAlloc)")
    tensor: Tensor = EMPTY(*sizes, **options)
    return tensor


class _Stream:
    """Work in the order in which it is asked for."""

    def __init__(self, device: Any = None) -> None:
        pass

    def wait_stream(self, stream: "_Stream") -> None:
        pass


class _AnyGenerator(Generator):
    """Generator of either device, which draws the numbers of the CPU's."""

    of_gpu: ClassVar[dict[int, "_AnyGenerator"]] = {}  # by the address of what is in C++

    def __new__(cls, device: Any = "cpu") -> "_AnyGenerator":
        generator: _AnyGenerator = Generator.__new__(cls, "cpu")
        if _is_gpu(device):
            cls.of_gpu[generator._cdata] = generator  # type: ignore[attr-defined]
        return generator

    def __init__(self, device: Any = "cpu") -> None:
        super().__init__()


class _Devices(TorchFunctionMode):
    """Hands torch's C++ the device that it takes for `CUDA`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.device:
            return func(*args, **kwargs)
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            return func(args[0], _index(args[1]), *args[2:])
        if func in INSTEAD and isinstance(args[0], OnGpu):
            return INSTEAD[func](*args, **kwargs)
        if func in MAKERS and _is_gpu(kwargs.get("device")):
            wrapper = args[0] if isinstance(args[0], OnGpu) else None
            tensor = func(*args, **{**kwargs, "device": "cpu"}) if wrapper is None else wrapper
            return tensor.to(INSIDE, kwargs.get("dtype"))
        args, kwargs = _each(_inside, (args, kwargs))
        return func(*args, **kwargs)


def _refused(tensor: Tensor, *_: Any, **__: Any) -> None:
    raise TypeError(
        "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to "
        "host memory first."
    )


def _new_tensor(prototype: Tensor, values: Any, dtype: Any = None, **options: Any) -> Tensor:
    return torch.tensor(values, dtype=dtype or prototype.dtype, **options).to(INSIDE)


def _index(index: Any) -> Any:
    """Return an index whose lists are tensors: C++ would make them on the device inside."""
    if isinstance(index, tuple):
        return tuple(_index(part) for part in index)
    return torch.tensor(index) if isinstance(index, list) else index


# Methods of a tensor on the GPU that C++ cannot do with what it takes it for.
INSTEAD = {
    Tensor.numpy: _refused, Tensor.__array__: _refused,
    Tensor.cuda: lambda tensor, *_, **__: tensor, Tensor.new_tensor: _new_tensor,
    Tensor.tolist: lambda tensor: tensor.to("cpu").tolist(),
}  # fmt: skip
# They would make nothing of the values on the device inside.
MAKERS = (torch.tensor, torch.as_tensor, torch.asarray)


class _Values(TorchDispatchMode):
    """Computes what is inside of tensors on the CPU, and keeps to the rules of a GPU."""

    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()
        self._waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {}, self._waits)


def _dispatched(func: Any, args: Any, kwargs: dict[str, Any], waits: Counter[str]) -> Any:
    flat = _leaves((args, kwargs))
    tensors = [leaf for leaf in flat if isinstance(leaf, Tensor)]
    on_gpu = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    target_device = kwargs.get("device")
    if not on_gpu and target_device != INSIDE:
        return func(*args, **kwargs)
    kind = func.overloadpacket
    on_cpu = [tensor for tensor in tensors if not isinstance(tensor, OnGpu) and tensor.dim()]
    if on_gpu and on_cpu and kind not in TAKE_BOTH:
        raise RuntimeError(f"{MIXED}! ({func})")
    to_cpu = target_device is not None and target_device != INSIDE
    to_cpu |= kind is aten.copy_ and not isinstance(args[0], OnGpu)
    if any(isinstance(one, Generator) and one._cdata not in _AnyGenerator.of_gpu for one in flat):
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' ({func})")
    shaped = kind in SHAPED_BY_VALUES or (kind in BY_INDEX and _counts_a_mask(args))
    if to_cpu or shaped or (_from_cpu(kind, args) and not _later(kind, args, kwargs)):
        waits[_caller()] += 1
    wrappers = {id(leaf.inner): leaf for leaf in on_gpu}
    inner_args, inner_kwargs = _each(_outside, (args, kwargs))
    if _Graph.open is None:
        result = func(*inner_args, **inner_kwargs)
    elif to_cpu or shaped or on_cpu or kind is aten._local_scalar_dense or _from_cpu(kind, args):
        raise RuntimeError(f"operation not permitted when stream is capturing ({func})")
    else:
        result = _Graph.open.note(func, inner_args, inner_kwargs)
    if kind is aten.copy_:
        return args[0]
    if to_cpu:
        return result
    if not any(isinstance(leaf, Tensor) for leaf in _leaves(result)) and result is not None:
        waits[_caller()] += 1  # a number or a truth value
    return _each(lambda one: wrappers[id(one)] if id(one) in wrappers else _wrapped(one), result)


def _wrapped(value: Any) -> Any:
    return OnGpu(value) if isinstance(value, Tensor) else value


def _each(change: Callable[[Any], Any], tree: Any) -> Any:
    """Return `tree` with each leaf changed: torch's own pytree takes four times as long."""
    kind = type(tree)
    if kind is dict:
        return {name: _each(change, branch) for name, branch in tree.items()}
    if isinstance(tree, tuple | list) and kind is not torch.Size:
        return kind([_each(change, branch) for branch in tree])
    return change(tree)


def _leaves(tree: Any) -> list[Any]:
    leaves: list[Any] = []
    _each(leaves.append, tree)
    return leaves


def _counts_a_mask(args: Any) -> bool:
    """Return whether an index has a mask whose positions are counted.

    One number (for torch, on the CPU; here that cannot be told) is filled in where the mask says.
    """
    if len(args) > 2 and args[2].dim() == 0:
        return False
    return any(array is not None and array.dtype in (torch.bool, torch.uint8) for array in args[1])


def _from_cpu(kind: Any, args: Any) -> bool:
    position = {aten.copy_: 1, aten._to_copy: 0}.get(kind)
    return position is not None and not isinstance(args[position], OnGpu)


def _later(kind: Any, args: Any, kwargs: Any) -> bool:
    """Return whether a copy is one that the processor does not wait for."""
    return bool(kwargs.get("non_blocking", kind is aten.copy_ and args[2:] == (True,)))


def _is_gpu(device: Any) -> bool:
    return device == INSIDE or (
        isinstance(device, str | torch.device) and torch.device(device).type == "cuda"
    )


def _inside(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return INSIDE
    return INSIDE if isinstance(value, str) and re.fullmatch("cuda(:[01])?", value) else value


def _outside(value: Any) -> Any:
    if isinstance(value, OnGpu):
        return value.inner
    return torch.device("cpu") if isinstance(value, torch.device) and value == INSIDE else value


def _caller() -> str:
    """Return the innermost function of this project that is being run, by file and name."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        for place in PLACES:
            if path.is_relative_to(place):
                return f"{path.relative_to(place.parent).as_posix()}: {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"
