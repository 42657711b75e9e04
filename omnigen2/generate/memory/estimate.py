"""What a call will need, told from configurations and file headers without loading a weight."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import torch

from omnigen2.dit import TransformerConfig, read_config
from omnigen2.encoders import CodecSize, VAEMemory, codec_class
from omnigen2.files import Stored, read_header
from omnigen2.generate.memory.asked import Folder, Guided, Planned, RoomError
from omnigen2.generate.memory.resting import Offload
from omnigen2.quantize import Quantization

Read = TypeVar("Read")
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
STORED = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
"""Number formats of weights, as files name them."""
BLOCK = re.compile(r".*?\.\d+(?=\.\w+\.)")
"""What the keys of the weights of a block, which has parts, begin with."""
MODULATION = ".norm1.linear."
"""What the released keys of the layers are called by which the time acts: they are not quantised."""
BITS = {"int8": 8.02, "float8": 8.05, "nf4": 4.13}
"""Of a quantised weight, with its share of the scales."""
TEXT_TOKENS = 128
"""Assumed length of a prompt with its template."""
DECODER_TILE = 512
"""Side of the tiles of the released autoencoder's tiled mode, in pixels."""


@dataclass(frozen=True)
class Need:
    """What one thing needs: its number of weights (0 for work space), and bytes.

    Bytes are exact for weights, and an estimate within a factor of about two for work space.

    Attributes:
        files: Bytes of weights that on the host are pages of files: the system reads them when they are looked at, and
            takes them back when memory is short.
        block: Bytes of the weights of the largest block.
        outside: Bytes of the weights outside of blocks.
    """

    name: str
    parameters: int
    bytes: int
    files: int = 0
    block: int = 0
    outside: int = 0

    def streamed(self, blocks: int) -> "Need":
        """The same with the weights of so many blocks at a time."""
        size = min(self.outside + blocks * self.block, self.bytes)
        return Need(self.name, self.parameters, size, self.files * size // max(self.bytes, 1))


@dataclass(frozen=True)
class Estimate:
    """What a call will need: the three models, and the work space of the transformer and of the autoencoder.

    Attributes:
        on_host: Whether the host computes.
    """

    weights: tuple[Need, Need, Need]
    work: tuple[Need, Need]
    offload: Offload
    on_host: bool = False

    @property
    def peak(self) -> int:
        """Bytes at the worst moment where the models work, on the host with pages of files."""
        return self._peak(*(need.bytes for need in self.held))

    @property
    def own(self) -> int:
        """Those of them that the system cannot take back when memory is short."""
        return self._peak(*(need.bytes - (need.files if self.on_host else 0) for need in self.held))

    @property
    def held(self) -> tuple[Need, ...]:
        """The three models as far as they are in memory while they work."""
        if self.offload != "blocks":
            return self.weights
        *streamed, vae = self.weights
        return (*(need.streamed(2 if self.on_host else 3) for need in streamed), vae)

    def _peak(self, transformer: int, vlm: int, vae: int) -> int:
        denoising, decoding = (need.bytes for need in self.work)
        match self.offload:
            case "none":
                return transformer + vlm + vae + max(denoising, decoding)
            case "idle":
                return transformer + max(vlm, denoising, vae + decoding)
            case "stages" | "blocks":
                return max(transformer + denoising, vlm, vae + decoding)


def estimate(
    folder: Folder,
    plans: Sequence[Planned],
    sampling: Guided | None,
    dtype: torch.dtype,
    offload: Offload = "none",
    vae_memory: VAEMemory = "one_by_one",
    device: torch.device | str = "cuda",
    quantize: Quantization = "none",
) -> Estimate:
    """Estimate the memory of one packed batch.

    Args:
        folder: The model.
        plans: The batch; of none, only weights count.
        sampling: How it is sampled; guidance multiplies the work space. None for no guidance.
        dtype: Of the weights.
        offload: See `Offload`.
        vae_memory: How the autoencoder works.
        device: Where the models work.
        quantize: See `omnigen2.quantize`.
    """
    config, codec = transformer_config(folder), codec_size(folder)
    guidance = None if sampling is None else sampling.guidance(any(plan.references for plan in plans))
    branches = 1 if guidance is None else guidance.num_branches
    seen: list[int] = []
    for plan in plans:
        seen += [prod(plan.size)] * branches
        seen += [image.width * image.height for image in plan.references] * max(branches - 1, 1)
    patch = (codec.reduction * config.patch_size) ** 2
    tokens = sum(pixels // patch for pixels in seen) + branches * len(plans) * TEXT_TOKENS
    per_token = 3 * config.inner_size + 8 * config.hidden_size
    pixels = sum(seen) if vae_memory == "together" else max(seen, default=0)
    pixels = min(pixels, DECODER_TILE**2) if vae_memory == "tiled" else pixels
    return Estimate(
        weights=(
            weights_of(folder, "transformer", dtype, quantize),
            weights_of(folder, "mllm", dtype, quantize),
            weights_of(folder, "vae", dtype) if codec.weights else Need("vae", 0, 0),
        ),
        work=(
            Need("denoising", 0, tokens * per_token * dtype.itemsize),
            Need("decoding", 0, 3 * codec.widest * pixels * dtype.itemsize),
        ),
        offload=offload,
        on_host=torch.device(device).type == "cpu",
    )


def stored_dtypes(folder: Folder, part: str) -> set[torch.dtype]:
    """The number formats that a part's weights are stored in."""
    return {STORED[one.dtype] for one in _stored(folder, part).values() if one.dtype in STORED}


def _read(folder: Folder, part: str, reader: Callable[[dict[str, Any]], Read]) -> Read:
    content = folder.config(part)
    try:
        return reader(content)
    except ValueError as error:
        raise RoomError(f"{folder.part(part) / 'config.json'}: {error}", f"is it that of a {part}?") from error


def transformer_config(folder: Folder) -> TransformerConfig:
    """The sizes of a folder's transformer."""
    return _read(folder, "transformer", read_config)


def codec_size(folder: Folder) -> CodecSize:
    """What a folder's codec needs."""
    return _read(folder, "vae", lambda config: codec_class(config).size(config))


def weights_of(folder: Folder, part: str, dtype: torch.dtype, quantize: Quantization = "none") -> Need:
    """What the weights of a part need, told from the headers of its files.

    Raises:
        RoomError: If there is no file, or a broken one.
    """
    elements: Counter[str] = Counter()
    in_files, small = 0, 0
    for key, stored in _stored(folder, part).items():
        block = BLOCK.match(key)
        if quantize != "none" and block is not None and len(stored.shape) == 2 and MODULATION not in key:
            small += prod(stored.shape)
            continue
        elements["" if block is None else block[0]] += prod(stored.shape)
        in_files += prod(stored.shape) if STORED.get(stored.dtype) == dtype else 0
    outside, total, size = elements.pop("", 0), elements.total(), dtype.itemsize
    largest = max(elements.values(), default=0)
    bits = 0 if quantize == "none" else BITS[quantize]
    taken = (total + outside) * size + round(small * bits / 8)
    return Need(part, total + outside + small, taken, in_files * size, largest * size, outside * size)


def _stored(folder: Folder, part: str) -> dict[str, Stored]:
    """What the headers of a part's files say.

    Raises:
        RoomError: If there is no file, or a broken one.
    """
    files = sorted(folder.part(part).glob("*.safetensors"))
    if not files:
        others = sorted(path.name for path in folder.part(part).glob("*.[bcp]*") if path.suffix in PICKLED)
        there = f", but {others[0]}" if others else ""
        remedy = "`omnigen2 export FILE --base DIR` writes it in the released layout"
        raise RoomError(
            f"{folder.part(part)} has no .safetensors file{there}", remedy if others else "is the download complete?"
        )
    return {key: one for path in files for key, one in read_header(path, RoomError).items()}
