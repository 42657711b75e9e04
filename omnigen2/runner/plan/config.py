"""From arguments to a checked configuration, and from that to a trainer, a model and data.

The parser is LightningCLI's with two settings that matter: `omegaconf+` resolves `${…}` last, after
all layers and options (plain `omegaconf` resolves per file and leaves stale values), and references
may be absolute.
"""

from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace, set_dumper, set_parsing_settings
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger
from omegaconf.errors import OmegaConfBaseException
from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.files import MOST_STEPS, check_most
from omnigen2.runner.keep import SeedsLater
from omnigen2.runner.recipe import Document, as_yaml, explain, merged, replaced

Value = None | bool | int | float | list[Any] | dict[str, Any] | str
"""What stands in the block `vars`. Not `Any`: the parser would read the text `a: b` as a mapping."""

SEEDS = 2**32
"""So many seeds NumPy's global generator has."""

TrainerArguments = Callable[[list[Callback], list[Logger]], dict[str, Any]]
"""From the callbacks and the loggers of the recipe to the arguments that replace the recipe's own."""

set_parsing_settings(omegaconf_absolute_to_relative_paths=True, instantiate_subclass_spec_in_any=False)
set_dumper("yaml", as_yaml)


class _RecipeCLI(SeedsLater):
    """LightningCLI cut in two: its parser reads every recipe, and builds later what it has read."""

    config: Namespace
    config_init: Namespace
    datamodule: LightningDataModule | None
    model: LightningModule
    trainer: Trainer

    def __init__(self) -> None:
        self.trainer_arguments: TrainerArguments | None = None
        super().__init__(
            save_config_callback=None,
            seed_everything_default=0,
            parser_kwargs={"parser_mode": "omegaconf+", "exit_on_error": False, "allow_abbrev": False},
            args=[],
            run=False,
        )

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--vars", type=dict[str, Value], default={}, help="Values for ${vars.name}.")

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read nothing while the parser is made."""
        self.config = Namespace()

    @override
    def instantiate_classes(self) -> None:
        """Build nothing while the parser is made."""

    def built(self) -> tuple[Trainer, LightningModule, LightningDataModule | None]:
        """Build what `config` says."""
        vars(self).pop("config_dump", None)  # what `save_hyperparameters` saves; Lightning keeps the first one for ever
        super().instantiate_classes()
        found = self.trainer, self.model, self.datamodule
        del self.trainer, self.model, self.datamodule, self.config_init  # they are large, and this is shared
        return found

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the runner's callbacks, logger and folder to the recipe's trainer."""
        recipe = self.config_init["trainer"]
        if self.trainer_arguments is not None:
            kwargs |= self.trainer_arguments(_as_list(recipe["callbacks"]), _as_list(recipe["logger"]))
        return super().instantiate_trainer(**kwargs)


_shared = cache(_RecipeCLI)
"""One parser for all recipes: making one takes as long as reading a recipe."""


@dataclass(frozen=True)
class Config:
    """The checked settings of one run.

    Attributes:
        values: All of them, as a plain recipe holds them.
        namespace: The same as the parser has read them, from which classes are built.
    """

    values: Document
    namespace: Namespace

    @property
    def text(self) -> str:
        """A plain recipe that runs the same."""
        return as_yaml(self.values)

    @property
    def seed(self) -> int | None:
        """The seed of the run; None if the recipe wants none."""
        seed = self.values["seed_everything"]
        return None if seed is False else int(seed)

    def seeded(self, seed: int) -> "Config":
        """The same with another seed."""
        namespace = self.namespace.clone()
        namespace["seed_everything"] = seed
        return replace(self, values=self.values | {"seed_everything": seed}, namespace=namespace)

    def with_arguments(self, arguments: Mapping[str, str | None]) -> "Config":
        """The same with other arguments of the model."""
        namespace, changed = self.namespace.clone(), {"model": {"init_args": dict(arguments)}}
        for name, value in arguments.items():
            namespace[f"model.init_args.{name}"] = value
        return replace(self, values=merged([self.values, changed]), namespace=namespace)

    def filled(self, change: Callable[[str], str]) -> "Config":
        """The same with every text changed."""
        return replace(self, values=replaced(self.values, change), namespace=replaced(self.namespace, change))

    def build(
        self, trainer_arguments: TrainerArguments, folder: Path | None = None
    ) -> tuple[Trainer, LightningModule, LightningDataModule | None]:
        """Build the trainer, the model and the data (None if the model has its own loaders).

        Args:
            trainer_arguments: Makes the arguments of the trainer that replace the recipe's.
            folder: Of the run: what loggers write stands in there, wherever their `save_dir` is a relative path.
        """
        cli = _shared()
        cli.trainer_arguments, cli.config = trainer_arguments, self.namespace.clone()
        if folder is not None:
            for logger in _as_list(cli.config["trainer"]["logger"]):
                if "save_dir" in (arguments := logger.get("init_args") or {}):
                    arguments["save_dir"] = str(folder / (arguments["save_dir"] or ""))
        return cli.built()


def parse(arguments: Sequence[str], files: Sequence[Path] = ()) -> Config:
    """Read and check the settings of a plain recipe; this touches no random state.

    Args:
        arguments: `--config=…` for each layer, then `--key=value` for each option.
        files: The files among the layers, to name them in messages.

    Raises:
        UserError: If a key, a value, a class or a reference is wrong.
    """
    parser = _shared().parser
    try:
        namespace = parser.parse_args(list(arguments))
    except (ArgumentError, OmegaConfBaseException) as error:
        reason = explain(error, parser, list(arguments), files)
        raise reason from error
    text = parser.dump(namespace, format="yaml", skip_unset=False, skip_validation=True)
    values: Document = yaml.load(text, Loader=yaml.CSafeLoader)  # noqa: S506 (a SafeLoader)
    seed = values["seed_everything"]
    written = "write a number, or false to leave the random state alone"
    if seed is True:
        raise UserError(
            "seed_everything: true draws another seed at every start, so that a stopped run could not go on", written
        )
    if seed is None:
        raise UserError("seed_everything has no value", written)
    if seed is not False and not 0 <= int(seed) < SEEDS:
        raise UserError(f"seed_everything must be at least 0 and below {SEEDS} (2^32), got {seed}", "use another seed")
    if not isinstance(values["trainer"], dict):
        raise UserError(f"trainer is {values['trainer']!r:.60}, expected settings", "write `trainer: {max_steps: 100}`")
    for limit in ("max_steps", "max_epochs"):
        check_most(f"trainer.{limit}", values["trainer"][limit], MOST_STEPS)
    if values["model"] is None:
        raise UserError("the recipe has no model; it needs `model: {class_path: …, init_args: {…}}`")
    return Config(values, namespace)


def as_lines(found: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Changes as lines such as `trainer.max_steps: 100, now 200`."""
    return [f"{key}: {_short(before)}, now {_short(after)}" for key, (before, after) in found.items()]


def _as_list(value: Any) -> list[Any]:
    # Lightning takes several, one, or none; and for loggers a flag.
    if isinstance(value, list):
        return value
    return [] if value is None or isinstance(value, bool) else [value]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
