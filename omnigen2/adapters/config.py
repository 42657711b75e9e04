"""What `adapter_config.json`, or the metadata of a file, says about an adapter, read as PEFT reads it."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from safetensors import safe_open

from omnigen2.errors import UserError
from omnigen2.files import Fields, object_in, read_object

Value = TypeVar("Value", int, float)

CONFIG = "adapter_config.json"
METADATA = "lora_adapter_metadata"
"""Where diffusers keeps the same in the file of weights, as JSON with `transformer.` in front of each key."""
PEFT_ALPHA = 8
"""What PEFT takes where a configuration says no `lora_alpha`."""
READ = ("peft_type", "init_lora_weights", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora")
ALIKE = (
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "target_modules", "exclude_modules", "lora_dropout", "layers_to_transform", "layers_pattern", "megatron_core",
    "runtime_config", "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
    "ensure_weight_tying",
)  # fmt: skip
"""Keys without a say in what given matrices mean: which layers they are of (the names of tensors tell), how they were
trained, who wrote them, and settings of beginnings (`init_lora_weights` tells which one it was)."""
FLAGS = {"use_dora": "DoRA", "use_qalora": "QALoRA", "lora_bias": "LoRA-with-bias", "fan_in_fan_out": "transposed"}
"""Kinds of adapters that are true or false, and what they are called; false is plain LoRA."""
OTHERS = {
    "bias": "bias-training",
    "modules_to_save": "whole-layer",
    "trainable_token_indices": "trainable-token",
    "target_parameters": "parameter",
    "layer_replication": "layer-replicating",
    "megatron_config": "Megatron",
    "alora_invocation_tokens": "aLoRA",
    "arrow_config": "Arrow",
    "kasa_config": "KaSA",
    "velora_config": "VeLoRA",
    "monteclora_config": "MonteCLoRA",
    "use_bdlora": "BD-LoRA",
}
"""Further kinds, plain LoRA if nothing is there."""
PLAIN = "plain LoRA adapters are supported"
AGAIN = "write it again with the program that trained the adapter"
BEGINNINGS = ("gaussian", "eva", "orthogonal", "mica")
"""Of `init_lora_weights` beside true and false: those that leave the base as it was."""
CHANGED = ("pissa", "corda", "olora", "lora_ga", "lora-ga")
"""Those that take something out of the base at the start: A and B mean nothing beside the base as it was."""


@dataclass(frozen=True)
class AdapterConfig:
    """What is said about matrices beside their numbers.

    Attributes:
        rank: Of layers that no pattern names; None if it is not said.
        alpha: Of layers that no pattern names; None if nothing is said at all.
        ranks: By regular expressions over layer names, as PEFT's `rank_pattern`: the first that fits counts.
        alphas: Likewise, PEFT's `alpha_pattern`.
        stabilised: Whether alpha is divided by the root of the rank (arXiv:2312.03732).
    """

    rank: int | None = None
    alpha: float | None = None
    ranks: Mapping[str, int] = field(default_factory=dict[str, int])
    alphas: Mapping[str, float] = field(default_factory=dict[str, float])
    stabilised: bool = False

    def rank_of(self, layer: str) -> int | None:
        """Rank of a layer by its released name, if it is said."""
        return _first(self.ranks, layer, self.rank)

    def scaling(self, layer: str, rank: int) -> float | None:
        """Factor on the product of a layer's matrices, if it is said."""
        alpha = _first(self.alphas, layer, self.alpha)
        return None if alpha is None else alpha / (math.sqrt(rank) if self.stabilised else rank)


def read_config(file: Path) -> AdapterConfig:
    """What is said about the adapter in a file of weights, beside it or in its metadata.

    Raises:
        UserError: If something is said that is no plain LoRA or is not known, or two places say different things.
    """
    beside, found = file.with_name(CONFIG), dict[str, AdapterConfig]()
    if beside.exists():
        said = read_object(beside, remedy=AGAIN)
        found[str(beside)] = understood(said, file)
    inside = _metadata(file)
    if inside is not None:
        found[f"the metadata of {file}"] = understood(inside, file)
    if len(set(map(repr, found.values()))) > 1:
        raise UserError(f"{' and '.join(found)} say different things", "remove the one that is not the file's")
    return next(iter(found.values()), AdapterConfig())


