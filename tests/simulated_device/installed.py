"""Makes ``torch.cuda`` of this process the simulated device. Import it before anything of regbench; it lasts."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

import torch
import torch.utils._foreach_utils as foreach
from torch.optim import optimizer

from tests.simulated_device.recorded import RECORDED, here
from tests.simulated_device.tensor import DeviceTensor, OnDevice, is_pinned, note_copy, pinned

DEVICES = 2
_MODE = OnDevice()
_SINGLE_THREAD = torch.autograd.set_multithreading_enabled(False)


class Current:
    """The current device of the process."""

    index = 0


def install() -> None:
    """Replace what asks for a driver, and watch what copies behind the dispatcher's back."""
    torch._C._ensureCUDADeviceGuardSet()
    ctypes.CDLL(None).simulated_devices(
        127
    )  # the most an int8 holds; torch.cuda.device_count() says how many there are
    torch.backends.cudnn.enabled = False
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    _replace_questions()
    _replace_constructors()
    torch.Tensor.pin_memory = lambda self, *_: pinned(self)  # type: ignore[method-assign,assignment]
    torch.Tensor.is_pinned = lambda self, *_: is_pinned(self)  # type: ignore[method-assign,assignment]
    # Wrapped tensors and inference mode do not go together; the numbers are the same.
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else contextlib.nullcontext()  # type: ignore
    # Optimisers and clipping take their joint kernels for tensors of these types alone.
    optimizer._foreach_supported_types.append(DeviceTensor)
    if DeviceTensor not in getattr(foreach, "_foreach_supported_types", [DeviceTensor]):
        foreach._foreach_supported_types.append(DeviceTensor)
    foreach._has_foreach_support = lambda tensors, device: device.type in ("cpu", "cuda")  # type: ignore
    torch.nn.utils.clip_grad._has_foreach_support = foreach._has_foreach_support  # type: ignore
    _replace_triton()
    _SINGLE_THREAD.__enter__()
    _MODE.__enter__()


def _replace_questions() -> None:
    cuda: Any = torch.cuda
    cuda._lazy_init = lambda: None
    cuda.is_available = lambda: True
    cuda.is_initialized = lambda: True
    cuda.device_count = lambda: DEVICES
    cuda.is_bf16_supported = lambda *_, **__: True
    cuda.mem_get_info = lambda *_: (60 * 2**30, 80 * 2**30)
    cuda.get_device_name = lambda *_: "simulated"
    cuda.get_device_capability = lambda *_: (9, 0)
    cuda.reset_peak_memory_stats = lambda *_: None
    cuda.max_memory_allocated = cuda.memory_allocated = lambda *_: 0
    cuda.empty_cache = lambda: None
    cuda.set_sync_debug_mode = lambda _: None  # waits are recorded
    cuda.manual_seed = cuda.manual_seed_all = lambda _: None
    cuda.is_current_stream_capturing = lambda: False
    cuda.synchronize = lambda *_: RECORDED.waits.update([here("synchronize")])
    cuda.current_device = lambda: Current.index
    cuda.set_device = _set_device
    cuda.device = _Entered

    import torch.cuda.amp.common as amp

    amp.amp_definitely_not_available = lambda: False


def _replace_constructors() -> None:
    """``torch.tensor(..., device="cuda")`` copies within one call, which the dispatcher does not see."""
    tensor, as_tensor = torch.tensor, torch.as_tensor

    def copying(make: Any) -> Any:
        def made(data: Any, *, device: Any = None, **others: Any) -> Any:
            if device is None or torch.device(device).type != "cuda" or isinstance(data, torch.Tensor):
                return make(data, device=device, **others) if device is not None else make(data, **others)
            host = make(data, **others)
            note_copy(host, asynchronous=False)
            index = torch.device(device).index
            return DeviceTensor(host, Current.index if index is None else index)

        return made

    torch.tensor, torch.as_tensor = copying(tensor), copying(as_tensor)


def _replace_triton() -> None:
    """The Triton kernel of the correlation, computed by its form for CPUs, on the current device alone."""
    from regbench.ops.fast import correlation_triton as kernels
    from regbench.ops.fast.correlation_tiles import TileCorrelation

    def launch(kernel: Any, others: Any, map1: Any, map2: Any, grid: Any, radius: int) -> None:
        _check_launch([x for x in (map1, map2, grid, *others) if x is not None])
        RECORDED.launches["triton correlation"] += 1
        with torch.enable_grad():
            maps = [x.held.detach().float().requires_grad_() for x in (map1, map2)]
            where = [] if grid is None else [grid.held.detach().requires_grad_()]
            out = TileCorrelation.apply(*maps, where[0] if where else None, radius)
            if len(others) == 1:
                others[0].held.copy_(out.detach())
                return
            gradients = torch.autograd.grad(out, [*maps, *where], others[0].held.float())
        for into, gradient in zip(others[1:], gradients, strict=False):
            into.held.copy_(gradient)

    kernels._run = launch  # the launch itself, within what chooses the device

    from regbench.ops import homography_flow, homography_grid
    from regbench.ops.fast import homography_triton

    def grids(kernel: Any, tensors: Any, size: Any, stride: float, flow: bool) -> None:
        _check_launch(tensors)
        RECORDED.launches["triton homography"] += 1
        with torch.enable_grad():
            corners = tensors[0].held.detach().requires_grad_()
            out = (homography_flow if flow else homography_grid)(corners, size, stride)
            if kernel is homography_triton._forward:
                tensors[1].held.copy_(out.detach())
            else:
                tensors[2].held.copy_(torch.autograd.grad(out, corners, tensors[1].held)[0])

    homography_triton._run = grids


def _check_launch(tensors: Any) -> None:
    """Triton launches on the current device, and reads memory of no other."""
    if not all(isinstance(x, DeviceTensor) and x.device.index == Current.index for x in tensors):
        devices = sorted({str(x.device) for x in tensors})
        raise ValueError(f"pointers of {devices} in a Triton kernel that is launched on cuda:{Current.index}")


class _Entered:
    """``torch.cuda.device``: another current device while entered."""

    def __init__(self, device: Any) -> None:
        self.index, self.before = _number(device), Current.index

    def __enter__(self) -> None:
        self.before, Current.index = Current.index, self.index

    def __exit__(self, *_: object) -> None:
        Current.index = self.before


def _set_device(device: Any) -> None:
    if not isinstance(device, int) and torch.device(device).index is None:
        raise ValueError(f"expected a torch.device with a specified index or an integer, but got {device}")
    Current.index = _number(device)


def _number(device: Any) -> int:
    if isinstance(device, int):
        return device
    index = torch.device(device).index
    return Current.index if index is None else index
