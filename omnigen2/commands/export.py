"""`omnigen2 export`: trained weights as a model folder."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from omnigen2.commands.model import DTYPES
from omnigen2.commands.parser import Parser, run_command
from omnigen2.generate import export_model

DESCRIPTION = """\
Write a model folder in the released layout: the transformer from SOURCE, everything else from the base.

  omnigen2 export runs/edit/checkpoints/last.ckpt --base OmniGen2 --out edited
  omnigen2 export OmniGen2 --base OmniGen2 --lora my_adapter --out merged

SOURCE is a Lightning checkpoint, a file of weights (.safetensors, .bin, .pt: tensors only, nothing in it is run) or
a folder in the released layout.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows the word `export`.

    Returns:
        The exit status.
    """
    parser = Parser("export", "SOURCE --base DIR --out DIR [options]", DESCRIPTION)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="checkpoint, file of weights, or folder")
    parser.option("--base", required=True, type=Path, metavar="DIR", help="the model folder that was trained from")
    parser.option("--out", required=True, type=Path, metavar="DIR", help="the folder to write")
    parser.option("--lora", type=Path, metavar="DIR", help="adapter that is merged into the weights")
    parser.option("--prefix", help="of the transformer's names, if the checkpoint holds several")
    parser.option("--dtype", choices=DTYPES, help="of the written weights (default: as they are)")
    parser.option("--transformer_only", action="store_true", help="leave the other parts out")
    parser.option("--overwrite", action="store_true", help="replace parts that are there already")
    return run_command(parser, arguments, _run)


def _run(options: argparse.Namespace) -> None:
    written = export_model(
        options.source,
        options.base,
        options.out,
        lora=options.lora,
        prefix=options.prefix,
        dtype=DTYPES[options.dtype] if options.dtype else None,
        transformer_only=options.transformer_only,
        overwrite=options.overwrite,
    )
    print("\n".join(f"wrote {path}" for path in written))
