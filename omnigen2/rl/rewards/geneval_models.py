"""GenEval's models through transformers: Mask2Former finds objects, CLIP names their colours."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from typing_extensions import override

from omnigen2.files import (
    CROPS,
    check_image_settings,
    check_tokenizer,
    image_settings,
    library_errors,
    load_pretrained,
)
from omnigen2.pictures import to_image
from omnigen2.rl.reward import Picture, RewardError
from omnigen2.rl.rewards.geneval import THRESHOLD, ColourNamer, Detection, Detector
from omnigen2.rl.rewards.geneval_task import COCO_NAMES, COLOURS

BEHIND = (0x99, 0x99, 0x99)
"""The grey that everything but the object is painted with before its colour is named."""
MASK_KEYS = ("do_pad", "pad_size", "size_divisor", "max_size", "do_center_crop", "crop_size")
"""What Mask2Former's image processor follows besides what all do."""
MASK_NAMES = ("ignore_index", "num_labels", "do_reduce_labels", "reduce_labels")
"""What it is told about the masks that it is trained with."""
TEMPLATES = ("a photo of a {colour} {name}", "a photo of a {colour}-colored {name}", "a photo of a {colour} object")


class Mask2FormerDetector(Detector):
    """Instances by Mask2Former.

    GenEval uses the Swin-S model of another library; its weights exist for transformers as
    `facebook/mask2former-swin-small-coco-instance`. Scores are class times mask confidence, boxes are those of the
    masks. Small differences to published GenEval numbers are to be expected.

    Args:
        model: Its name or folder.
        names: What its classes are called in prompts, in the model's order.
        device: Where it runs, such as `cuda:0`.

    Raises:
        RewardError: If the model has another number of classes.
    """

    def __init__(
        self,
        model: str = "facebook/mask2former-swin-small-coco-instance",
        names: Sequence[str] = COCO_NAMES,
        device: str = "cpu",
    ) -> None:
        from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

        self.processor = _processor(
            AutoImageProcessor, model, ("Mask2FormerImageProcessor", "MaskFormerImageProcessor"), MASK_KEYS, MASK_NAMES
        )
        network: Any = load_pretrained(Mask2FormerForUniversalSegmentation, model, pickled=True, error=RewardError)
        self.network = network.eval().to(device)
        self.names = tuple(names)
        self.device = device
        classes = self.network.config.num_labels
        if classes != len(self.names):
            raise RewardError(f"{model} has {classes} classes, but {len(self.names)} names are given; name each class")

    @override
    @torch.inference_mode()
    def detect(self, picture: Picture) -> list[Detection]:
        image = to_image(picture)
        inputs = self.processor(images=[image], return_tensors="pt").to(self.device)
        found = self.processor.post_process_instance_segmentation(
            self.network(**inputs),
            threshold=THRESHOLD,
            target_sizes=[(image.height, image.width)],
            return_binary_maps=True,
        )[0]
        masks = found["segmentation"]
        detections: list[Detection] = []
        for number, segment in enumerate(found["segments_info"]):
            mask = masks[number].bool().cpu()
            rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
            box = (float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)
            detections.append(Detection(self.names[segment["label_id"]], box, float(segment["score"]), mask))
        return detections


class ClipColourNamer(ColourNamer):
    """The likeliest of GenEval's ten colours by CLIP, for each object cut out on grey.

    Args:
        model: Its name or folder; GenEval uses OpenAI's ViT-L/14.
        device: Where it runs.
    """

    def __init__(self, model: str = "openai/clip-vit-large-patch14", device: str = "cpu") -> None:
        from transformers import AutoProcessor, CLIPModel

        if Path(model).is_dir():
            check_tokenizer(Path(model), RewardError)
        self.processor = _processor(AutoProcessor, model, ("CLIPImageProcessor",), CROPS)
        network: Any = load_pretrained(CLIPModel, model, pickled=True, error=RewardError, dtype=torch.float32)
        self.network = network.eval().to(device)
        self.device = device
        self._texts: dict[str, Float[Tensor, "colours features"]] = {}

    @override
    @torch.inference_mode()
    def name_colours(self, picture: Picture, objects: Sequence[Detection]) -> list[str]:
        if not objects:
            return []
        image = to_image(picture)
        crops = [cut_out(image, one) for one in objects]
        inputs = self.processor(images=crops, return_tensors="pt").to(self.device)
        features = self.network.get_image_features(**inputs).pooler_output
        unit = torch.nn.functional.normalize(features.float(), dim=-1)
        best = torch.stack([row @ self._text(one.name).T for row, one in zip(unit, objects, strict=True)]).argmax(-1)
        return [COLOURS[number] for number in best.tolist()]

    def _text(self, name: str) -> Float[Tensor, "colours features"]:
        """The mean direction of the three sentences about each colour."""
        if name not in self._texts:
            texts = [template.format(colour=colour, name=name) for colour in COLOURS for template in TEMPLATES]
            inputs = self.processor(text=texts, return_tensors="pt", padding=True).to(self.device)
            features = self.network.get_text_features(**inputs).pooler_output.float()
            unit = torch.nn.functional.normalize(features, dim=-1).unflatten(0, (len(COLOURS), len(TEMPLATES)))
            self._texts[name] = torch.nn.functional.normalize(unit.mean(1), dim=-1)
        return self._texts[name]


def _processor(
    library: Any, model: str, kinds: tuple[str, ...], followed: tuple[str, ...], further: tuple[str, ...] = ()
) -> Any:
    """The model's own processor, all of whose settings it follows.

    Raises:
        RewardError: If a folder has none, or it would leave out what it is told.
    """
    folder = Path(model)
    if folder.is_dir():
        settings = image_settings(folder, RewardError)
        if settings is None:
            raise RewardError(f"{folder} has no preprocessor_config.json", "is the download complete?")
        check_image_settings(settings, kinds, followed, further)
    with library_errors(model, RewardError):
        return library.from_pretrained(model)


def cut_out(image: Image.Image, one: Detection) -> Image.Image:
    """An object on grey, cropped to its box, at least one pixel; all of the box if the object has no mask."""
    if one.mask is not None:
        mask = Image.fromarray((one.mask.cpu().to(torch.uint8) * 255).numpy())
        image = Image.composite(image, Image.new("RGB", image.size, BEHIND), mask)
    left, top, right, bottom = (int(edge) for edge in one.box)
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
