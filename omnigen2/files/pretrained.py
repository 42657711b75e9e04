"""Models that transformers and diffusers load: what they only warn of is an error here."""

import logging
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.files.fields import Fields, read_object
from omnigen2.files.safetensors import read_weights
from omnigen2.files.weights import Stored, WeightsError, check_types, some, weight_files

PICKLE = "pytorch_model.bin"
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
QUANTISED = ("quantization_config", "compression_config")
LIBRARIES = ("transformers", "diffusers")
HARMLESS = ("LOAD REPORT", "were not used when initializing", "were not initialized from the model checkpoint")
"""Parts of warnings about keys: those are looked at one by one."""
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
        files = {pickle: _read_types(pickle, error)}
    else:
        files = weight_files(Path(folder), stem, error, fix) if local else {}
    with library_errors(folder, error):
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
    """What a model's config.json says; not that its weights are quantised.

    Raises:
        UserError: If it is broken, or says that.
    """
    content = read_object(folder / "config.json", error, "download the file again")
    for name in QUANTISED:
        if content.has(name):
            raise error(
                f"{content.where} has a {name}: quantised weights are not supported",
                "take the bfloat16, float16 or float32 weights of the same model",
            )
    return content


def _read_types(path: Path, error: type[UserError]) -> dict[str, Stored]:
    """The types in a pickled file, checked."""
    tensors = read_weights(path)
    header = {key: Stored(DTYPES.get(one.dtype, str(one.dtype)), tuple(one.shape)) for key, one in tensors.items()}
    check_types(path, header, error)
    return header


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
        raise error(f"{folder} cannot be loaded ({_short(str(reason) or type(reason).__name__)})", REMEDY) from reason
    finally:
        for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)
    if heard.said:
        raise error(f"{folder} was loaded with a warning ({_short(heard.said[0])})", REMEDY)


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
