"""What all trainings of the transformer share: the frozen encoders, weights in and out, pictures to look at."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.distributed.fsdp import FSDPModule
from typing_extensions import override

from omnigen2.adapters import LoRA, is_adapter, save_lora
from omnigen2.data.batches import Batch, Example, Pixels
from omnigen2.dit import DiffusionTransformer
from omnigen2.encoders import HiddenStateBridge, PromptRules
from omnigen2.errors import UserError, check_choice
from omnigen2.flow import TimeShift
from omnigen2.generate import denoise, scheduler_config
from omnigen2.runner.keep import carry_on, saves_folders, trainer_of
from omnigen2.shards import is_first_process
from omnigen2.training.callbacks import EMA, GridItem
from omnigen2.training.flow_matching.checks import check_samples, start_in_words
from omnigen2.training.flow_matching.data_module import ImageData
from omnigen2.training.flow_matching.drawing import Drawing
from omnigen2.training.flow_matching.encoded import BatchEncoder
from omnigen2.training.flow_matching.left_out import LeftOutData
from omnigen2.training.flow_matching.text_states import TextStates, TypicalTexts
from omnigen2.training.parts import (
    ADAPTER,
    CodecSource,
    LearningRate,
    OptimizerRecipe,
    Saved,
    Stream,
    TransformerPart,
    VLMSource,
    check_plain,
    companion_example,
    limit_of_drawings,
    save_plain_transformer,
    save_rest,
    scheduled,
    shard_transformer,
)


class SettingsError(UserError):
    """Settings of a recipe that do not go together."""


@dataclass(frozen=True)
class TextPart:
    """What a recipe says about the reading of instructions.

    Attributes:
        encoder: The frozen vision-language model.
        bridge: Which of its states are passed on; the released model's by default.
        rules: How prompts become tokens; the official training cuts at 888.
        remembered: States of so many instructions are kept, see `TextStates`.
        typical: Texts whose states a new transformer's text projection is whitened for, see
            `omnigen2.dit.embedding.TextEmbedder.whiten`; it is not if None, nor where a run starts from weights.
    """

    encoder: VLMSource
    bridge: HiddenStateBridge = field(default_factory=HiddenStateBridge)
    rules: PromptRules = field(default_factory=lambda: PromptRules(max_tokens=888, overflow="cut"))
    remembered: int = 0
    typical: TypicalTexts | None = None

    def load(self, device: torch.device) -> TextStates:
        """Load the model, which goes to the device when something must be read."""
        return TextStates(self.encoder.load(self.bridge, self.rules), self.remembered, device)


class FlowModel(L.LightningModule):
    """A transformer between frozen encoders: built, stored and drawn with. What it learns is a subclass's matter.

    Args:
        transformer: Its sizes or nothing (then those of the weights), and how it is run.
        text: What reads instructions; frozen.
        codec: What makes latents; frozen.
        shift: The time shift of drawing.
        optimizer: Makes the optimizer.
        schedule: Of the learning rate.
        weights: A model folder with `transformer/` to start from; new weights if None.
        optimizer_state: A file to go on with the optimizer of another run: its `weights/optimizer.safetensors`.
        drawing: How samples are drawn, for sheets and evaluations.
        saved: What a run leaves in `weights/`, see `Saved`: the transformer (or its adapters), a whole model folder, or
            the transformer with its adapters added, for another stage to start from.
        adapter: A trained adapter to go on from, beside the `weights` that it was trained on: the `weights/adapter` of
            another run, or any that `omnigen2 generate --lora` reads.
    """

    def __init__(  # noqa: PLR0913 (each is a key of the recipe)
        self,
        transformer: TransformerPart,
        text: TextPart,
        codec: CodecSource,
        shift: TimeShift,
        optimizer: OptimizerRecipe,
        schedule: LearningRate,
        weights: str | None = None,
        optimizer_state: str | None = None,
        drawing: Drawing | None = None,
        saved: Saved = "transformer",
        adapter: str | None = None,
    ) -> None:
        super().__init__()
        if adapter is not None and weights is None:
            raise SettingsError(
                f"the run starts from the adapter {adapter} and from no weights",
                "set model.init_args.weights to the model that it was trained on",
            )
        check_choice("saved", saved, Saved)
        if saved == "model":
            scheduler_config(shift, patch_size=1)  # refused before anything is trained, whatever the patches
            check_plain(text.encoder, "saved is model, and a folder holds plain weights")
        self.part = transformer
        self.text_part = text
        self.codec_source = codec
        self.shift = shift
        self.optimizer_recipe = optimizer
        self.schedule = schedule
        self.weights = weights
        self.optimizer_state = optimizer_state
        self.drawing = Drawing() if drawing is None else drawing
        self.saved: Saved = saved
        self.seed = torch.initial_seed()
        self.adapter = adapter
        self.trains_adapters = transformer.lora is not None or adapter is not None
        self.strict_loading = not self.trains_adapters
        self.transformer: DiffusionTransformer | None = None
        self._encoder: BatchEncoder | None = None  # no submodule: neither trained, sharded nor saved

    @property
    def dit(self) -> DiffusionTransformer:
        """The transformer.

        Raises:
            RuntimeError: If `configure_model` was not called yet.
        """
        if self.transformer is None:
            raise RuntimeError("the transformer is built by configure_model(); call it, or let a Trainer do so")
        return self.transformer

    @property
    def encoder(self) -> BatchEncoder:
        """The frozen encoders, loaded when they are first used, on this process's device."""
        if self._encoder is None:
            codec = self.codec_source.load().to(self.device)
            encoder = BatchEncoder(self.text_part.load(self.device), codec, self.dit.config)
            trainer = trainer_of(self)
            if trainer is not None and isinstance(data := cast(Any, trainer).datamodule, ImageData):
                encoder.check_stored(data.stored_origins())  # not when a rare source is drawn for the first time
            self._encoder = encoder
        return self._encoder

    @override
    def setup(self, stage: str) -> None:
        """Compare the data with the transformer, before it is built."""
        if stage == "fit":
            self.check_data(cast(Any, self.trainer).datamodule)

    @override
    def configure_callbacks(self) -> list[Callback]:
        """What says in the report which data were left out."""
        data = cast(Any, self.trainer).datamodule
        return [LeftOutData(data)] if isinstance(data, ImageData) else []

    def check_data(self, data: object) -> None:
        """Refuse data that the transformer cannot take, as far as is known without opening pictures."""
        part = self.text_part
        check_samples(data, self.part, self.weights, limit_of_drawings(part.encoder, part.rules))

    def starts_from(self) -> str:
        """Where the training has started, for its report."""
        return start_in_words(self.dit, self.weights, self.adapter)

    @override
    def configure_model(self) -> None:
        """Build the transformer, once, and shard it if the strategy does that.

        Raises:
            SettingsError: If checkpoints of adapters were to be folders of shards.
        """
        if self.transformer is not None:
            return
        trainer = trainer_of(self)
        if trainer is not None and saves_folders(trainer.strategy) and self.trains_adapters:
            raise SettingsError(
                "checkpoints of adapters are single files, since Lightning reads a folder of shards only if it has all "
                "weights; set save_distributed_checkpoint: false for the ModelParallelStrategy"
            )
        devices = 1 if trainer is None else trainer.world_size
        self.part.check_base(self.adapter is not None, self.saved, devices)
        transformer = self.part.build(self.weights, self.adapter)
        if self.weights is None and self.text_part.typical is not None:
            self._whiten(transformer, self.text_part.typical)
        self.transformer = self.placed(transformer)

    def placed(self, transformer: DiffusionTransformer) -> DiffusionTransformer:
        """Shard a whole transformer, in place, if the strategy does that; returns it."""
        trainer = trainer_of(self)
        if trainer is not None and isinstance(trainer.strategy, ModelParallelStrategy):
            precision = "bf16" if str(trainer.precision).startswith("bf16") else "fp32"
            shard_transformer(transformer, cast(Any, self.device_mesh)["data_parallel"], precision)
        return transformer

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimizer, and its schedule, which advances every step.

        Raises:
            SettingsError: If the trainer has no `max_steps`.
        """
        if self.trainer.max_steps < 0:
            raise SettingsError(
                "the learning rate depends on the number of steps: set trainer.max_steps, not max_epochs"
            )
        optimizer = self.optimizer_recipe.build(self.named_parameters())
        if self.optimizer_state is not None:
            carry_on(optimizer, self.optimizer_state)
        return scheduled(optimizer, self.schedule, max(1, self.trainer.max_steps))

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep adapters alone where only they are trained."""
        if self.trains_adapters:
            state: dict[str, Any] = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: value for name, value in state.items() if is_adapter(name)}

    def save_weights(self, folder: Path) -> None:
        """Write what another run can start from, see `saved`: averaged weights where the run has an `EMA`."""
        with ExitStack() as stack:
            for callback in cast(list[Any], cast(Any, self.trainer).callbacks):
                if isinstance(callback, EMA):
                    stack.enter_context(callback.applied(self))
            if self.trains_adapters and self.saved != "merged":
                save_lora(
                    self.dit, folder / ADAPTER, LoRA().layout if self.part.lora is None else self.part.lora.layout
                )
            else:
                save_plain_transformer(self.dit, folder)
        if self.saved == "model" and is_first_process():
            save_rest(self.encoder.text.encoder, self.encoder.codec, self.shift, self.dit.config.patch_size, folder)

    @torch.no_grad()
    def draw(self, examples: Sequence[Example], first: int = 0) -> list[Pixels]:
        """Draw what examples ask for, in one packed batch and from the same noise every time.

        If the transformer is sharded, every process must call it, with examples of any kind.

        Args:
            examples: With targets, which give the sizes.
            first: Number of the first of them among all that are drawn: what its noise depends on.

        Returns:
            Pictures in [-1, 1], shape (3, height, width), on the host.
        """
        codec, wanted = self.encoder.codec, list(examples)
        if isinstance(self.dit, FSDPModule) and not any(example.references for example in wanted):
            wanted.append(companion_example(codec.reduction * self.dit.config.patch_size))
        samples = self.encoder.samples(wanted, self.drawing.seed + first)
        latents = denoise(self.dit, samples, self.drawing.sampling, self.shift)
        return [picture.cpu() for picture in codec.decode(latents)[: len(examples)]]

    def sample_grid(self, trainer: Trainer) -> list[GridItem]:
        """Draw the first examples of the validation data, for `SampleGrid`.

        Raises:
            ValueError: If there are no validation data.
        """
        loader: Any = trainer.val_dataloaders
        batch: Batch | None = None if loader is None else next(iter(loader), None)
        if batch is None:
            raise ValueError("sample sheets show validation examples, and there are none; add validation data")
        examples = batch.to(self.device).examples[: self.drawing.shown]
        judge = self.drawing.judge
        items: list[GridItem] = []
        for example, picture in zip(examples, self.draw(examples), strict=True):
            item = GridItem(example.instruction or "(no prompt)", picture, example.references, example.target)
            said = None if judge is None else judge.judge(example, picture)
            items.append(item if said is None else replace(item, verdict=said.reason, passed=said.value == 1))
        return items

    def _whiten(self, transformer: DiffusionTransformer, typical: TypicalTexts) -> None:
        embedder = transformer.text_embedder
        if not embedder.linear.weight.is_meta:
            embedder.whiten(self.text_part.load(torch.device("cpu")).of_texts(typical.texts()).states)

    def seeded(self, stream: Stream, *indices: int) -> torch.Generator:
        """The generator of a stream of torch for the seed of the run and this rank, which is the first index."""
        return stream.torch(self.seed % 2**63, self.global_rank, *indices)
