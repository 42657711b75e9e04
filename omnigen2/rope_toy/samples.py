"""A few answers kept as files while a model learns, to be looked at later."""

from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor

from omnigen2.dit import unpatchify
from omnigen2.files import save_tensors
from omnigen2.layout import ImageRole, unpack
from omnigen2.rope_toy.task import Patches, ToyBatch


class Answer(NamedTuple):
    """A question and a model's answer to it.

    Attributes:
        references: The pictures, each of shape (3, height, width).
        asked: Which of them was wanted, counted from 0.
        target: The right answer, shape (3, height, width).
        answer: The model's, same shape; its values may leave [-1, 1].
    """

    references: tuple[Float[Tensor, "3 _ _"], ...]
    asked: int
    target: Float[Tensor, "3 _ _"]
    answer: Float[Tensor, "3 _ _"]


def answers(batch: ToyBatch, predicted: Patches, patch_size: int) -> list[Answer]:
    """Unpack questions and a model's answers to pictures."""

    def pictures(patches: Patches, role: ImageRole) -> list[Float[Tensor, "3 _ _"]]:
        tokens = unpack(patches, batch.layout.segments(role))
        return [unpatchify(t, image, patch_size) for t, image in zip(tokens, batch.layout.images(role), strict=True)]

    references = iter(pictures(batch.references, "reference"))
    counts = [sum(segment.kind == "reference" for segment in sample) for sample in batch.layout.batch]
    grouped = [tuple(next(references) for _ in range(count)) for count in counts]
    targets, predictions = pictures(batch.target, "target"), pictures(predicted, "target")
    asked: list[int] = batch.asked.tolist()
    return [Answer(*fields) for fields in zip(grouped, asked, targets, predictions, strict=True)]


def richest(found: list[Answer], count: int) -> list[Answer]:
    """The questions that are best to look at: with the most references, and no reference of one flat colour.

    The best comes first; they are the same whatever the answers.
    """

    def richness(answer: Answer) -> tuple[int, float]:
        return len(answer.references), min(float(picture.flatten(1).std(1).mean()) for picture in answer.references)

    return sorted(found, key=richness, reverse=True)[:count]


def save_answers(found: list[Answer], file: Path) -> None:
    """Write at least one answer to a safetensors file, whose folder is made if need be."""
    tensors: dict[str, Tensor] = {}
    for number, answer in enumerate(found):
        tensors |= {f"{number}.reference.{k}": picture for k, picture in enumerate(answer.references)}
        tensors |= {f"{number}.target": answer.target, f"{number}.answer": answer.answer}
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"asked": ",".join(str(answer.asked) for answer in found)}
    save_tensors(tensors, file, metadata)


def load_answers(file: Path) -> list[Answer]:
    """Read what `save_answers` wrote."""
    with safe_open(file, framework="pt") as content:
        asked = [int(k) for k in content.metadata()["asked"].split(",")]
        names = sorted(content.keys())
        return [
            Answer(
                references=tuple(content.get_tensor(name) for name in names if name.startswith(f"{number}.reference.")),
                asked=k,
                target=content.get_tensor(f"{number}.target"),
                answer=content.get_tensor(f"{number}.answer"),
            )
            for number, k in enumerate(asked)
        ]
