"""What a flow training leaves: the transformer or its adapters, alone or as a whole model folder."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from omnigen2.adapters import merged
from omnigen2.dit import DiffusionTransformer, save_transformer
from omnigen2.encoders import LatentCodec, QwenEncoder
from omnigen2.files import write_json
from omnigen2.flow import TimeShift
from omnigen2.generate import INDEX, scheduler_config
from omnigen2.shards import is_first_process, local_part, reshard, whole
from omnigen2.training.parts.transformer_part import TRANSFORMER
from omnigen2.training.parts.vlm import save_vlm

Saved: TypeAlias = Literal["transformer", "model", "merged"]
"""The transformer (or, where adapters are trained, those alone); a whole model around it; or the transformer with its
adapters added to its weights, from which another stage can start."""


def save_plain_transformer(transformer: DiffusionTransformer, folder: Path) -> None:
    """Write `transformer/` in the released layout, its adapters, if it has any, added to the weights.

    If it is sharded, every process must call it; the first one writes.
    """
    reshard(transformer)
    state: Mapping[str, Tensor] = transformer.state_dict()
    tensors = merged(transformer, {name: whole(local_part(tensor), tensor) for name, tensor in state.items()})
    if not is_first_process():
        return
    with torch.device("meta"):
        plain = DiffusionTransformer(transformer.config, transformer.positions)
    plain.load_state_dict(tensors, assign=True)
    save_transformer(plain, folder / TRANSFORMER)


def save_rest(encoder: QwenEncoder, codec: LatentCodec, shift: TimeShift, patch_size: int, folder: Path) -> None:
    """Write everything of a model but its transformer, so that `Generator.from_folder` reads the folder.

    Args:
        encoder: The vision-language model, with the bridge that the transformer was trained with.
        codec: The autoencoder.
        shift: The time shift of the sampler.
        patch_size: The transformer's.
        folder: Gets `vae/`, `mllm/`, `processor/`, `scheduler/` and `model_index.json`.

    Raises:
        GenerateError: If a scheduler's configuration cannot say this shift.
    """
    scheduler = scheduler_config(shift, patch_size)
    codec.save(folder / "vae")
    save_vlm(encoder, folder)
    (folder / "scheduler").mkdir(exist_ok=True)
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_json(folder / "model_index.json", INDEX | {"bridge": asdict(encoder.bridge)})
