"""What the released checkpoint calls things: the entries of its `config.json`, and its parameters."""

from dataclasses import MISSING, asdict, fields
from math import inf
from typing import Any, cast

from omnigen2.dit.backends import AttentionBackend
from omnigen2.dit.config import TransformerConfig
from omnigen2.dit.model import DiffusionTransformer
from omnigen2.rope import LuminaPositions, OmniPositions, PositionScheme, QwenPositions

CLASS_NAME = "OmniGen2Transformer2DModel"
CONFIG_NAMES = {
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
_NUMBERS = ("ffn_multiplier", "norm_eps", "timestep_scale", "theta")
_LAYERS = ("num_layers", "num_refiner_layers")
_MAY_BE_ZERO = (*_LAYERS, "max_references")
LARGEST, MOST_LAYERS = 2**20, 2**10
"""What no size of a transformer exceeds: a larger one is a broken file, and is not built."""
_SCHEMES: dict[str, type[PositionScheme]] = {
    scheme.__name__: scheme for scheme in (OmniPositions, LuminaPositions, QwenPositions)
}


def released_config(model: DiffusionTransformer) -> dict[str, Any]:
    """What `config.json` says of a model.

    Beside the released model's keys there are further ones for what the released layout takes for granted and this
    model does otherwise: `theta`, `max_references`, `positions`.
    """
    ours = asdict(model.config)
    content: dict[str, Any] = {"_class_name": CLASS_NAME}
    content |= {released: ours[name] for name, released in CONFIG_NAMES.items()}
    content |= {"out_channels": None, "axes_lens": [10000, 10000, 10000]}
    defaults = {field.name: field.default for field in fields(TransformerConfig)}
    content |= {name: ours[name] for name in _OUR_NAMES if ours[name] != defaults[name]}
    if model.positions != OmniPositions():
        content["positions"] = {"class": type(model.positions).__name__, **vars(model.positions)}
    return content


def model_from_config(
    content: dict[str, Any], positions: PositionScheme | None, backend: AttentionBackend
) -> DiffusionTransformer:
    """A new model of the sizes that `config.json` says; `positions` are used instead of the file's."""
    return DiffusionTransformer(read_config(content), positions or _scheme(content.get("positions")), backend)


def read_config(content: dict[str, Any]) -> TransformerConfig:
    """The sizes that `config.json` says.

    Raises:
        ValueError: If a key is missing or unknown, a size is no number, or values do not fit together.
    """
    known = {*CONFIG_NAMES.values(), *_OUR_NAMES, *_UNUSED, "positions"}
    unknown = sorted(key for key in content if key not in known and not key.startswith("_"))
    if unknown:
        raise ValueError(f"unknown keys {unknown}; expected {sorted(known)}")
    required = {field.name for field in fields(TransformerConfig) if field.default is MISSING}
    missing = sorted(CONFIG_NAMES[name] for name in required if CONFIG_NAMES[name] not in content)
    if missing:
        raise ValueError(f"missing keys {missing}")
    if content.get("_class_name", CLASS_NAME) != CLASS_NAME:
        raise ValueError(f"_class_name is {content['_class_name']!r}, expected {CLASS_NAME}")
    names = CONFIG_NAMES | {name: name for name in _OUR_NAMES}
    for name, key in names.items():
        if key in content:
            _check_kind(name, key, content[key])
    if content.get("out_channels") not in (None, content["in_channels"]):
        raise ValueError(
            f"out_channels is {content['out_channels']}, but the velocity has in_channels ({content['in_channels']})"
        )
    sizes: dict[str, Any] = {name: content[released] for name, released in names.items() if released in content}
    sizes["axes"] = tuple(content["axes_dim_rope"])
    return TransformerConfig(**sizes)


def _check_kind(name: str, key: str, value: Any) -> None:
    """Refuse what is no size (of layers at most `MOST_LAYERS`, of others `LARGEST`), or no positive number.

    Raises:
        ValueError: It names the key.
    """
    if name in _NUMBERS:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf
        if not fits and not (value is None and name == "ffn_multiplier"):
            raise ValueError(f"{key} is {value!r}, expected a positive number")
        return
    several = name == "axes"
    sizes: Any = value if several and isinstance(value, list | tuple) else [value]
    if several != isinstance(value, list | tuple) or not all(type(size) is int for size in sizes):
        raise ValueError(f"{key} is {value!r}, expected {'a list of whole numbers' if several else 'a whole number'}")
    least, most = int(name not in _MAY_BE_ZERO), MOST_LAYERS if name in _LAYERS else LARGEST
    if (several and len(sizes) != 3) or not all(least <= size <= most for size in sizes):
        what = "three numbers" if several else "a number"
        raise ValueError(f"{key} is {_short(value)}, expected {what} from {least} to {most}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _scheme(entry: Any) -> PositionScheme:
    if entry is None:
        return OmniPositions()
    if not isinstance(entry, dict):
        raise ValueError(f"positions is {_short(entry)}, expected an object with a class")
    options = cast(dict[str, Any], entry)
    name = options.get("class")
    if not isinstance(name, str) or name not in _SCHEMES:
        raise ValueError(f'position scheme "{name}" is not one of {sorted(_SCHEMES)}; is it of another program?')
    scheme, given = _SCHEMES[name], {key: value for key, value in options.items() if key != "class"}
    known = {field.name for field in fields(cast(Any, scheme))}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"positions has {unknown[0]}, which {name} does not know; expected {sorted(known)}")
    return scheme(**given)


_STEMS = {
    "target_embedder": "x_embedder",
    "reference_embedder": "ref_image_patch_embedder",
    "reference_index.weight": "image_index_embedding",
    "time_embedder.linear_in": "time_caption_embed.timestep_embedder.linear_1",
    "time_embedder.linear_out": "time_caption_embed.timestep_embedder.linear_2",
    "text_embedder.norm": "time_caption_embed.caption_embedder.0",
    "text_embedder.linear": "time_caption_embed.caption_embedder.1",
    "output.scale": "norm_out.linear_1",
    "output.linear": "norm_out.linear_2",
}
_GROUPS = {
    "text_refiner": "context_refiner",
    "reference_refiner": "ref_image_refiner",
    "noise_refiner": "noise_refiner",
    "blocks": "layers",
}
_PARTS = {
    "attention.query": "attn.to_q",
    "attention.key": "attn.to_k",
    "attention.value": "attn.to_v",
    "attention.output": "attn.to_out.0",
    "attention.query_norm": "attn.norm_q",
    "attention.key_norm": "attn.norm_k",
    "attention_norms.before": "norm1",
    "attention_norms.after": "norm2",
    "feed_forward.gate": "feed_forward.linear_1",
    "feed_forward.down": "feed_forward.linear_2",
    "feed_forward.up": "feed_forward.linear_3",
    "feed_forward_norms.before": "ffn_norm1",
    "feed_forward_norms.after": "ffn_norm2",
}
_MODULATED_PARTS = {f"body.{ours}": released for ours, released in _PARTS.items()} | {
    "body.attention_norms.before": "norm1.norm",
    "modulation.linear": "norm1.linear",
}


def released_block_key(name: str) -> str:
    """The released name of a block's parameter: of `body.attention.query.weight`, `attn.to_q.weight`."""
    stem, _, leaf = name.rpartition(".")
    return f"{(_PARTS | _MODULATED_PARTS)[stem]}.{leaf}"


def released_key(name: str) -> str:
    """The released name of a transformer's parameter.

    Example:
        >>> released_key("blocks.3.body.attention.query.weight")
        'layers.3.attn.to_q.weight'
    """
    head, _, rest = name.partition(".")
    if head in _GROUPS:
        number, _, inside = rest.partition(".")
        return f"{_GROUPS[head]}.{number}.{released_block_key(inside)}"
    if name in _STEMS:
        return _STEMS[name]
    stem, _, leaf = name.rpartition(".")
    return f"{_STEMS[stem]}.{leaf}"
