"""Parts of pictures painted anew by FLUX.1-Fill-dev, through diffusers."""

from functools import cache
from math import sqrt
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from omnigen2.curation.items import CurationError
from omnigen2.curation.models.folders import FolderModel
from omnigen2.curation.models.protocols import Filler, Mask
from omnigen2.curation.video import Pixels

STEP = 16
"""Pixels that the sides of its pictures are multiples of."""


class FluxFill(FolderModel, Filler):
    """Works on the picture at about one size, whatever its own, and gives it back at its own.

    Args:
        folder: Such as black-forest-labs/FLUX.1-Fill-dev, in the diffusers layout.
        steps: Of denoising.
        guidance: As the model was trained to take it, without a second pass.
        pixels: Of the picture that is worked on, height times width, about.

    Raises:
        CurationError: If a number is out of range.
    """

    file = "model_index.json"

    def __init__(self, folder: str, steps: int = 50, guidance: float = 30.0, pixels: int = 2**20) -> None:
        if steps < 1 or guidance < 0 or pixels < STEP**2:
            raise CurationError(
                f"FluxFill has steps {steps}, guidance {guidance} and pixels {pixels}",
                f"give at least 1 step, no negative guidance and at least {STEP**2} pixels",
            )
        self.folder, self.steps, self.guidance, self.pixels = folder, steps, guidance, pixels

    @override
    def _filled(self, picture: Pixels, mask: Mask, prompt: str, seed: int) -> Pixels:
        import torch

        height, width = picture.shape[:2]
        across, down = self.size(height, width)[::-1]
        image = Image.fromarray(picture).resize((across, down), Image.Resampling.LANCZOS)
        covered = Image.fromarray(mask.astype(np.uint8) * 255).resize((across, down), Image.Resampling.BOX)
        painted = _loaded(self.folder, self.device)(
            prompt=prompt,
            image=image,
            mask_image=Image.fromarray((np.asarray(covered) > 0).astype(np.uint8) * 255),
            height=down,
            width=across,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
        return np.asarray(painted.resize((width, height), Image.Resampling.LANCZOS))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what is worked on: multiples of 16 near the picture's shape."""
        scale = sqrt(self.pixels / (height * width)) / STEP
        return max(1, round(height * scale)) * STEP, max(1, round(width * scale)) * STEP


@cache
def _loaded(folder: str, device: str) -> Any:
    """The pipeline; that of one folder is there once, whichever steps use it."""
    import torch
    from diffusers import FluxFillPipeline  # pyright: ignore[reportPrivateImportUsage]

    from omnigen2.files import library_errors

    with library_errors(folder, CurationError):
        pipeline: Any = FluxFillPipeline.from_pretrained(
            folder, torch_dtype=torch.bfloat16 if device == "cuda" else torch.float32, local_files_only=True
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)
