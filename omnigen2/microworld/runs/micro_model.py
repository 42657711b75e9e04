"""The vision-language model of the trained micro model, as a part of recipes."""

from omnigen2.encoders import QwenEncoder
from omnigen2.microworld.trained import MICRO_MODEL
from omnigen2.training.parts import VLMFolder, VLMSource

__all__ = ["MICRO_MODEL", "ShippedMicroVLM"]


class ShippedMicroVLM(VLMSource):
    """The vision-language model of the shipped micro model: it answers questions and knows when to draw."""

    def load(self) -> QwenEncoder:
        """Load the model.

        Returns:
            On the CPU, frozen, passing the states of all tokens on.
        """
        return VLMFolder(str(MICRO_MODEL)).load()
