"""The micro model that comes with the package: what `recipes/micro/curriculum.yaml` has after supervised fine-tuning."""

from pathlib import Path

from omnigen2.encoders import QwenEncoder
from omnigen2.training.vlm import VLMFolder, VLMSource

MICRO_MODEL = Path(__file__).parents[1] / "microworld" / "model"
"""A whole model in the released layout, for 64 x 64 pixels; `omnigen2.generate.Generator.from_folder` reads it."""


class ShippedMicroVLM(VLMSource):
    """The vision-language model of the shipped micro model: it answers questions and knows when to draw."""

    def load(self) -> QwenEncoder:
        """Load the model.

        Returns:
            On the CPU, frozen, passing the states of all tokens on.
        """
        return VLMFolder(str(MICRO_MODEL)).load()
