"""`omnigen2 export`: trained weights as a model folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omnigen2.commands.parser import POSITIONAL, Parser, run_command
from omnigen2.commands.settings import DTYPES, DType
from omnigen2.generate import export_model

DESCRIPTION = """\
Write a model folder in the released layout: the transformer from SOURCE, everything else from the base.

  omnigen2 export runs/edit/checkpoints/last.ckpt --base OmniGen2 --out edited
  omnigen2 export OmniGen2 --base OmniGen2 --lora my_adapter --out merged

SOURCE is a Lightning checkpoint, a file of weights (.safetensors, .bin, .pt: tensors only, nothing in it is run) or
a folder in the released layout.
"""


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What is written.

    Attributes:
        source: Checkpoint, file of weights, or folder.
        base: The model folder that was trained from.
        out: The folder to write.
        lora: Adapter that is merged into the weights.
        prefix: Of the transformer's names, if the checkpoint holds several.
        dtype: Of the written weights (default: as they are).
        transformer_only: Leave the other parts out.
        overwrite: Replace parts that are there already.
    """

    source: Path = field(metadata=POSITIONAL)
    base: Path
    out: Path
    lora: Path | None = None
    prefix: str | None = None
    dtype: DType | None = None
    transformer_only: bool = False
    overwrite: bool = False


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    parser = Parser(ExportSettings, "export", "SOURCE --base DIR --out DIR [options]", DESCRIPTION)
    return run_command(parser, arguments, _run)


def _run(settings: ExportSettings) -> None:
    written = export_model(
        settings.source,
        settings.base,
        settings.out,
        lora=settings.lora,
        prefix=settings.prefix,
        dtype=DTYPES[settings.dtype] if settings.dtype else None,
        transformer_only=settings.transformer_only,
        overwrite=settings.overwrite,
    )
    print("\n".join(f"wrote {path}" for path in written))
