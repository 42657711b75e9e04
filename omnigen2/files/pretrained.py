"""Models that transformers and diffusers load: what they only warn of is an error here."""

import logging
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.files.fields import Fields, read_object
from omnigen2.files.safetensors import read_weights
from omnigen2.files.weights import Stored, WeightsError, check_tensors, some, weight_files

PICKLE = "pytorch_model.bin"
ADAPTER = "adapter_config.json"
QUANTISED = ("quantization_config", "compression_config")
MOST_LAYERS, LARGEST = 2**10, 2**31
"""What no number of layers and no other whole number of a configuration exceeds."""
SLACK = 2**20
"""How many numbers a model may lack before it is not even built."""
LIBRARIES = ("transformers", "diffusers")
HARMLESS = (
    "LOAD REPORT",
    "were not used when initializing",
    "were not initialized from the model checkpoint",
    "got `key=rope_scaling` in kwargs",
    "rope_type'='default': {'mrope_section'}",
)
"""Parts of warnings about keys: those are looked at one by one."""
WHOLE = "are its files of one model, and is the download complete?"
REMEDY = "are config.json and the weights of one model, and is the download complete?"


def load_pretrained(
    kind: Any,
    folder: str | Path,
    *,
    stem: str = "model",
    passed_over: Sequence[str] = (),
    pickled: bool = False,
    error: type[UserError] = WeightsError,
    **options: Any,
) -> nn.Module:
    """Load a model with the library it comes from, and refuse what the library would make up or leave out.

    Args:
        kind: A class with `from_pretrained`.
        folder: Has config.json and safetensors files; nothing is downloaded. Or the name of a model on the hub.
        stem: Of the names of the weights' files.
        passed_over: How the names of keys begin that the file may have, and the model is built without.
        pickled: Whether `pytorch_model.bin` will do where there is no safetensors file; it is read, not run.
        error: What is raised.
        **options: For `from_pretrained`.

    Raises:
        UserError: If a key is missing, unexpected, of another shape or of no real type, or the library warns.
    """
    local, pickle = Path(folder).is_dir(), Path(folder, PICKLE)
    safe = not (pickled and pickle.is_file() and not any(Path(folder).glob(f"{stem}*.safetensors")))
    fix = f"save it again as {stem}.safetensors, by save_pretrained of the library it comes from"
    if local:
        check_config(Path(folder), error)
    if not safe:
        files = {pickle: _pickled(pickle, error)}
    else:
        files = weight_files(Path(folder), stem, error, fix) if local else {}
    with library_errors(folder, error):
        if files:
            _check_room(kind, Path(folder), files, error)
        model, info = kind.from_pretrained(
            str(folder),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            local_files_only=local,
            use_safetensors=safe,
            **options,
        )
        _check_info(folder, files, info, tuple(passed_over), error)
    _check_ties(folder, model, error)
    return model


def check_config(folder: Path, error: type[UserError] = WeightsError) -> Fields:
    """What a model's config.json says; not that its weights are quantised, and there is no adapter beside it.

    Raises:
        UserError: If it is broken, or says that, or there is one.
    """
    content = read_object(folder / "config.json", error, "download the file again")
    for name in QUANTISED:
        if content.has(name):
            raise error(
                f"{content.where} has a {name}: quantised weights are not supported",
                "take the bfloat16, float16 or float32 weights of the same model",
            )
    if (folder / ADAPTER).is_file():
        raise error(
            f"{folder} has {ADAPTER}: its library would add an adapter to the weights",
            "merge it into them (merge_and_unload of PEFT), or take its files out",
        )
    _check_sizes(content, content.values)
    return content


def _check_sizes(content: Fields, values: Mapping[str, Any]) -> None:
    """Refuse numbers of layers and sizes that no model has: building it would take for ever."""
    for name, value in values.items():
        if isinstance(value, dict):
            _check_sizes(content, cast(dict[str, Any], value))
        most = MOST_LAYERS if any(word in name for word in ("layers", "depth")) else LARGEST
        if isinstance(value, int) and abs(value) > most:
            raise content.error(f"{content.where} has {name} {str(value)[:20]}…, expected at most {most}", REMEDY)


