"""Parameters that may be sharded over processes: their local part, and the way to the whole and back."""

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor


def local_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: a plain one, detached, on the same memory (writing into it writes there)."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(part: Tensor, like: Tensor) -> Tensor:
    """Put the parts of all processes together. If `like` is sharded, every process must call it.

    Args:
        part: What this process holds of a tensor that is sharded like another one.
        like: The other one, of the same shape; the dtype may differ.

    Returns:
        A copy of the whole tensor, on the CPU.
    """
    if isinstance(like, DTensor):
        sharded = DTensor.from_local(
            part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
        )
        return sharded.full_tensor().cpu()
    return part.detach().cpu().clone()


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Cut out what this process holds of a tensor that is to be sharded like another one of the same shape.

    Args:
        tensor: The whole, the same on every process.

    Returns:
        A copy on the device of `like`, in the dtype of `tensor`.
    """
    if isinstance(like, DTensor):
        moved = tensor.to(like.device)
        return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None).to_local().clone()
    return tensor.to(like.device, copy=True)


def sharded_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Spread a whole tensor, the same on every process, over processes as another one of its shape is.

    Returns:
        A sharded tensor on the device of `like`; the tensor itself if `like` is not sharded.
    """
    if isinstance(like, DTensor):
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return tensor


def reshard(module: nn.Module) -> None:
    """Let sharded parameters be what `module.parameters()` gives, and drop gathered copies of them.

    After a forward without a backward, FSDP2 leaves the parameters of its root gathered. What is written into those
    copies is lost, and what is written into the shards is not seen before they are gathered again.
    """
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def is_first_process() -> bool:
    """Whether this is the process that writes files: the only one, or rank 0."""
    return not dist.is_initialized() or dist.get_rank() == 0
