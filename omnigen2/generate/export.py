"""Trained weights as a model folder in the released layout, and adapters in the layouts of other programs."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from omnigen2.adapters import (
    WRAPPERS,
    AdapterLayout,
    Pair,
    ScaledAdapter,
    fitting_lora,
    load_lora,
    merge_lora,
    write_lora,
)
from omnigen2.dit import DiffusionTransformer, load_transformer, model_from_config, released_key, save_transformer
from omnigen2.errors import user_errors
from omnigen2.files import check_tensors, read_weights
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.folder import INDEX, PARTS, ModelFolder, said_sampling, say_sampling
from omnigen2.generate.request import Sampling

ANCHORS = ("target_embedder.weight", released_key("target_embedder.weight"))
"""Names by which a transformer is found inside a larger state dict: ours and the released one."""


def export_model(
    source: str | Path,
    base: str | Path,
    out: str | Path,
    *,
    lora: str | Path | ScaledAdapter | None = None,
    prefix: str | None = None,
    dtype: torch.dtype | None = None,
    transformer_only: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write a model folder whose transformer is a trained one and whose other parts are those of another folder.

    How it is to be sampled is what the source says, if it is a whole model, and otherwise what the base says.

    Args:
        source: A Lightning checkpoint, a file of weights, or a folder in the released layout (the transformer's or
            the whole model's).
        base: The model folder that was trained from: it says the sizes, and gives the other parts.
        lora: An adapter that is merged into the weights, with its strength if it is not 1.
        prefix: What stands in front of the transformer's names in the checkpoint, if it holds several.
        dtype: Of the written weights; as they are by default.
        transformer_only: Leave the other parts out.
        overwrite: Whether parts that are there already are replaced.

    Returns:
        The files of the transformer.

    Raises:
        GenerateError: If the weights are not those of the base's transformer, or a part is there already.
    """
    folder, out = ModelFolder(Path(base)), Path(out)
    alone = transformer_only or (out.exists() and out.samefile(folder.path))  # the rest is there already
    copied = () if alone else tuple(part for part in PARTS if part != "transformer")
    there = [part for part in ("transformer", *copied) if (out / part).exists()]
    if there and not overwrite:
        raise GenerateError(
            f"{out} has {', '.join(there)} already", "give another folder", {"overwrite": "replace them with {}"}
        )
    adapter = None if lora is None else lora if isinstance(lora, ScaledAdapter) else ScaledAdapter(Path(lora))
    if adapter is not None:
        check_adapters(folder, [adapter.path])
    own = Sampling(**said_sampling(Path(source)))
    model = _load(Path(source), folder, prefix)
    if adapter is not None:
        load_lora(model, adapter.path, scale=adapter.scale)
        merge_lora(model)
    if dtype is not None:
        model.to(dtype)
    written = save_transformer(model, out / "transformer", overwrite=overwrite)
    for part in copied:
        shutil.copytree(folder.part(part), out / part, dirs_exist_ok=True)
    index = folder.path / INDEX
    if copied and index.is_file():
        shutil.copyfile(index, out / INDEX)
    if (Path(source) / INDEX).is_file() and (out / INDEX).is_file():
        say_sampling(out, own)  # a student's weights are drawn with otherwise than its base's
    return written


def check_adapters(folder: ModelFolder, adapters: Iterable[Path]) -> list[dict[str, Pair]]:
    """Read adapters, and compare them with the transformer's sizes.

    Returns:
        The matrices of each, by the released layer names.

    Raises:
        UserError: If one is none of this transformer.
    """
    with user_errors(), torch.device("meta"):
        sizes = model_from_config(folder.config("transformer"), None, "auto")
    return [fitting_lora(sizes, path) for path in adapters]


def export_adapter(
    adapter: ScaledAdapter,
    base: str | Path,
    out: str | Path,
    layout: AdapterLayout,
    *,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an adapter of any dialect in the layout of one program; its strength becomes a part of it.

    Args:
        adapter: Where it is, and its strength.
        base: The model folder that it belongs to.
        out: The folder to write.
        layout: Whose loader reads it.
        dtype: Of the written matrices; as they are by default.
        overwrite: Whether an adapter that is there already is replaced.

    Returns:
        The file of weights.

    Raises:
        GenerateError: If the folder has files already.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise GenerateError(f"{out} has files already", "give another folder", {"overwrite": "replace them with {}"})
    pairs = check_adapters(ModelFolder(Path(base)), [adapter.path])[0]
    scaled = {
        layer: Pair(pair.down.to(dtype), pair.up.to(dtype), pair.scaling * adapter.scale)
        for layer, pair in pairs.items()
    }
    return write_lora(scaled, out, layout)


def _matched(
    source: Path, weights: dict[str, Tensor], model: DiffusionTransformer, prefix: str | None
) -> dict[str, Tensor]:
    """What the model's `load_state_dict` takes, of a state dict with our or the released names behind any prefix.

    Raises:
        GenerateError: If no or several transformers are found, or names, shapes or types differ.
    """
    plain = {WRAPPERS.sub("", name): tensor for name, tensor in weights.items()}
    found = sorted({name.removesuffix(anchor) for anchor in ANCHORS for name in plain if _ends(name, anchor)})
    if prefix is None and len(found) != 1:
        what = f"several transformers, behind {', '.join(map(repr, found))}" if found else "no transformer"
        raise GenerateError(
            f"the weights hold {what}",
            "" if found else "is it the right file?",
            {"prefix": "say which with {}"} if found else None,
        )
    front = found[0] if prefix is None else prefix
    own = {name.removeprefix(front): tensor for name, tensor in plain.items() if name.startswith(front)}
    adapter = next((name for name in own if ".lora_" in name), None)
    if adapter is not None:
        raise GenerateError(
            f"the weights hold LoRA layers, such as {adapter}",
            arguments={"lora": "export the base, with the folder weights/adapter that the run has left as {}"},
        )
    check_tensors(source, own, GenerateError)
    expected = cast(dict[str, Tensor], model.state_dict())
    names = {name: name if ANCHORS[0] in own else released_key(name) for name in expected}
    for keys, problem in ((set(names.values()) - set(own), "lack"), (set(own) - set(names.values()), "also have")):
        if keys:
            some = ", ".join(sorted(keys)[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
            raise GenerateError(f"the weights {problem} {some}", "give the base that was trained from")
    for ours, theirs in names.items():
        if own[theirs].shape != expected[ours].shape:
            raise GenerateError(
                f"{theirs} has shape {tuple(own[theirs].shape)}, the base implies {tuple(expected[ours].shape)}",
                "give the base that was trained from",
            )
    return {ours: own[theirs] for ours, theirs in names.items()}


def _load(source: Path, base: ModelFolder, prefix: str | None) -> DiffusionTransformer:
    if source.is_dir():
        return load_transformer(source / "transformer" if (source / "transformer").is_dir() else source)
    weights = read_weights(source)
    with torch.device("meta"):
        model = model_from_config(base.config("transformer"), None, "auto")
    model.load_state_dict(_matched(source, weights, model, prefix), assign=True)
    return model


def _ends(name: str, anchor: str) -> bool:
    return name == anchor or name.endswith(f".{anchor}")
