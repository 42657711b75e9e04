"""The released `config.json` and our `TransformerConfig`."""

from dataclasses import MISSING, asdict, fields
from typing import Any

from omnigen2.dit.backends import AttentionBackend
from omnigen2.dit.config import TransformerConfig
from omnigen2.dit.model import DiffusionTransformer
from omnigen2.rope import LuminaPositions, OmniPositions, PositionScheme, QwenPositions

CLASS_NAME = "OmniGen2Transformer2DModel"
_RELEASED_NAMES = {
    "hidden_size": "hidden_size",
    "num_layers": "num_layers",
    "num_refiner_layers": "num_refiner_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_kv_heads",
    "axes": "axes_dim_rope",
    "in_channels": "in_channels",
    "text_dim": "text_feat_dim",
    "patch_size": "patch_size",
    "multiple_of": "multiple_of",
    "ffn_multiplier": "ffn_dim_multiplier",
    "norm_eps": "norm_eps",
    "timestep_scale": "timestep_scale",
}
_OUR_NAMES = ("theta", "max_references")
"""Constants in the official code; written only where they differ from it."""
_UNUSED = {"axes_lens", "out_channels"}
"""A table length, which our rotations do not need, and the channels of the output, which are those of the input."""
_SCHEMES: dict[str, type[PositionScheme]] = {
    scheme.__name__: scheme for scheme in (OmniPositions, LuminaPositions, QwenPositions)
}


def released_config(model: DiffusionTransformer) -> dict[str, Any]:
    """What `config.json` says of a model.

    Args:
        model: The transformer.

    Returns:
        The released model's keys, and further ones for what the released layout takes for granted and this model
        does otherwise: `theta`, `max_references`, `positions`.
    """
    ours = asdict(model.config)
    content: dict[str, Any] = {"_class_name": CLASS_NAME}
    content |= {released: ours[name] for name, released in _RELEASED_NAMES.items()}
    content |= {"out_channels": None, "axes_lens": [10000, 10000, 10000]}
    defaults = {field.name: field.default for field in fields(TransformerConfig)}
    content |= {name: ours[name] for name in _OUR_NAMES if ours[name] != defaults[name]}
    if model.positions != OmniPositions():
        content["positions"] = {"class": type(model.positions).__name__, **vars(model.positions)}
    return content


def model_from_config(
    content: dict[str, Any], positions: PositionScheme | None, backend: AttentionBackend
) -> DiffusionTransformer:
    """A new model of the sizes that `config.json` says.

    Args:
        content: The file's content.
        positions: A scheme to use instead of the file's.
        backend: Attention kernel.

    Returns:
        The model, with new weights.

    Raises:
        ValueError: If a key is missing or unknown, a size is no number, or values do not fit together.
    """
    known = {*_RELEASED_NAMES.values(), *_OUR_NAMES, *_UNUSED, "positions"}
    unknown = sorted(key for key in content if key not in known and not key.startswith("_"))
    if unknown:
        raise ValueError(f"unknown keys {unknown}; expected {sorted(known)}")
    required = {field.name for field in fields(TransformerConfig) if field.default is MISSING}
    missing = sorted(_RELEASED_NAMES[name] for name in required if _RELEASED_NAMES[name] not in content)
    if missing:
        raise ValueError(f"missing keys {missing}")
    for name in required:
        _check_kind(_RELEASED_NAMES[name], content[_RELEASED_NAMES[name]])
    if content.get("out_channels") not in (None, content["in_channels"]):
        raise ValueError(
            f"out_channels is {content['out_channels']}, but the velocity has in_channels ({content['in_channels']})"
        )
    names = _RELEASED_NAMES | {name: name for name in _OUR_NAMES}
    sizes: dict[str, Any] = {name: content[released] for name, released in names.items() if released in content}
    sizes["axes"] = tuple(content["axes_dim_rope"])
    config = TransformerConfig(**sizes)
    return DiffusionTransformer(config, positions or _scheme(content.get("positions")), backend)


def _check_kind(key: str, value: Any) -> None:
    several = key == _RELEASED_NAMES["axes"]
    sizes: Any = value if several and isinstance(value, list | tuple) else [value]
    if several != isinstance(value, list | tuple) or not all(type(size) is int for size in sizes):
        raise ValueError(f"{key} is {value!r}, expected {'a list of whole numbers' if several else 'a whole number'}")


def _scheme(entry: dict[str, Any] | None) -> PositionScheme:
    if entry is None:
        return OmniPositions()
    name, options = entry.get("class"), {key: value for key, value in entry.items() if key != "class"}
    if name not in _SCHEMES:
        raise ValueError(f'position scheme "{name}" is not one of {sorted(_SCHEMES)}; pass positions= when loading')
    return _SCHEMES[name](**options)
