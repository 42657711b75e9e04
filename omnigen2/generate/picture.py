"""What comes out: pictures that know how they were made, also in their files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image, UnidentifiedImageError

from omnigen2.errors import user_errors
from omnigen2.files import written_beside
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.request import ImageInput, Request, Sampling
from omnigen2.pictures import FORMATS, ImageReader, read_told, save_told
from omnigen2.quantize import Quantization

KEY = "omnigen2"
"""What the parameters are called in a picture's file, where they are JSON."""


def asked_for(
    request: Request,
    sampling: Sampling,
    model: str,
    adapters: Sequence[str],
    dtype: str = "",
    polynomial: Sequence[float] = (),
) -> dict[str, Any]:
    """What decides how a picture is drawn, as JSON values, for its file. References are told by name, or by size."""
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "images": [called(image) for image in request.images],
        "height": request.height,
        "width": request.width,
        "seed": request.seed,
        **({"meta": request.meta} if request.meta else {}),
        **asdict(sampling),
        "model": model,
        "adapters": list(adapters),
        **({"dtype": dtype} if dtype else {}),
        **({"cache_polynomial": list(polynomial)} if polynomial and sampling.cache == "teacache" else {}),
    }


def number_format(dtype: torch.dtype, quantize: Quantization) -> str:
    """What pictures call the number format of a model and of its weights."""
    name = str(dtype).removeprefix("torch.")
    return name if quantize == "none" else f"{name}, {quantize} weights"


@dataclass(frozen=True)
class Choice:
    """What a judge gave to pictures of one request, of which it took the best.

    Attributes:
        by: The judge, `NAME` or `NAME: how`.
        first_seed: Of the pictures; the others have the seeds after it.
        scores: Higher is better; None where the judgement failed.
        parts: What the scores were made of, by name.
        said: The judge's words; of a failed judgement, why it failed.
    """

    by: str
    first_seed: int
    scores: tuple[float | None, ...]
    parts: tuple[Mapping[str, float], ...]
    said: tuple[str, ...]

    @property
    def best(self) -> int | None:
        """The number of the picture with the highest score, of equal ones the first; None if no judgement is valid."""
        judged = [(-score, number) for number, score in enumerate(self.scores) if score is not None]
        return min(judged)[1] if judged else None

    @property
    def failed(self) -> int:
        """Judgements that failed."""
        return self.scores.count(None)

    def parameters(self, seed: int | None) -> dict[str, Any]:
        """What the picture of that seed tells: the scores of all, and if it is the best that it was chosen."""
        told = {name: value for name, value in asdict(self).items() if name != "by"}
        best = self.best is not None and seed == self.first_seed + self.best
        return {**({"best_of": len(self.scores), "chosen_by": self.by} if best else {}), "choice": told}


@dataclass(frozen=True)
class Picture:
    """A picture and everything that made it.

    Attributes:
        image: RGB.
        request: What was asked for, with the size and the seed that were used.
        sampling: How it was sampled.
        model: Name of the model folder, without its place on the disk; empty for a model built in memory.
        adapters: Names of the LoRA adapters that were loaded, each with `:` and its strength if that is not 1.
        shift: The time shift that was followed, in words.
        choice: What it and others of its request got, if a judge has chosen.
        dtype: What the transformer worked in, such as `bfloat16`, or `bfloat16, int8 weights`.
        polynomial: Coefficients by which the cache `"teacache"` decides; it takes the plain change if there are none.
    """

    image: Image.Image
    request: Request
    sampling: Sampling
    model: str = ""
    adapters: tuple[str, ...] = ()
    shift: str = ""
    choice: Choice | None = None
    dtype: str = ""
    polynomial: tuple[float, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything as JSON values, see `asked_for`."""
        wanted = asked_for(self.request, self.sampling, self.model, self.adapters, self.dtype, self.polynomial)
        chosen = {} if self.choice is None else self.choice.parameters(self.request.seed)
        return {**wanted, "shift": self.shift, "version": version("omnigen2"), **chosen}

    def save(self, path: str | Path) -> Path:
        """Write a file with the parameters inside. A file of that name is replaced, at once and whole.

        Args:
            path: Ends in `.png`, in `.webp` (without loss too), or in `.jpg`, which changes pixels a little; otherwise
                it is refused. Its folder is made.

        Returns:
            The path.
        """
        return save_picture(self.image, self.parameters, Path(path))


@dataclass(frozen=True)
class Result:
    """The pictures of one call, one per seed."""

    pictures: tuple[Picture, ...]

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The bare images."""
        return tuple(picture.image for picture in self.pictures)


@dataclass(frozen=True)
class Reply:
    """The model's turn in a conversation.

    Attributes:
        text: Its words.
        pictures: What it drew, empty unless it said `<|img|>`.
    """

    text: str
    pictures: tuple[Picture, ...] = ()


def save_picture(image: Image.Image, parameters: Mapping[str, Any], path: Path) -> Path:
    """Write a picture with parameters of JSON values, see `Picture.save`."""
    check_picture_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix.lower()
    words = json.dumps(parameters, ensure_ascii=ending != ".png")
    with written_beside(path) as draft, user_errors():
        save_told(image, draft, ending, KEY, words)
    return path


def check_picture_name(path: Path) -> None:
    """Refuse names of files that could not hold the parameters.

    Raises:
        GenerateError: If the name does not end in one of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise GenerateError(
            f"pictures are written as PNG, WebP or JPEG, got the name {path.name or path}",
            "end it in .png, .webp or .jpg; the parameters are stored inside",
        )


def read_parameters(path: str | Path) -> dict[str, Any]:
    """The parameters that `Picture.save` stored, as JSON values.

    Raises:
        GenerateError: If there is no such file, or it is no picture of ours.
    """
    ours = "give a picture that this library wrote"
    if not Path(path).is_file():
        raise GenerateError(f"there is no picture {path}", ours)
    try:
        text = read_told(Path(path), KEY)
        found: Any = None if text is None else json.loads(text)
    except UnidentifiedImageError as error:
        raise GenerateError(f"{path} is no PNG, WebP or JPEG file", ours) from error
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise GenerateError(f"{path} cannot be read ({error})", ours) from error
    if not isinstance(found, dict):
        raise GenerateError(f"{path} has no parameters inside", "other programs drop them when they save a picture")
    return cast(dict[str, Any], found)


def called(image: ImageInput) -> str:
    """What parameters call a reference: its file's name without its place, or its size."""
    if isinstance(image, bytes):
        height, width = ImageReader().stated_size(image) or (0, 0)
        return f"<{width}x{height}>"
    return f"<{image.width}x{image.height}>" if isinstance(image, Image.Image) else Path(image).name
