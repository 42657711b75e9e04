"""Masks from frame to frame by SAM 2 (arXiv:2408.00714), through transformers."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image
from typing_extensions import override

from omnigen2.curation.items import CurationError
from omnigen2.curation.models.folders import FolderModel, load_processor
from omnigen2.curation.models.protocols import Box, Tracker
from omnigen2.curation.video import Pixels


class Sam2Video(FolderModel, Tracker):
    """Follows what lies in boxes of the first frame. Frames are forgotten as soon as no later mask depends on them.

    Args:
        folder: Such as facebook/sam2.1-hiera-large, in the transformers layout.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @override
    def track(
        self, frames: Iterable[Pixels], boxes: Sequence[Box]
    ) -> Iterator[Bool[np.ndarray, "subjects height width"]]:
        import torch

        if not boxes:
            raise CurationError("SAM 2 was given no boxes", "give one for each subject")
        processor, model = _loaded(self.folder, self.device)
        session = processor.init_video_session(inference_device=self.device)
        for number, pixels in enumerate(frames):
            size = pixels.shape[:2]
            inputs = processor(images=Image.fromarray(pixels), return_tensors="pt").to(self.device)
            if number == 0:
                processor.add_inputs_to_inference_session(
                    session, 0, list(range(len(boxes))), input_boxes=[[list(box) for box in boxes]], original_size=size
                )
            with torch.inference_mode():
                seen = model(inference_session=session, frame=inputs.pixel_values[0], frame_idx=number)
                (masks,) = processor.post_process_masks([seen.pred_masks], [size])
            forget(session, number, max(model.config.num_maskmem, model.config.max_object_pointers_in_encoder))
            yield masks[:, 0].cpu().numpy()


def forget(session: Any, number: int, reach: int) -> None:
    """Drop a frame that has been seen, and what the model remembers of those farther back than it looks."""
    session.processed_frames.pop(number)
    for remembered in session.output_dict_per_obj.values():
        remembered["non_cond_frame_outputs"].pop(number - reach, None)


@cache
def _loaded(folder: str, device: str) -> tuple[Any, Any]:
    """Processor and model; those of one folder are there once, whichever steps use them."""
    import torch
    from transformers import Sam2VideoModel, Sam2VideoProcessor

    from omnigen2.files import load_pretrained

    model: Any = load_pretrained(Sam2VideoModel, folder, pickled=True, error=CurationError, dtype=torch.float32)
    return load_processor(Sam2VideoProcessor, folder), model.eval().to(device)
