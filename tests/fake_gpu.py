"""A GPU without a GPU: tensors that say they lie on cuda:0, or on mps:0, and compute on the CPU.

To Python, which chooses devices and branches, they are tensors of that device; to autograd, which is C++, they are CPU
tensors. So branches, values and gradients are those of a GPU, and every operation is seen: mixed devices are refused as
a GPU refuses them, and what waits for the device, gives double precision or holds memory is counted. mps, as Apple's
GPUs are called, refuses double precision.

Not seen: times, the rounding of the device's kernels, its own memory (such as that of its FFT), several GPUs,
torch.Generator("cuda"), and tensors that C++ makes by itself.

    with fake_gpu() as gpu:
        found = passive_loss(estimate.to("cuda"), intensity.to("cuda"))
    assert not gpu.waits
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

import phaseret

CPU = torch.device("cpu")
DOUBLE = (torch.float64, torch.complex128)
MEMORY = 2**34  # bytes, all of them free
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2"}
INDEX = {"index", "index_put_", "_index_put_impl_", "index_put"}
COPIES = {"copy_", "_to_copy"}
NO_KERNEL = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_local_scalar_dense"}
SOURCE = str(Path(phaseret.__file__).parent)


class GPU(torch.Tensor):
    """A tensor on the GPU; `inner` is the tensor on the CPU that holds its values."""

    inner: torch.Tensor
    device = property(lambda self: FakeGPU.current.device)  # type: ignore[assignment]
    is_cuda = property(lambda self: self.device.type == "cuda")  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> GPU:
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner
        FakeGPU.current.hold(self)

    def __repr__(self, **_: Any) -> str:
        with _disable_current_modes():
            return repr(self.inner)

    def numpy(self, **_: Any) -> Any:
        """Refused, as by GPUs."""
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Operations outside of `fake_gpu`, as in a backward pass."""
        return FakeGPU.current.__torch_dispatch__(func, types, args, kwargs)


