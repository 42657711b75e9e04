"""Boxes for names by Grounding DINO (arXiv:2303.05499), through transformers."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from omnigen2.curation.items import CurationError
from omnigen2.curation.models.folders import FolderModel, load_processor
from omnigen2.curation.models.protocols import Detector, Found
from omnigen2.curation.video import Pixels

SPECIAL = ("[CLS]", "[SEP]", "[PAD]")


class GroundingDino(FolderModel, Detector):
    """Each name is asked for alone, so that what is found is never taken for another of the names.

    Args:
        folder: Such as IDEA-Research/grounding-dino-base, in the transformers layout.
        box: Least score of a box; that of OpenS2V.
        text: Least score of at least one word of the name; that of OpenS2V.

    Raises:
        CurationError: If a threshold is not in [0, 1].
    """

    def __init__(self, folder: str, box: float = 0.25, text: float = 0.25) -> None:
        if not (0 <= box <= 1 and 0 <= text <= 1):
            raise CurationError(f"GroundingDino has box {box} and text {text}", "give numbers from 0 to 1")
        self.folder, self.box, self.text = folder, box, text

    @override
    def find(self, picture: Pixels, names: Sequence[str]) -> Sequence[Found]:
        return [found for name in names for found in self._boxes(picture, name)]

    def _boxes(self, picture: Pixels, name: str) -> list[Found]:
        import torch

        asked = " ".join(name.lower().replace(".", " ").split())
        if not asked:
            raise CurationError(f"nothing can be found by the name {name!r}", "give words")
        processor, model = _loaded(self.folder, self.device)
        height, width = picture.shape[:2]
        inputs = processor(images=Image.fromarray(picture), text=f"{asked}.", return_tensors="pt").to(self.device)
        with torch.inference_mode():
            seen = model(**inputs)
        (found,) = processor.post_process_grounded_object_detection(
            seen, inputs.input_ids, threshold=self.box, text_threshold=self.text, target_sizes=[(height, width)]
        )
        inside = found["boxes"].cpu().double().numpy().clip(0, [width, height, width, height])
        return [
            Found(name, (left, top, right, bottom), score)
            for (left, top, right, bottom), score, said in zip(
                np.round(inside, 2).tolist(), found["scores"].tolist(), found["text_labels"], strict=True
            )
            if left < right and top < bottom and _words(said)
        ]


def _words(said: str) -> bool:
    """Whether a label holds a part of the name, and not just the marks around it."""
    for mark in SPECIAL:
        said = said.replace(mark, "")
    return bool(said.strip(" ."))


@cache
def _loaded(folder: str, device: str) -> tuple[Any, Any]:
    """Processor and model; those of one folder are there once, whichever steps use them."""
    import torch
    from transformers import AutoProcessor, GroundingDinoForObjectDetection

    from omnigen2.files import load_pretrained

    model: Any = load_pretrained(
        GroundingDinoForObjectDetection, folder, pickled=True, error=CurationError, dtype=torch.float32
    )
    return load_processor(AutoProcessor, folder), model.eval().to(device)
