"""Where the parts of a model folder are loaded, and in which number format."""

from dataclasses import dataclass

import torch

from omnigen2.dit import AttentionBackend, DiffusionTransformer, load_transformer
from omnigen2.encoders import LatentCodec, PromptRules, QwenEncoder, VAEMemory, load_codec, multiplies_bfloat16
from omnigen2.errors import UserError
from omnigen2.files import MappedFiles
from omnigen2.generate.memory.asked import Folder, RoomError
from omnigen2.generate.memory.estimate import estimate, stored_dtypes
from omnigen2.generate.memory.machine import free_memory
from omnigen2.generate.memory.pages import drop
from omnigen2.generate.memory.resting import Offload
from omnigen2.quantize import Quantization, check_quantization, quantize

PARTS = ("transformer", "mllm", "vae")
MODULATION = ("modulation",)
"""Of the transformer's blocks, what is not quantised: the time acts on every token by it."""
WORKING = (torch.bfloat16, torch.float32, torch.float64)
"""Number formats that the encoders are loaded in."""


@dataclass(frozen=True)
class Placement:
    """How a model folder is loaded so that its parts can rest.

    With `"stages"` and `"blocks"` they lie in the host's memory as they are stored: out of their files, without memory
    of their own.

    Attributes:
        device: Where the models work.
        dtype: What they work in.
        offload: Which of them rest while others work.
        quantize: How the matrices of the blocks of transformer and language model are stored.

    Raises:
        RoomError: If quantised weights were to lie in files.
    """

    folder: Folder
    device: torch.device
    dtype: torch.dtype
    offload: Offload
    quantize: Quantization = "none"

    def __post_init__(self) -> None:
        check_quantization(self.quantize, self.device, self.dtype)
        if self.quantize != "none" and self.offload in ("stages", "blocks"):
            raise RoomError(
                f"offload {self.offload} works out of the files, which hold no {self.quantize} weights",
                "leave one of the two out",
                {"offload": "set {} to none or idle"},
            )

    def load(
        self,
        vae_memory: VAEMemory = "one_by_one",
        rules: PromptRules | None = None,
        backend: AttentionBackend = "auto",
    ) -> tuple[DiffusionTransformer, QwenEncoder, LatentCodec]:
        """Load the three models; see `Generator.from_folder`."""
        transformer, mllm, vae = ((self.folder.part(part), self.dtype_of(part), self.device_of(part)) for part in PARTS)
        path, dtype, device = transformer
        read, rests = (dtype, device) if self.quantize == "none" else (None, "cpu")
        dit = load_transformer(path, dtype=read, device=rests, backend=backend)
        if self.quantize != "none":
            quantize(dit, self.quantize, MODULATION, dtype=dtype, device=device, done_with=drop)
        path, dtype, device = mllm
        read, rests = (dtype, device) if self.quantize == "none" else (self._read_as("mllm"), "cpu")
        vlm = QwenEncoder.from_folder(path, self.folder.part("processor"), read, rests, rules, self.folder.bridge())
        if self.quantize != "none":
            quantize(vlm.model, self.quantize, dtype=dtype, device=device, done_with=drop)
        return dit, vlm, load_codec(*vae, vae_memory)

    def device_of(self, part: str) -> torch.device:
        """Where a part is loaded."""
        rests = self.offload in ("stages", "blocks") or (self.offload == "idle" and part != "transformer")
        return torch.device("cpu") if rests else self.device

    def dtype_of(self, part: str) -> torch.dtype:
        """What a part is loaded in.

        Raises:
            RoomError: If it is to work out of its files, and they have several formats, or one it is not loaded in.
        """
        if self.offload not in ("stages", "blocks"):
            return self.dtype
        stored = self._stored(part)
        if stored <= {self.dtype}:
            return self.dtype
        if len(stored) == 1 and (stored <= set(WORKING) or part == "transformer"):
            return stored.pop()
        names = " and ".join(sorted(str(one).removeprefix("torch.") for one in stored))
        raise RoomError(
            f"{self.folder.part(part)} has weights in {names}, which offload {self.offload} cannot work out of",
            "save them in bfloat16 or float32 alone, by save_pretrained of the library they come from",
            {"offload": "set {} to none or idle"},
        )

    def files(self, error: type[UserError] = RoomError) -> tuple[MappedFiles, ...]:
        """The files that parts work out of, to be looked at before each call; what was written over is an `error`."""
        host = [part for part in PARTS if self.device_of(part).type == "cpu"]
        return tuple(
            MappedFiles(sorted(self.folder.part(part).glob("*.safetensors")), self.dtype_of(part), error)
            for part in host
        )

    def _read_as(self, part: str) -> torch.dtype:
        """What a part is read in before it is quantised: as it is stored, so that it stays pages of its files."""
        stored = self._stored(part) & set(WORKING)
        return stored.pop() if len(stored) == 1 else self.dtype

    def _stored(self, part: str) -> set[torch.dtype]:
        return stored_dtypes(self.folder, part) if any(self.folder.part(part).glob("*.safetensors")) else set()


def default_dtype(
    folder: Folder,
    device: torch.device,
    offload: Offload = "none",
    vae_memory: VAEMemory = "one_by_one",
    free: int | None = None,
    quantize: Quantization = "none",
) -> tuple[torch.dtype, str]:
    """What a model works in where nobody says.

    bfloat16 on devices; on a host that multiplies it itself, if the transformer and the language model are stored in it
    (which is then faster); and where float32 does not fit into the memory. Otherwise float32.

    Args:
        device: Where it works.
        offload: Which parts rest meanwhile.
        vae_memory: How the autoencoder works.
        free: Bytes there are; asked of the machine if None.
        quantize: How the matrices of the blocks are stored.

    Returns:
        The number format, and a sentence if it is not the one that others would expect.
    """
    if device.type != "cpu":
        return torch.bfloat16, ""
    stored = stored_dtypes(folder, "transformer") | stored_dtypes(folder, "mllm")
    if stored == {torch.bfloat16} and multiplies_bfloat16():
        return torch.bfloat16, ""
    free = free_memory(device) if free is None else free
    wide, narrow = (
        estimate(folder, (), None, dtype, offload, vae_memory, device, quantize).peak
        for dtype in (torch.float32, torch.bfloat16)
    )
    if free is None or wide <= free or narrow >= wide:
        return torch.float32, ""
    return torch.bfloat16, (
        f"the weights take {wide / 1e9:.1f} GB in float32, {free / 1e9:.1f} GB of memory are free: bfloat16 is used, "
        f"which takes {narrow / 1e9:.1f} GB"
    )
