"""From arguments to a checked configuration, and from that to a trainer, a model and data.

The parser is LightningCLI's with two settings that matter: `omegaconf+` resolves `${…}` last, after
all layers and options (plain `omegaconf` resolves per file and leaves stale values), and references
may be absolute.
"""

from argparse import ArgumentError
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger
from omegaconf.errors import OmegaConfBaseException
from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.runner.keep import SeedsLater
from omnigen2.runner.recipe import explain, explain_reference, found_at, known_keys

Value = None | bool | int | float | list[Any] | dict[str, Any] | str
"""What stands in the block `vars`. Not `Any`: the parser would read the text `a: b` as a mapping."""

SEEDS = 2**32
"""So many seeds NumPy's global generator has."""

TrainerArguments = Callable[[list[Callback], list[Logger]], dict[str, Any]]
"""From the callbacks and the loggers of the recipe to the arguments that replace the recipe's own."""

set_parsing_settings(omegaconf_absolute_to_relative_paths=True, instantiate_subclass_spec_in_any=False)


class _RecipeCLI(SeedsLater):
    """LightningCLI cut in two: parse now, build later."""

    config: Namespace
    config_init: Namespace
    datamodule: LightningDataModule | None
    model: LightningModule
    trainer: Trainer

    def __init__(self, args: list[str], files: Sequence[Path]) -> None:
        self.files = files
        self.options = [word for word in args if not word.startswith("--config=")]
        self.trainer_arguments: TrainerArguments | None = None
        super().__init__(
            save_config_callback=None,
            seed_everything_default=0,
            parser_kwargs={"parser_mode": "omegaconf+", "exit_on_error": False, "allow_abbrev": False},
            args=args,
            run=False,
        )

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--vars", type=dict[str, Value], default={}, help="Values for ${vars.name}.")

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse without Lightning's warning that `sys.argv` is not used."""
        with _explained(parser, self.files, self.options):
            self.config = parser.parse_args(args)

    @override
    def instantiate_classes(self) -> None:
        """Build nothing while parsing."""
        if self.trainer_arguments is not None:
            with _explained(self.parser, self.files, self.options):
                super().instantiate_classes()

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the runner's callbacks, logger and folder to the recipe's trainer."""
        recipe = self.config_init["trainer"]
        if self.trainer_arguments is not None:
            kwargs |= self.trainer_arguments(_as_list(recipe["callbacks"]), _as_list(recipe["logger"]))
        return super().instantiate_trainer(**kwargs)


class Config:
    """A checked configuration of a plain recipe.

    Args:
        arguments: `--config=…` for each layer, then `--key=value` for each override.
        files: The files among the layers, to name them in messages.

    Raises:
        UserError: If a key, a value, a class or a reference is wrong.
    """

    def __init__(self, arguments: Sequence[str], files: Sequence[Path] = ()) -> None:
        self.files = tuple(files)
        self._cli = _RecipeCLI(list(arguments), self.files)
        self.text = str(self._cli.parser.dump(self._cli.config, format="yaml", skip_unset=False))
        self.values = cast(dict[str, Any], yaml.safe_load(self.text))
        if self.values["seed_everything"] is True:
            raise UserError(
                "seed_everything: true draws another seed at every start, so that a stopped run could not go on",
                "write a number, or false to leave the random state alone",
            )
        seed = self.values["seed_everything"]
        if seed is None:
            raise UserError("seed_everything has no value", "write a number, or false to leave the random state alone")
        if seed is not False and not 0 <= int(seed) < SEEDS:
            raise UserError(
                f"seed_everything must be at least 0 and below {SEEDS} (2^32), got {seed}", "use another seed"
            )
        if self.values["model"] is None:
            raise UserError("the recipe has no model; it needs `model: {class_path: …, init_args: {…}}`")

    @property
    def seed(self) -> int | None:
        """The seed of the run; None if the recipe wants none."""
        seed = self.values["seed_everything"]
        return None if seed is False else int(seed)

    def build(
        self, trainer_arguments: TrainerArguments, folder: Path | None = None
    ) -> tuple[Trainer, LightningModule, LightningDataModule | None]:
        """Build the trainer, the model and the data (None if the model has its own loaders).

        Args:
            trainer_arguments: Makes the arguments of the trainer that replace the recipe's.
            folder: Of the run: what loggers write stands in there, wherever their `save_dir` is a relative path.
        """
        self._cli.trainer_arguments = trainer_arguments
        if folder is not None:
            for logger in _as_list(self._cli.config["trainer"]["logger"]):
                if "save_dir" in (arguments := logger.get("init_args") or {}):
                    arguments["save_dir"] = str(folder / (arguments["save_dir"] or ""))
        self._cli.instantiate_classes()
        return self._cli.trainer, self._cli.model, self._cli.datamodule


Parse = Callable[[tuple[str, ...], tuple[Path, ...]], Config]
"""From the arguments and files of a `Config` to the configuration."""


def remembering() -> Parse:
    """A parser that reads equal arguments once; for as long as one recipe is planned, since files may change later."""
    return cache(Config)


def changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """The values, before and now, of the dotted keys in which two configurations differ."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found |= changes(before, after, f"{prefix}{key}.")
        elif before != after or (key in old) != (key in new):
            found[f"{prefix}{key}"] = before, after
    return found


def may_differ(values: Mapping[str, Any]) -> set[str]:
    """Dotted keys of settings that a run may go on with otherwise, such as what happens to data that cannot be read.

    The class of a section names them in `may_differ`, seen from its arguments.
    """
    sections = [(name, values[name]) for name in ("model", "data") if isinstance(values.get(name), Mapping)]
    return {
        f"{name}.init_args.{key}"
        for name, section in sections
        for key in getattr(found_at(str(section.get("class_path"))), "may_differ", ())
    }


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


@contextmanager
def _explained(parser: LightningArgumentParser, files: Sequence[Path], options: Sequence[str]) -> Generator[None]:
    try:
        yield
    except ArgumentError as error:
        raise explain(str(error), known_keys(parser), files, options) from error
    except OmegaConfBaseException as error:
        reason = explain_reference(error)
        raise (reason.at(error.full_key) if error.full_key else reason) from error
