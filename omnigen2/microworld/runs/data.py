"""The micro-world as training data: drawn when it is needed, every batch a function of its number."""

from collections.abc import Mapping
from typing import TypeVar

import lightning as L
import numpy as np
import torch.distributed as dist
from typing_extensions import override

from omnigen2.data import Batch, ConditionDropout, Example, TokenBudget
from omnigen2.data.batches import Pick
from omnigen2.errors import check_choice
from omnigen2.layout import ImageSegment, Layout, Segment, TextSegment
from omnigen2.microworld.runs.found import FoundExamples
from omnigen2.microworld.tasks import FAMILIES, DrawingTask, Family, kinds_of, sample_task, to_json
from omnigen2.microworld.world import EASY, GlyphTask, ImageSize, Vocabulary, balanced, draw, draw_glyphs
from omnigen2.pictures import ResizePolicy
from omnigen2.training.flow_matching import TypicalTexts
from omnigen2.training.parts import StepLoader, Stream

Name = TypeVar("Name", bound=str)


def drawn_by_share(shares: Mapping[Name, float], rng: np.random.Generator, count: int) -> list[Name]:
    """So many names, each as often as its share of all shares, by chance."""
    names, weights = list(shares), np.array(list(shares.values()))
    return [names[int(number)] for number in rng.choice(len(names), count, p=weights / weights.sum())]