def understood(said: Fields, file: Path) -> AdapterConfig:
    """Read PEFT's configuration; every key is read, has no say, or is refused by its name.

    Args:
        said: The configuration.
        file: The file of weights, for messages.

    Raises:
        UserError: If a key is unknown, has a wrong type, or asks for something else than plain LoRA.
    """
    values = said.values
    if values.get("peft_type", "LORA") != "LORA":
        raise UserError(f"{said.where} is of an adapter of peft_type {values['peft_type']!r}", PLAIN)
    for key, name in FLAGS.items():
        if said.has(key) and said.flag(key):
            raise UserError(f"{file} is a {name} adapter ({key} is true)", PLAIN)
    for key, value in values.items():
        nothing = value is None or value is False or value in ([], {}) or (key, value) == ("bias", "none")
        if nothing or key in (*READ, *ALIKE, *FLAGS):
            continue
        if key in OTHERS:
            raise UserError(f"{file} is a {OTHERS[key]} adapter ({key} is {value!r})", PLAIN)
        raise UserError(f"{said.where} has {key}, which is not known", "a newer PEFT may have written it; " + PLAIN)
    _check_beginning(said, file)
    ranks, alphas = _patterns(said, "rank_pattern"), _patterns(said, "alpha_pattern")
    return AdapterConfig(
        said.whole("r", 1) if "r" in values else None,
        said.number("lora_alpha") if "lora_alpha" in values else PEFT_ALPHA,
        {key: ranks.whole(key, 1) for key in ranks.values},
        {key: alphas.number(key) for key in alphas.values},
        "use_rslora" in values and said.flag("use_rslora"),
    )


def _check_beginning(said: Fields, file: Path) -> None:
    start = said.values.get("init_lora_weights")
    name = start.lower() if isinstance(start, str) else start
    if name is None or isinstance(name, bool) or name in BEGINNINGS:
        return
    if isinstance(name, str) and name.startswith(CHANGED):
        raise UserError(
            f"{file} began as {start} (init_lora_weights), which changes the base: beside the base as it was, "
            "its matrices draw something else",
            "convert it where it was trained: save_pretrained(..., path_initial_model_for_weight_conversion=...) of "
            "PEFT writes a plain LoRA adapter",
        )
    if name == "loftq":
        raise UserError(
            f"{file} began as loftq (init_lora_weights), which quantises the base: beside the base as it was, its "
            "matrices draw something else",
            "merge it where it was trained (merge_and_unload of PEFT), and use the merged weights",
        )
    raise said.refusal("init_lora_weights", f"true, false or one of {', '.join(BEGINNINGS)}")


def _patterns(said: Fields, key: str) -> Fields:
    entries = said.object(key) if said.has(key) else Fields({}, said.where)
    for pattern in entries.values:
        try:
            re.compile(_whole_pattern(pattern))
        except (re.error, OverflowError, RecursionError) as error:
            raise UserError(
                f"{said.where}: {key} has {pattern!r}, which is no regular expression ({error})", "mend it"
            ) from error
    return entries


def _first(patterns: Mapping[str, Value], layer: str, default: Value | None) -> Value | None:
    return next((value for key, value in patterns.items() if re.match(_whole_pattern(key), layer)), default)


def _whole_pattern(key: str) -> str:
    """Where PEFT's `get_pattern_key` finds a key: at the end of a name, behind a dot or alone."""
    return rf"(.*\.)?({key})$"


def _metadata(file: Path) -> Fields | None:
    """The configuration in the metadata of a safetensors file: that of diffusers, and PEFT's keys as they are.

    Raises:
        UserError: If it is also about the text encoder.
    """
    if file.suffix != ".safetensors":
        return None
    with safe_open(file, framework="pt") as opened:
        metadata = cast(dict[str, str], opened.metadata() or {})
    where = f"the metadata of {file}"
    plain = {key: _value(metadata[key]) for key in (*READ, *FLAGS, *OTHERS) if key in metadata}
    if METADATA not in metadata:
        return Fields(plain, where, remedy=AGAIN) if plain else None
    said: dict[str, Any] = {}
    for key, value in object_in(_value(metadata[METADATA]), f"{where}, {METADATA},", remedy=AGAIN).values.items():
        if key.startswith("text_encoder"):
            raise UserError(f"{where} is also about the text encoder ({key})", "only the transformer can be adapted")
        said[key.removeprefix("transformer.")] = value
    return Fields({**plain, **said}, where, remedy=AGAIN)


def _value(text: str) -> Any:
    """JSON, or a text that is none; of one value also as Python writes it."""
    if text in (words := {"True": True, "False": False, "None": None}):
        return words[text]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
