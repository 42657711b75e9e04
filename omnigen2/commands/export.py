"""`omnigen2 export`: trained weights as a model folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omnigen2.adapters import AdapterLayout, ScaledAdapter
from omnigen2.commands.options import POSITIONAL, Parser, note, run_command
from omnigen2.commands.settings import DTYPES, DType
from omnigen2.generate import export_adapter, export_model

DESCRIPTION = """\
Write a model folder in the released layout: the transformer from SOURCE, everything else from the base.

  omnigen2 export runs/edit/checkpoints/last.ckpt --base OmniGen2 --out edited
  omnigen2 export OmniGen2 --base OmniGen2 --lora my_adapter:0.8 --out merged
  omnigen2 export my_adapter --base OmniGen2 --lora_layout comfyui --out for_comfyui

SOURCE is a Lightning checkpoint, a file of weights (.safetensors, .bin, .pt: tensors only, nothing in it is run) or
a folder in the released layout. With --lora_layout an adapter alone is written, SOURCE or what --lora names.
"""


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What is written.

    Attributes:
        source: Checkpoint, file of weights, or folder.
        base: The model folder that was trained from.
        out: The folder to write.
        lora: Adapter that is merged into the weights, DIR or DIR:0.7 with its strength.
        lora_layout: Write the adapter, merge nothing, for the loader of this program.
        prefix: Of the transformer's names, if the checkpoint holds several.
        dtype: Of the written weights (default: as they are).
        transformer_only: Leave the other parts out.
        overwrite: Replace parts that are there already.
    """

    source: Path = field(metadata=POSITIONAL)
    base: Path
    out: Path
    lora: str | None = None
    lora_layout: AdapterLayout | None = None
    prefix: str | None = None
    dtype: DType | None = None
    transformer_only: bool = False
    overwrite: bool = False


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = Parser(ExportSettings, "export", "SOURCE --base DIR --out DIR [options]", DESCRIPTION)
    return run_command(parser, arguments, _run)


def _run(settings: ExportSettings) -> None:
    adapter = None if settings.lora is None else ScaledAdapter.parse(settings.lora)
    dtype = DTYPES[settings.dtype] if settings.dtype else None
    if settings.lora_layout is not None:
        for name in ("prefix", "transformer_only"):
            if getattr(settings, name):
                note(f"--{name} has no effect with --lora_layout: the adapter alone is written")
        adapter = ScaledAdapter.parse(str(settings.source)) if adapter is None else adapter
        base, out, layout = settings.base, settings.out, settings.lora_layout
        print(f"wrote {export_adapter(adapter, base, out, layout, dtype=dtype, overwrite=settings.overwrite)}")
        return
    if settings.prefix is not None and settings.source.is_dir():
        note(f"--prefix has no effect: {settings.source} is a folder")
    written = export_model(
        settings.source,
        settings.base,
        settings.out,
        lora=adapter,
        prefix=settings.prefix,
        dtype=dtype,
        transformer_only=settings.transformer_only,
        overwrite=settings.overwrite,
    )
    print("\n".join(f"wrote {path}" for path in written))
