"""What of the data was left out, in the report of a run."""

from pathlib import Path

from lightning.pytorch import Callback

from omnigen2.training.flow_matching.data_module import ImageData


class LeftOutData(Callback):
    """Says in the report of a run how many samples were left out, and which were the first.

    Args:
        data: What was trained on.
    """

    def __init__(self, data: ImageData) -> None:
        self.data = data

    def report_section(self, folder: Path) -> str:
        """A list of what was left out, or that nothing was."""
        del folder
        sentences = self.data.left_out()
        if not sentences:
            return "No sample of the data was left out."
        return "\n".join(["## Left out of the data", "", *(f"- {' '.join(one.split())}" for one in sentences)])
