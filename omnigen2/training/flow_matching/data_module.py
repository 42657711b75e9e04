"""Pictures of one's own as training data: from a spec, jsonl files, or the chunks of `omnigen2 data optimize`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Literal

import lightning as L
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from omnigen2.data import (
    Collate,
    ConditionDropout,
    DataError,
    Folders,
    Looked,
    Mixture,
    Origins,
    Planner,
    TextLimit,
    TokenBudget,
    check_budget,
    check_data,
    has_captions,
    has_chunks,
)
from omnigen2.data.batches import Mixing
from omnigen2.files import MOST_STEPS, check_most
from omnigen2.layout import ImageSegment, Layout, Segment, TextSegment
from omnigen2.training.flow_matching.data_parts import DataPart, Reading, is_there, named_part, open_parts

TYPICAL_TEXT = 64
"""Text tokens of a sample in an estimate that no data are read for."""


@dataclass(frozen=True)
class Validation:
    """What a model is measured on.

    Attributes:
        parts: By name.
        batches: Batches of one validation on one rank, at least 1; the same ones every time.
    """

    parts: dict[str, DataPart]
    batches: int = 1


class ImageData(L.LightningDataModule):
    """Batches of real samples, mixed by weight and packed up to a budget of tokens.

    Nothing is read before the first batch is asked for, so a recipe can be built where its data are not. A folder of
    chunks is opened once in a run, whatever it is used for. A run that goes on gets the very batches that it would have
    got, whatever the number of workers; Lightning restores the position by itself.

    Args:
        train: The parts of the mixture by name. A name is a part of what the order depends on.
        steps: Optimizer steps of the training; usually `${trainer.max_steps}`.
        budget: What a batch may hold, and the sizes that images get.
        validation: Left out if None.
        dropout: Which conditions are dropped in training; none if None.
        mixing: Whether a source is chosen for each batch or for each sample, see `omnigen2.data.Planner`.
        reading: Processes, text lengths, and what to do with broken samples.
        seed: Of order and choice, at least 0.

    Raises:
        DataError: If `steps` is below 1 or there are no parts; and, when the first batch is asked for, if a path or
            what it holds cannot be used.
    """

    may_differ = ("reading.broken", "reading.workers")
    """Settings that a run may go on with otherwise: its batches are those that they would have been."""

    def __init__(
        self,
        train: dict[str, DataPart],
        steps: int,
        budget: TokenBudget,
        validation: Validation | None = None,
        dropout: ConditionDropout | None = None,
        mixing: Mixing = "batch",
        reading: Reading | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_most("steps of ImageData", steps, MOST_STEPS, DataError)
        if steps < 1 or seed < 0:
            raise DataError(f"ImageData needs steps >= 1 and seed >= 0, got {steps} and {seed}")
        if not train or (validation is not None and not validation.parts):
            raise DataError("ImageData needs at least 1 part of data; write `train: {NAME: {path: FILE_OR_FOLDER}}`")
        self.parts = dict(train)
        self.steps = steps
        self.budget = budget
        self.validation = validation
        self.dropout = dropout
        self.mixing: Mixing = mixing
        self.reading = Reading() if reading is None else reading
        self.seed = seed
        self._looked: Looked | None = None
        self._folders = Folders()
        self._said: dict[str, None] = {}
        self._mixtures: dict[str, Mixture] = {}

    @override
    def train_dataloader(self) -> Mixture:
        """As many batches as the training has; an epoch of the Trainer is all of it."""
        batches = self.steps * (1 if self.trainer is None else self.trainer.accumulate_grad_batches)
        return self._mixture("training", self.parts, batches, self.mixing, self.dropout, "continue")

    @override
    def val_dataloader(self) -> Mixture | list[Mixture]:
        """The same batches every time, with all parts in each and all conditions; none without `validation`."""
        if self.validation is None:
            return []
        return self._mixture("validation", self.validation.parts, self.validation.batches, "sample", None, "repeat")

    @override
    def teardown(self, stage: str) -> None:
        self._folders = Folders()

    def left_out(self) -> list[str]:
        """What was left out up to now, in sentences: of any process, and before a restart too."""
        drawn = [
            f"{one.broken} times a sample of the {use} data could not be read and was left out: {'; '.join(one.named)}"
            for use, one in self._mixtures.items()
            if one.broken
        ]
        return [*self._said, *drawn]

    def most_references(self) -> tuple[int, str]:
        """The largest number of references of a sample, and which one it is, by `looked_through`."""
        found = self.looked_through()
        return found.references, found.most

    def check_texts(self, limit: TextLimit) -> None:
        """Look through all data, and refuse instructions that are too long and are to be read in training."""
        self._looked = None
        self.looked_through(replace(limit, reads_stored=self.reading.precomputed == "ignore"))

    def looked_through(self, texts: TextLimit | None = None) -> Looked:
        """Look through all data before anything costly is done: every line is read, and every file looked for.

        Pictures are not opened. What can only be found when they are is a matter of `reading.broken`.

        Args:
            texts: How long instructions may be, of what is drawn from; of any length if None.

        Raises:
            DataError: If something is missing or wrong, with file and line; last, if a part does not exist.
        """
        if self._looked is None:
            parts = [*({} if self.validation is None else self.validation.parts).items(), *self.parts.items()]
            drawn = {part.path for _, part in parts if part.weight > 0}
            paths: dict[str, Looked] = {}
            for name, part in sorted(parts, key=lambda one: not is_there(one[1])):
                if part.path not in paths:
                    with named_part(name, part):
                        limit = texts if part.path in drawn else None
                        paths[part.path] = check_data(part.path, self.reading.bad_records, limit, self._folders)
            self._looked = reduce(Looked.together, (found for path, found in paths.items() if path in drawn), Looked())
        return self._looked

    def stored_origins(self) -> dict[str, Origins]:
        """What made that which the chunks bring and which is to be used, by the name of the data; of validation too."""
        found: dict[str, Origins] = {}
        if self.reading.precomputed == "use":
            for name, part in [
                *({} if self.validation is None else self.validation.parts).items(),
                *self.parts.items(),
            ]:
                folder = Path(part.path)
                if has_chunks(part.path) or (folder.is_dir() and not has_captions(folder)):
                    for inner, source in self._folders(part.path).sources.items():
                        found[f"{name}/{inner}"] = source.origins()
        return found

    def planned_layout(self) -> Layout:
        """A full batch of one rank as far as it is known without reading data, to estimate what a step costs.

        It has as many pictures of the largest size as fit, each with a text of `TYPICAL_TEXT` tokens. References count
        like other tokens, so a mixture with references costs about the same, a little more in attention.

        Raises:
            DataError: If not one of the largest pictures fits the budget.
        """
        side = self.budget.resize.multiple
        width = int(self.budget.resize.max_pixels**0.5) // side
        sample: tuple[Segment, ...] = (TextSegment(TYPICAL_TEXT), ImageSegment(width, width, "target"))
        count = self.budget.tokens // (TYPICAL_TEXT + width * width)
        if count < 1:
            raise DataError(
                f"a picture of {self.budget.resize.max_pixels} pixels takes {width * width} tokens, and its text "
                f"{TYPICAL_TEXT}; the budget is {self.budget.tokens}: raise it, or lower max_pixels"
            )
        return Layout((sample,) * min(count, self.budget.max_samples or count))

    def _say(self, sentence: str) -> None:
        rank_zero_warn(sentence)
        self._said[sentence] = None

    def _mixture(
        self,
        use: str,
        parts: Mapping[str, DataPart],
        batches: int,
        mixing: Mixing,
        dropout: ConditionDropout | None,
        epochs: Literal["continue", "repeat"],
    ) -> Mixture:
        sources, weights = open_parts(parts, self.reading, self._say, self._folders)
        reading = self.reading
        if reading.precomputed == "use":  # now, not when a rare source is drawn for the first time
            for name, source in sources.items():
                if (origin := source.origins().latents) is not None:
                    origin.check(f"the data {name!r}", resize=self.budget.resize)
        drawn = {name: source for name, source in sources.items() if weights[name] > 0}
        for name, count in check_budget(drawn, self.budget).items():
            self._say(f"{count} of {len(drawn[name])} samples of {name} are above the budget and are left out")
        planner = Planner(sources, weights, self.budget, mixing, self.seed)
        collate = Collate(dropout, reading.reader, reading.broken, reading.precomputed)
        made = self._mixtures[use] = Mixture(planner, collate, batches, reading.workers, epochs)
        return made