class MicroWorld(L.LightningDataModule):
    """Endless drawn examples of the micro-world, and a fixed set of others for validation.

    Batch number n of a rank is a function of the seed, n and the rank, so a run that goes on sees what it would have
    seen. Kinds within a family of tasks come equally often.

    Args:
        size: Side of all pictures in pixels.
        steps: Batches of one epoch: at least as many as the training has.
        batch_size: Examples of one batch on one rank, at least 1.
        multiple: Side of one token in pixels: the codec's factor times the transformer's patch size.
        validation: Examples of each kind of each family in the validation batch.
        found: Jsonl files to train on in the place of drawn examples, by family, such as those of a curation; read
            when the first batch is asked for. Validation and evaluation draw their own.

    Raises:
        ValueError: If a number is out of range, or a family is unknown or has a share below 0.
    """

    def __init__(
        self,
        size: ImageSize,
        steps: int,
        batch_size: int = 64,
        families: Mapping[Family, float] | None = None,
        vocabulary: Vocabulary = EASY,
        multiple: int = 4,
        dropout: ConditionDropout | None = None,
        validation: int = 8,
        seed: int = 0,
        found: Mapping[Family, str] | None = None,
    ) -> None:
        super().__init__()
        check_choice("the size of MicroWorld", size, ImageSize)
        shares: Mapping[Family, float] = {"text_to_image": 1.0} if families is None else families
        if unknown := sorted(set(shares) - set(FAMILIES)):
            raise ValueError(f"there is no family {', '.join(unknown)}; expected any of {', '.join(FAMILIES)}")
        if found and (unused := sorted(set(found) - {name for name, share in shares.items() if share > 0})):
            raise ValueError(f"found has examples of {', '.join(unused)}, which families does not ask for")
        if min(shares.values(), default=0) < 0 or not any(shares.values()):
            raise ValueError(f"families need shares of at least 0, one of them positive, got {dict(shares)}")
        if batch_size < 1 or validation < 1 or seed < 0:
            raise ValueError(
                f"MicroWorld needs batch_size >= 1, validation >= 1 and seed >= 0, got {batch_size}, {validation} and "
                f"{seed}"
            )
        self.size: ImageSize = size
        self.steps = steps
        self.batch_size = batch_size
        self.families: dict[Family, float] = {name: share for name, share in shares.items() if share > 0}
        self.vocabulary = vocabulary
        self.dropout = dropout
        self.validation = validation
        self.seed = seed
        self.found = FoundExamples(found or {}, size, dropout)
        self.budget = TokenBudget(2**31, ResizePolicy(multiple=multiple))

    @override
    def train_dataloader(self) -> StepLoader[Batch]:
        return StepLoader(self.batch, self.steps)

    @override
    def val_dataloader(self) -> StepLoader[Batch]:
        return StepLoader(lambda _: self.validation_batch(), steps=1)

    def validation_batch(self) -> Batch:
        """`validation` examples of each kind, always the same."""
        rng = Stream.VALIDATION_TASKS.numpy(self.seed)
        kinds = [pair for _ in range(self.validation) for pair in self.kinds()]
        tasks = [sample_task(family, kind, self.vocabulary, rng) for family, kind in kinds]
        examples = [self.example(task, f"validation:{number}") for number, task in enumerate(tasks)]
        return Batch(tuple(examples), self.budget)

    @property
    def trained(self) -> tuple[str, ...]:
        """What training asks for, by family."""
        return tuple(self.families)

    def kinds(self) -> list[tuple[Family, str]]:
        """All kinds of the families that are drawn."""
        return [(family, kind) for family in self.families for kind in kinds_of(family, self.vocabulary)]

    def batch(self, step: int) -> Batch:
        """The training batch of one step, from 0, on this rank."""
        rank = dist.get_rank() if dist.is_initialized() else 0
        rng = Stream.TRAINING_TASKS.numpy(self.seed, rank, step)
        families = drawn_by_share(self.families, rng, self.batch_size)
        rounds = {name: balanced(kinds_of(name, self.vocabulary), self.batch_size, rng) for name in self.families}
        examples: list[Example] = []
        for number, family in enumerate(families):
            if family in self.found.files:
                examples.append(self.found.draw(family, step, rng, self.budget))
                continue
            task = sample_task(family, next(rounds[family]), self.vocabulary, rng)
            drop = None if self.dropout is None else self.dropout(Pick(f"rank {rank}", step, number))
            examples.append(self.example(task, f"step:{step}:{number}", *(drop or (False, False)), meta=False))
        return Batch(tuple(examples), self.budget)

    def planned_layout(self) -> Layout:
        """The first batch of this rank, a word of an instruction counted as a token, to estimate what a step costs."""
        side = self.size // self.budget.resize.multiple
        samples: list[tuple[Segment, ...]] = []
        for example in self.batch(0).examples:
            references = (ImageSegment(side, side, "reference"),) * len(example.references)
            words = len(example.instruction.split())
            text = (TextSegment(words),) if words else ()
            samples.append((*text, *references, ImageSegment(side, side, "target")))
        return Layout(tuple(samples))

    def example(
        self,
        task: DrawingTask | GlyphTask,
        key: str,
        drop_prompt: bool = False,
        drop_references: bool = False,
        meta: bool = True,
    ) -> Example:
        """Draw a task of a family, or letters; with `meta`, the task travels with it, for judges."""
        if isinstance(task, GlyphTask):
            family, references, target = "text_to_image", (), draw_glyphs(task, self.size)
        else:
            family, references, target = task.family, task.references, draw(task.target, self.size)
        return Example(
            task=family,
            source="microworld",
            key=key,
            instruction="" if drop_prompt else task.instruction,
            prompt_dropped=drop_prompt,
            references=() if drop_references else tuple(draw(scene, self.size) for scene in references),
            target=target,
            answer=None,
            meta=to_json(task) if meta else "",
        )


class MicroTexts(TypicalTexts):
    """Instructions of all families of tasks, equally many of each kind.

    Args:
        rounds: Of each kind, at least 1.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, vocabulary: Vocabulary = EASY, rounds: int = 40, seed: int = 0) -> None:
        if rounds < 1 or seed < 0:
            raise ValueError(f"MicroTexts needs rounds >= 1 and seed >= 0, got {rounds} and {seed}")
        self.vocabulary = vocabulary
        self.rounds = rounds
        self.seed = seed

    @override
    def texts(self) -> list[str]:
        rng = Stream.TYPICAL_TEXTS.numpy(self.seed)
        kinds: list[tuple[Family, str]] = [(one, kind) for one in FAMILIES for kind in kinds_of(one, self.vocabulary)]
        tasks = [sample_task(*pair, self.vocabulary, rng) for _ in range(self.rounds) for pair in kinds]
        return [task.instruction for task in tasks]