class FakeGPU(TorchDispatchMode):
    """Runs the operations and counts.

    Attributes:
        device: Where the tensors say they lie.
        waits: Operations for which the CPU waits, by the line of the library that asked for them.
        doubles: Operations on the device that give float64 or complex128, by the same.
        kernels: Number of operations that are not views: each is one kernel or more.
        held: Bytes of the tensors that live now.
        peak: The most bytes that lived at a time.
    """

    current: FakeGPU

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.waits: Counter[str] = Counter()
        self.doubles: Counter[str] = Counter()
        self.kernels, self.held, self.peak = 0, 0, 0
        self._owners: Counter[int] = Counter()  # how many tensors share a storage
        FakeGPU.current = self

    def hold(self, x: GPU) -> None:
        """Count the memory of a new tensor until it ends."""
        storage = x.inner.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        self.held += 0 if self._owners[key] else size
        self.peak = max(self.peak, self.held)
        self._owners[key] += 1
        weakref.finalize(x, self._release, key, size).atexit = False

    def _release(self, key: int, size: int) -> None:
        self._owners[key] -= 1
        self.held -= 0 if self._owners[key] else size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation."""
        kwargs, name = dict(kwargs or {}), func.overloadpacket.__name__
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        inputs = [x for x in tensors if isinstance(x, GPU)]
        device = None if kwargs.get("device") is None else torch.device(kwargs["device"])
        here = device is not None and device.type == self.device.type
        arrives, leaves = _crossing(name, args, inputs, device)
        self._refuse_mixed(name, tensors, inputs)
        if arrives or leaves or (inputs and (name in WAITS or _masks(name, args))):
            self._note(self.waits, name)
        if here:
            kwargs["device"] = CPU
        kwargs.pop("pin_memory", None)
        plain, options = tree_map(lambda x: x.inner if isinstance(x, GPU) else x, (args, kwargs))
        out = func(*plain, **options)
        if name == "_conj":  # a lazy one would not be seen inside of a dispatch
            out = out.resolve_conj()
        if leaves:
            return args[0] if name == "copy_" else out
        if not inputs and not here:
            return out
        self.kernels += not func.is_view and name not in NO_KERNEL
        if torch.Tag.inplace_view in func.tags:
            with no_dispatch():
                func(*args, **kwargs)
            return args[0]
        if any(x.dtype in DOUBLE for x in tree_leaves(out) if isinstance(x, torch.Tensor)):
            self._note(self.doubles, name)
            if self.device.type == "mps":
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it")
        known = {id(x.inner): x for x in inputs}

        def wrapped(x: Any) -> Any:
            """What was written in place stays the tensor it is."""
            return x if not isinstance(x, torch.Tensor) else known[id(x)] if id(x) in known else GPU(x)

        return tree_map(wrapped, out)

    @staticmethod
    def _refuse_mixed(name: str, tensors: list[torch.Tensor], inputs: list[GPU]) -> None:
        """Numbers, moves and indices on the CPU are allowed."""
        if inputs and name not in COPIES | INDEX and any(x.ndim for x in tensors if not isinstance(x, GPU)):
            raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got a GPU and cpu")

    @staticmethod
    def _note(counter: Counter[str], name: str) -> None:
        """Count an operation at the line of the library that asked for it; what tests and torch ask is left out."""
        frame = sys._getframe(2)
        while frame and not frame.f_code.co_filename.startswith(SOURCE):
            frame = frame.f_back  # type: ignore[assignment]
        if frame:
            place = Path(frame.f_code.co_filename).relative_to(SOURCE).as_posix()
            counter[f"{place}:{frame.f_lineno} {name}"] += 1


def _crossing(name: str, args: Any, inputs: list[GPU], device: torch.device | None) -> tuple[bool, bool]:
    """Whether an operation moves values to the GPU, and whether it moves them from it."""
    if name == "_to_copy" and device is not None:
        return device.type != "cpu" and not inputs, device.type == "cpu" and bool(inputs)
    if name == "copy_" and len(inputs) == 1 and isinstance(args[1], torch.Tensor):
        return isinstance(args[0], GPU), isinstance(args[1], GPU)
    return False, False


def _masks(name: str, args: Any) -> bool:
    """Whether an index is a mask, whose number of pixels the CPU must know."""
    return name in INDEX and any(x is not None and x.dtype == torch.bool for x in args[1])


class _Python(TorchFunctionMode):
    """Moves that C++ would not see, since to it all tensors lie on the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map(
            lambda x: torch.device(x) if isinstance(x, str) and x[:4] in ("cuda", "mps") else x,
            (tuple(args), dict(kwargs or {})),
        )
        if func is torch.Tensor.cpu:
            return _to(args[0], CPU)
        if func is torch.Tensor.cuda:
            return _to(args[0], torch.device("cuda:0"))
        if func is torch.Tensor.to:
            return _to(*args, **kwargs)
        if func is torch.Tensor.data_ptr and isinstance(args[0], GPU):
            return args[0].inner.data_ptr()
        if func in (torch.Tensor.quantile, torch.unravel_index) and isinstance(args[0], GPU):  # torch makes tensors
            with _disable_current_modes():
                made = func(args[0].inner, *args[1:], **kwargs)
            return tree_map(GPU, made)
        if func is torch.Tensor.tolist and isinstance(args[0], GPU):
            return _to(args[0], CPU).tolist()
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = torch.device(kwargs.pop("device"))
            with _disable_current_modes():
                made = func(*args, **kwargs)
            return made if device.type == "cpu" else torch.ops.aten._to_copy(made, device=device)
        device, source = kwargs.get("device"), kwargs.get("generator")
        if device is not None and source is not None and torch.device(device).type != source.device.type:
            raise RuntimeError(f"Expected a '{device}' device type for generator but found '{source.device}'")
        return func(*args, **kwargs)


def _to(x: torch.Tensor, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, **_: Any) -> Any:
    for value in args:
        if isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, torch.Tensor):
            device, dtype = value.device, value.dtype
        elif isinstance(value, (str, torch.device)):
            device = torch.device(value)
    device, dtype = torch.device(device or x.device), dtype or x.dtype
    stays = device.type == x.device.type
    if stays and dtype == x.dtype and not copy:
        return x
    return torch.ops.aten._to_copy(x, dtype=dtype, **({} if stays else {"device": device}))


@contextlib.contextmanager
def fake_gpu(kind: str = "cuda") -> Iterator[FakeGPU]:
    """Pretend that there is one GPU, "cuda" or "mps"; ``x.to(kind)`` and ``module.to(kind)`` move there."""
    pretended = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "is_current_stream_capturing": lambda: False,
        "mem_get_info": lambda device=None: (MEMORY, MEMORY),
        "memory_reserved": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0,
    }
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        for name, value in pretended.items():
            if kind == "cuda":
                stack.enter_context(mock.patch.object(torch.cuda, name, value))
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrite)
        stack.enter_context(_Python())
        yield stack.enter_context(FakeGPU(torch.device(f"{kind}:0")))