def _check_room(kind: Any, folder: Path, files: Mapping[Path, Mapping[str, Stored]], error: type[UserError]) -> None:
    """Refuse a configuration of a model much larger than its files, before room is made for what they lack."""
    with torch.device("meta"):
        if hasattr(kind, "config_class") and kind.config_class is not None:
            model = kind(kind.config_class.from_pretrained(str(folder), local_files_only=True))
        else:
            model = kind.from_config(kind.load_config(str(folder), local_files_only=True))
    implied = sum(weight.numel() for weight in model.parameters())
    stored = sum(prod(one.shape) for header in files.values() for one in header.values())
    if implied > 2 * stored + SLACK:
        raise error(f"{folder / 'config.json'} implies {implied} numbers, but the weights hold {stored}", REMEDY)


def _pickled(path: Path, error: type[UserError]) -> dict[str, Stored]:
    """What a pickled file holds, its types checked."""
    tensors = read_weights(path)
    check_tensors(path, tensors, error)
    return {key: Stored("", tuple(one.shape)) for key, one in tensors.items()}


@contextmanager
def library_errors(folder: str | Path, error: type[UserError] = WeightsError) -> Generator[None]:
    """Let a library read a folder: what it raises or warns of becomes one error.

    Yields:
        To the library.

    Raises:
        UserError: If the library fails, or has said a warning that is not about single keys.
        OutOfMemoryError: As it comes.
    """
    heard = _Heard()
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [(one.handlers, one.level, one.propagate) for one in loggers]
    for one in loggers:
        one.handlers, one.propagate = [heard], False
        one.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as reason:
        raise error(f"{folder} cannot be loaded ({_short(str(reason) or type(reason).__name__)})", WHOLE) from reason
    finally:
        for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)
    if heard.said:
        raise error(f"{folder} was loaded with a warning ({_short(heard.said[0])})", WHOLE)


class _Heard(logging.Handler):
    """Remembers warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not any(part in text for part in HARMLESS):
            self.said.append(text)


def _check_info(
    folder: str | Path,
    files: Mapping[Path, Mapping[str, Stored]],
    info: Mapping[str, Any],
    passed_over: tuple[str, ...],
    error: type[UserError],
) -> None:
    for key, stored, expected in sorted(info["mismatched_keys"]):
        raise error(
            f"{_place(folder, files, key)}: {key} has shape {tuple(stored)}, but config.json implies {tuple(expected)}",
            "the two are of different models: take both from one",
        )
    unexpected = {key for key in info["unexpected_keys"] if not key.startswith(passed_over or ("\0",))}
    for keys, problem in ((set(info["missing_keys"]), "lacks"), (unexpected, "has unexpected")):
        if keys:
            place = _place(folder, files, min(keys))
            raise error(f"{place} {problem} {some(keys)}", f"expected the keys that config.json implies; {REMEDY}")


def _check_ties(folder: str | Path, model: Any, error: type[UserError]) -> None:
    """Where the configuration says that input and output embeddings are one table, they are."""
    if not getattr(model.config, "tie_word_embeddings", False) or not hasattr(model, "get_output_embeddings"):
        return
    output = model.get_output_embeddings()
    if output is not None and output.weight is not model.get_input_embeddings().weight:
        raise error(f"{folder} has an lm_head of its own, but config.json says tie_word_embeddings true", REMEDY)


def _place(folder: str | Path, files: Mapping[Path, Mapping[str, Stored]], key: str) -> Path | str:
    """The file that has a key, or the only one there is, or the folder."""
    holding = [path for path, header in files.items() if key in header] or list(files)
    return holding[0] if len(holding) == 1 else folder


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:300]}…"
