"""One plain run: start it, go on with it, or find it finished."""

import importlib.util
import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from omnigen2.errors import UserError
from omnigen2.files import write_bytes, write_json, write_text
from omnigen2.runner import keep
from omnigen2.runner.execute.pages import KeptPages
from omnigen2.runner.execute.progress import Progress, ProgressCallback
from omnigen2.runner.execute.troubles import Started, told
from omnigen2.runner.plan import Config, TrainerArguments, as_lines
from omnigen2.runner.recipe import building, form_of

NOT_FOR_USERS = (
    ".*LeafSpec.* is deprecated",  # what Lightning calls in torch
    "You have overridden `transfer_batch_to_device` in `LightningModule` but",  # on purpose, and it is called
    "The number of training batches .* is smaller than the logging interval",  # a recipe says how often
    "Checkpoint directory .* exists and is not empty",  # whenever a run goes on
    "The `srun` command is available on your system but is not used",  # on login nodes, on purpose
)
"""Beginnings of warnings about what a recipe cannot or need not change."""


@dataclass(frozen=True)
class Output:
    """Where a run's words go.

    Attributes:
        say: Prints one line.
        send: Takes the progress; None if nobody wants it.
        seconds: The least time between two of those.
        verbose: Whether Lightning's own messages are wanted.
    """

    say: Callable[[str], None]
    send: Callable[[Progress], None] | None = None
    seconds: float = 0.25
    verbose: bool = False


def run(config: Config, folder: Path, command: str, output: Output) -> dict[str, Any]:
    """Bring a run to its end, wherever it stands; return the summary, as in `run.json`.

    Of several processes that train together, the first one alone cares for the folder, which it holds; the others find
    there what it has decided.

    Args:
        config: The checked recipe.
        folder: Where everything is written.
        command: The command that makes the run again, for the report.
        output: Where words go.

    Raises:
        UserError: If the folder or the recipe cannot be used. A recipe that was refused before its first checkpoint
            leaves no settings behind, so that it can be mended.
    """
    if not keep.is_first():
        keep.follow_the_first()
        finished = keep.read_summary(folder)
        return finished or _train(config, folder, command, keep.committed_checkpoint(folder), output)
    longer = takes_more_steps(folder, config)
    if not longer and (summary := keep.read_summary(folder)) is not None:
        output.say(f"{folder} is finished ({summary['steps']} steps); --restart runs it again")
        keep.follow_the_first()
        return summary
    with _begun(folder, config):
        resumed = keep.roll_back(folder)
        keep.follow_the_first()
        output.say(f"{folder}: continues from step {resumed[1]}" if resumed else f"{folder}: starts")
        return _train(config, folder, command, resumed[0] if resumed else None, output)


def takes_more_steps(folder: Path, config: Config) -> bool:
    """Refuse to mix two recipes in one folder, which need not exist yet.

    Returns:
        Whether the folder holds a run with the same configuration but for fewer steps.

    Raises:
        UserError: If the folder holds a run with another configuration.
    """
    if (old := keep.settings_of(folder)) is None:
        return False
    if (form := form_of(old)) != "plain":
        raise UserError(f"{folder} holds {'a study' if form == 'study' else 'stages'}, not a single run", keep.REMEDY)
    found = keep.differences(old, config.values)
    if found and not keep.asks_for_more(found):
        changed = as_lines(found)
        more = [f"… and {len(changed) - 5} more"] if len(changed) > 5 else []
        raise UserError(
            f"{folder} holds a run with other settings:",
            "\n".join([*changed[:5], *more, keep.REMEDY, *keep.from_its_weights(folder)]),
        )
    return bool(found)


