"""What is asked before a transformer is built, and what is said of where it started."""

from typing import Protocol, runtime_checkable

from torch import nn

from omnigen2.data import DataError, TextLimit
from omnigen2.training.flow_matching.data_module import ImageData
from omnigen2.training.parts import TransformerPart, adapted_layers


@runtime_checkable
class CountsReferences(Protocol):
    """Data that know how many references their samples have, without opening pictures."""

    def most_references(self) -> tuple[int, str]:
        """The largest number of references of a sample, also of those for validation, and where it is, in words."""
        ...


@runtime_checkable
class HasTexts(Protocol):
    """Data that know their texts, without opening pictures."""

    def check_texts(self, limit: TextLimit) -> None:
        """Refuse instructions that are too long.

        Raises:
            DataError: If one is.
        """
        ...


def check_samples(data: object, part: TransformerPart, weights: str | None, texts: TextLimit | None = None) -> None:
    """Compare data with a transformer and a reader of texts that are not built yet.

    Args:
        texts: How long instructions may be; of any length if None.

    Raises:
        DataError: If a sample has more references than it knows, nothing to draw, or too long a text.
    """
    if texts is not None and isinstance(data, HasTexts):
        data.check_texts(texts)
    if not isinstance(data, CountsReferences):
        return
    most, where = data.most_references()  # first: what is wrong with data is told where there are no weights yet
    known = part.sizes(weights).max_references
    if known and most > known:
        raise DataError(
            f"{where} has {most} references, and the transformer knows at most {known}",
            "leave some out, or remove the sample",
        )
    if isinstance(data, ImageData) and (undrawn := data.looked_through().undrawn):
        raise DataError(
            f"{undrawn} has no target to draw", "leave sources of understanding tasks out of flow training (weight 0)"
        )


def start_in_words(model: nn.Module, weights: str | None, adapter: str | None) -> str:
    """Where a training has started, for its report; nothing if from new weights."""
    if weights is None:
        return ""
    if adapter is None:
        return f"weights {weights}"
    layers = adapted_layers(model).values()
    ranks = sorted({int(rank) for layer in layers for rank in layer.r.values()})
    return f"adapter {adapter} (rank {', '.join(map(str, ranks))}, {len(layers)} layers) on weights {weights}"
