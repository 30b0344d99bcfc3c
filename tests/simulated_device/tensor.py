"""Tensors of the simulated device, and the rules of CUDA for operators on them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from tests.simulated_device.recorded import RECORDED, here

_READS = {
    "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim",
    "unique_consecutive", "bincount", "histc", "_linalg_check_errors", "linalg_inv_ex", "_linalg_solve_ex",
    "_linalg_svd", "_linalg_eigh", "linalg_lstsq",
}  # fmt: skip
_INDEXING = {"index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_"}
_TAKES_SCALARS = {
    "where", "add", "sub", "rsub", "mul", "div", "clamp", "lerp", "addcmul", "addcdiv", "copy", "fill", "masked_fill",
    "pow", "maximum", "minimum", "remainder", "index_fill",
}  # fmt: skip
_LAUNCHES_NOTHING = {
    "detach", "alias", "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_unsafe_view",
    "lift_fresh", "is_same_size", "resize_", "set_", "_reshape_alias", "_fused_sdp_choice",
}  # fmt: skip
_PINNED: OrderedDict[int, torch.Tensor] = OrderedDict()  # by address; held so that no other memory takes the place
_KEPT = 2000


class DeviceTensor(torch.Tensor):
    """A tensor that says it lies on ``cuda:index``; its numbers are in ``held``, on the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, index: int = 0) -> DeviceTensor:
        """Wrap a tensor of the host."""
        assert not isinstance(held, DeviceTensor)
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device("cuda", index),
            layout=held.layout,
        )
        made.held = held
        return made

    def __repr__(self) -> str:
        return f"DeviceTensor({tuple(self.shape)}, {self.dtype}, {self.device})"

    def __deepcopy__(self, memo: dict[int, Any]) -> DeviceTensor:
        copy = DeviceTensor(self.held.detach().clone(), self.device.index)
        copy = torch.nn.Parameter(copy, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copy
        memo[id(self)] = copy.requires_grad_(self.requires_grad)
        return memo[id(self)]

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_on_device(index, self.device.index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_on_device(index, self.device.index), value)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


class OnDevice(TorchDispatchMode):
    """While entered, operators that are asked for a tensor on CUDA make one of the simulated device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


def pinned(x: torch.Tensor) -> torch.Tensor:
    """A copy in pinned memory."""
    if isinstance(x, DeviceTensor):
        raise RuntimeError("cannot pin a tensor of the device: only dense CPU tensors can be pinned")
    return _remember_pinned(x.clone())


def is_pinned(x: torch.Tensor) -> bool:
    """Whether the tensor lies in memory that was pinned."""
    return not isinstance(x, DeviceTensor) and x.untyped_storage().data_ptr() in _PINNED


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operator as CUDA would."""
    name = func._schema.name.split("::")[-1]
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    ours = [x for x in tensors if isinstance(x, DeviceTensor)]
    hosts = [x for x in tensors if not isinstance(x, DeviceTensor)]
    wanted = None if kwargs.get("device") is None else torch.device(kwargs["device"])
    plain = dict(kwargs)
    pin = plain.pop("pin_memory", None)
    if wanted is not None and wanted.type == "cuda":
        plain["device"] = torch.device("cpu")
    if name in ("_to_copy", "copy_"):
        return _copied(func, name, args, kwargs, plain, wanted)
    to_device = wanted is not None and wanted.type == "cuda"
    if not ours and not to_device:
        out = func(*args, **plain)
        return _remember_pinned(out) if pin else out
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type == "cpu":
        raise RuntimeError(here(f"{name}: a generator of the CPU cannot draw on the device"))
    _check_devices(func, name, args, ours, hosts)
    _note_waits(func, name, args, kwargs)
    if name == "_fused_sdp_choice":
        return 0  # the plain form of attention
    unwrapped = tree_map(_held, (args, plain))
    out = func(*unwrapped[0], **unwrapped[1])
    if not _is_view(func) and name not in _LAUNCHES_NOTHING:
        RECORDED.launches[name] += 1
    if not any(isinstance(x, torch.Tensor) for x in tree_leaves(out)):
        return out
    index = ours[0].device.index if ours else _index_of(wanted)
    if wanted is not None and wanted.type == "cpu":
        return out
    wrapped = tree_map(lambda x: DeviceTensor(x, index) if isinstance(x, torch.Tensor) else x, out)
    return args[0] if name in ("set_", "resize_") else return_and_correct_aliasing(func, args, kwargs, wrapped)


def _copied(func: Any, name: str, args: Any, kwargs: Any, plain: Any, wanted: torch.device | None) -> Any:
    """``_to_copy`` and ``copy_``, which alone may cross between host and device."""
    if name == "_to_copy":
        source, target_index = args[0], None
        if wanted is None:
            target_index = source.device.index if isinstance(source, DeviceTensor) else None
        elif wanted.type == "cuda":
            target_index = _index_of(wanted)
        asynchronous = bool(plain.pop("non_blocking", False))
    else:
        source = args[1]
        target_index = args[0].device.index if isinstance(args[0], DeviceTensor) else None
        asynchronous = bool(args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
    crosses_in = target_index is not None and not isinstance(source, DeviceTensor)
    if isinstance(source, DeviceTensor) and target_index is None and not asynchronous:
        RECORDED.waits[here("copy to the host")] += 1
    if crosses_in:
        note_copy(source, asynchronous)
    if target_index is not None or isinstance(source, DeviceTensor):
        RECORDED.launches[name] += 1
    out = func(*tree_map(_held, args), **plain)
    if name == "copy_":
        return args[0]
    return out if target_index is None else DeviceTensor(out, target_index)


def note_copy(source: torch.Tensor, asynchronous: bool) -> None:
    """Record a copy from the host to the device."""
    if not asynchronous:
        RECORDED.copies[here("blocking copy to the device")] += 1
    elif not is_pinned(source):
        RECORDED.pageable[here("copy of pageable memory to the device")] += 1


def _check_devices(func: Any, name: str, args: Any, ours: list[Any], hosts: list[Any]) -> None:
    """Raise where CUDA would, because tensors lie on different devices."""
    if len({x.device.index for x in ours}) > 1:
        raise RuntimeError(here(f"{name}: tensors lie on {sorted({str(x.device) for x in ours})}"))
    if not ours or not hosts:
        return
    if name in _INDEXING:
        if not isinstance(args[0], DeviceTensor):
            raise RuntimeError(here(f"{name}: an index of the device into a tensor of the CPU"))
        if any(isinstance(i, torch.Tensor) and not isinstance(i, DeviceTensor) for i in args[1]):
            RECORDED.copies[here("blocking copy of an index")] += 1
        values = args[2] if len(args) > 2 else None
        if not isinstance(values, torch.Tensor) or isinstance(values, DeviceTensor) or values.dim() == 0:
            return
    elif name.startswith("_foreach"):
        return  # the step counters of optimisers are scalars of the host
    elif all(x.dim() == 0 for x in hosts):
        takes = torch.Tag.pointwise in func.tags or name.rstrip("_") in _TAKES_SCALARS
        if takes and not (func._schema.is_mutable and not isinstance(args[0], DeviceTensor)):
            return
    shapes = [f"{x.device} {tuple(x.shape)}" for x in (*ours, *hosts)]
    raise RuntimeError(here(f"{name}: expected all tensors to be on the same device, got {shapes}"))


def _note_waits(func: Any, name: str, args: Any, kwargs: Any) -> None:
    """Record an operator whose result, or the size of it, the host has to know."""
    if name in _READS:
        RECORDED.waits[here(name)] += 1
    if name in _INDEXING and any(isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
        RECORDED.waits[here(f"{name} by a mask")] += 1
    if name == "repeat_interleave" and "Tensor" in func._overloadname and kwargs.get("output_size") is None:
        RECORDED.waits[here(name)] += 1


def _on_device(index: Any, number: int) -> Any:
    """An index with its lists as tensors: torch copies a list to the device, and waits for it."""
    if isinstance(index, tuple):
        return tuple(_on_device(part, number) for part in index)
    if isinstance(index, list):
        RECORDED.copies[here("blocking copy of a list used as an index")] += 1
        return DeviceTensor(torch.tensor(index), number)
    return index


def _remember_pinned(x: torch.Tensor) -> torch.Tensor:
    _PINNED[x.untyped_storage().data_ptr()] = x.detach()
    while len(_PINNED) > _KEPT:
        _PINNED.popitem(last=False)
    return x


def _is_view(func: Any) -> bool:
    return any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)


def _index_of(device: torch.device | None) -> int:
    if device is not None and device.index is not None:
        return device.index
    return torch.cuda.current_device()


def _held(x: Any) -> Any:
    return x.held if isinstance(x, DeviceTensor) else x