@contextmanager
def _begun(folder: Path, config: Config) -> Generator[None]:
    """Write the settings of a run that begins or goes on, and take away what says that it is finished.

    If the run is refused before it has come any further, the folder is as it was: the mended recipe need not fit it.

    Yields:
        Nothing.

    Raises:
        UserError: As it comes.
    """
    paths = [folder / name for name in (keep.CONFIG, keep.SUMMARY, *keep.REPORTS)]
    finished, checkpoint = (folder / keep.SUMMARY).is_file(), keep.committed_checkpoint(folder)
    before = {path: path.read_bytes() for path in paths if path.is_file()}
    if finished:
        for path in paths[1:]:
            path.unlink(missing_ok=True)
    write_text(folder / keep.CONFIG, config.text)
    try:
        yield
    except UserError:
        if keep.committed_checkpoint(folder) == checkpoint:
            if checkpoint is None:
                (folder / keep.CONFIG).unlink()
            for path, content in before.items() if checkpoint is not None else ():
                write_bytes(path, content)
        raise


def _train(config: Config, folder: Path, command: str, checkpoint: Path | None, output: Output) -> dict[str, Any]:
    quiet(not output.verbose)
    training = Started()
    trainer, model, data = built(config, folder, checkpoint, training, partial(_own, config, folder, output))
    with told(folder, training):
        try:
            trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        except SystemExit as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise stop.__context__ from None
            raise
        points = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, keep.ResumePoint)]
        summary = keep.summarize(trainer, model, folder, command=command, point=points[0], seed=config.seed)
        if trainer.is_global_zero:
            if weights := keep.fingerprint(folder):
                summary["weights"] = weights
            keep.write_report(folder, summary, keep.report_sections(trainer, folder))
            write_json(folder / keep.SUMMARY, summary)
    return summary


def built(
    config: Config, folder: Path, checkpoint: Path | None, started: Started, own: TrainerArguments
) -> tuple[Trainer, LightningModule, LightningDataModule | None]:
    """Build the trainer, the model and the data of a run, after its seed is set.

    Args:
        config: The checked recipe.
        folder: Where everything is written.
        checkpoint: From which the run goes on; None for none.
        started: Stands before the callbacks of the recipe.
        own: From those and the recipe's loggers to the callbacks, the loggers and more arguments of the trainer.

    Raises:
        UserError: If a class refuses its settings, or the strategy the checkpoint.
    """
    if config.seed is not None:
        seed_everything(config.seed, workers=True, verbose=False)
    shown = dict.fromkeys(("enable_progress_bar", "enable_model_summary"), False) | {"default_root_dir": str(folder)}
    with told(folder, started), building():
        found = config.build(lambda callbacks, loggers: shown | own([started, *callbacks], loggers), folder)
    keep.check_strategy(checkpoint, found[0].strategy)
    return found


def _own(
    config: Config, folder: Path, output: Output, callbacks: list[Callback], loggers: list[Logger]
) -> dict[str, Any]:
    unset = config.values["trainer"]["logger"] in (None, True)
    if unset and importlib.util.find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(save_dir=folder, name="tensorboard", version=""))
    loggers = [keep.CsvLogger(folder, loggers), *loggers]
    if not any(isinstance(callback, keep.ResumePoint) for callback in callbacks):
        own = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
        steps = max(map(keep.steps_between_checkpoints, own), default=0)
        callbacks.append(keep.ResumePoint(every_n_train_steps=steps))
    if not any(isinstance(callback, keep.SaveOnSignal) for callback in callbacks):
        callbacks.append(keep.SaveOnSignal())
    callbacks += [keep.SameSchedule(), keep.WriteWeights(folder), KeptPages()]
    if output.send is not None and config.values["trainer"]["enable_progress_bar"] is not False:
        callbacks.append(ProgressCallback(output.send, output.seconds))
    return {"logger": loggers, "callbacks": callbacks, "enable_checkpointing": True}


def quiet(silent: bool) -> None:
    """Let Lightning say only what matters, or everything if not `silent`."""
    if silent:
        for message in NOT_FOR_USERS:
            warnings.filterwarnings("ignore", message=message)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING if silent else logging.INFO)
