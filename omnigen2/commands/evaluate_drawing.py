"""What `omnigen2 evaluate --model` draws: the pictures that are not there, each checked before the first is drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from omnigen2.commands.settings import ModelSettings, load_generator, progress_bar
from omnigen2.errors import UserError
from omnigen2.generate import ModelFolder, Request, planner_of, read_parameters
from omnigen2.pictures import ImageReader

if TYPE_CHECKING:
    from omnigen2.commands.evaluate import EvaluateSettings
    from omnigen2.evaluation.judging import BenchmarkItem


def parameters_of(picture: Path) -> Mapping[str, Any] | None:
    """How a picture was drawn, if its file says so."""
    try:
        found: object = read_parameters(picture)
    except (ValueError, OSError, SyntaxError, RecursionError, Image.DecompressionBombError):
        return None  # a file of another program, or no picture
    return found if isinstance(found, dict) else None


def _request(settings: "EvaluateSettings", item: "BenchmarkItem") -> Request:
    size, seed = settings.picture, settings.picture.seed or 0
    given = tuple(ImageReader().read(one, "input") if isinstance(one, bytes) else one for one in item.inputs)
    return Request(prompt=item.instruction, images=given, height=size.height, width=size.width, seed=seed)


def to_draw(settings: "EvaluateSettings", model: Path, items: "Sequence[BenchmarkItem]") -> "list[BenchmarkItem]":
    """The items without a picture; what the model cannot draw, or nobody can open, is told before anything is loaded.

    Raises:
        UserError: If there is such an item; it is named with its file and row.
    """
    pending = [item for item in items if not item.output.is_file()]
    planner = planner_of(ModelFolder(model)) if pending else None
    for item in pending:
        try:
            for number, one in enumerate(item.inputs, start=1):
                ImageReader().read(one, f"input {number}" if isinstance(one, bytes) else None)
            if planner is not None:
                planner.check(_request(settings, item))
        except UserError as error:
            raise error.at(item.where or item.key) from error
    return pending


def draw(settings: "EvaluateSettings", model: Path, pending: "Sequence[BenchmarkItem]") -> None:
    """Draw one picture after another; each is kept as soon as it is whole."""
    generator = load_generator(
        ModelSettings(model=model, lora=settings.lora, device=settings.device, dtype=settings.dtype)
    )
    with progress_bar(len(pending) * settings.sampling.steps, "drawing") as tell:
        for item in pending:
            item.output.parent.mkdir(parents=True, exist_ok=True)
            generator.many([_request(settings, item)], settings.sampling, tell)[0].save(item.output)
