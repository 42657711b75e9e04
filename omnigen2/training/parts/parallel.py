"""The transformer over several GPUs (FSDP2), and compiled, block by block."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from omnigen2.dit import DiffusionTransformer

Precision: TypeAlias = Literal["bf16", "fp32"]
POLICIES: dict[Precision, MixedPrecisionPolicy] = {
    "bf16": MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False),
    "fp32": MixedPrecisionPolicy(cast_forward_inputs=False),
}


def shard_transformer(
    dit: DiffusionTransformer,
    mesh: DeviceMesh,
    precision: Precision | MixedPrecisionPolicy = "bf16",
    reshard_after_forward: bool = True,
) -> None:
    """Spread the parameters, gradients and optimizer states over processes, in place: each block, then the rest.

    The names of the parameters stay; they become DTensors. Freeze parameters and add adapters before, make the
    optimizer afterwards; Lightning's `configure_model` is the place. `forward` and `prepare` then gather what they
    need, and are collective calls.

    Args:
        mesh: One dimension, over which the batch is split and the parameters are sharded, or two: replicas, shards.
        precision: `bf16` computes in bfloat16 with parameters as they are and gradients averaged in float32; `fp32`
            computes in the parameters' own dtype. A policy of one's own must not cast the forward's inputs: times
            and rotation tables are float32 in any precision.
        reshard_after_forward: False keeps gathered blocks until the backward pass: more memory, less traffic.

    Raises:
        ValueError: If the mesh does not hold all processes, has a dimension for tensor parallelism, or the policy
            casts inputs.

    Source: the sharding of every block by itself as in torch.distributed.fsdp.fully_shard's documentation.

    Example:
        >>> from lightning.pytorch import LightningModule
        >>> from omnigen2.dit import variants
        >>> class Module(LightningModule):
        ...     def __init__(self) -> None:
        ...         super().__init__()
        ...         self.dit = variants.micro()
        ...
        ...     def configure_model(self) -> None:
        ...         if self.device_mesh is not None:  # the strategy is ModelParallelStrategy
        ...             shard_transformer(self.dit, self.device_mesh["data_parallel"])
    """
    if "tensor_parallel" in (mesh.mesh_dim_names or ()):
        raise ValueError(
            f"the mesh has the dimensions {mesh.mesh_dim_names}, and blocks are not split inside; "
            'pass device_mesh["data_parallel"]'
        )
    if mesh.size() != dist.get_world_size():
        raise ValueError(
            f"the mesh holds {mesh.size()} of {dist.get_world_size()} processes, so that gradients would not be "
            f"averaged over all; ModelParallelStrategy needs data_parallel_size={dist.get_world_size()} and "
            "tensor_parallel_size=1 (its own default is the other way round)"
        )
    policy = precision if isinstance(precision, MixedPrecisionPolicy) else POLICIES[precision]
    if policy.cast_forward_inputs:
        raise ValueError(
            "the policy casts the forward's inputs, also times and rotation tables, which must stay float32; "
            "set cast_forward_inputs=False"
        )
    for block in transformer_blocks(dit):
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard_after_forward)
    fully_shard(dit, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    register_fsdp_forward_method(dit, "prepare")


def compile_blocks(dit: DiffusionTransformer, backend: str = "inductor", dynamic: bool | None = None) -> None:
    """Compile every block in place; the names of parameters stay. Compilation happens at the first forward.

    Do it before `shard_transformer`, so that gathering is not a part of the compiled blocks. If `dynamic` is None,
    numbers of tokens become variables when they first change.

    Raises:
        ValueError: If there is no such backend.
    """
    if backend not in (known := torch.compiler.list_backends(exclude_tags=())):
        raise ValueError(f"torch.compile has no backend {backend!r}; it has {', '.join(known)}")
    for block in transformer_blocks(dit):
        block.compile(backend=backend, dynamic=dynamic)


def transformer_blocks(dit: DiffusionTransformer) -> Iterator[nn.Module]:
    """The blocks of all refiners and of the main part.

    Yields:
        Each block once.
    """
    for group in (dit.text_refiner, dit.reference_refiner, dit.noise_refiner, dit.blocks):
        yield from group
