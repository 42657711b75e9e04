"""Names of parameters: ours and those of the released checkpoint."""

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
    """The released name of a block's parameter.

    Args:
        name: Inside a `Block` or a `ModulatedBlock`, such as `body.attention.query.weight`.

    Returns:
        Such as `attn.to_q.weight`.
    """
    stem, _, leaf = name.rpartition(".")
    return f"{(_PARTS | _MODULATED_PARTS)[stem]}.{leaf}"


def released_key(name: str) -> str:
    """The released name of a transformer's parameter.

    Args:
        name: Inside a `DiffusionTransformer`, such as `blocks.3.body.attention.query.weight`.

    Returns:
        Such as `layers.3.attn.to_q.weight`.
    """
    head, _, rest = name.partition(".")
    if head in _GROUPS:
        number, _, inside = rest.partition(".")
        return f"{_GROUPS[head]}.{number}.{released_block_key(inside)}"
    if name in _STEMS:
        return _STEMS[name]
    stem, _, leaf = name.rpartition(".")
    return f"{_STEMS[stem]}.{leaf}"
