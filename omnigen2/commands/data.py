"""`omnigen2 data`: jsonl files to chunks, and a look at what a mixture holds."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from omnigen2.commands.options import POSITIONAL, Parser, run_command
from omnigen2.commands.settings import device_of
from omnigen2.data import BAD_FILE, Advance
from omnigen2.data.samples import DataError, LatentType, Origins
from omnigen2.encoders import HiddenStateBridge, KeptTemplate, PromptRules, load_codec
from omnigen2.errors import user_errors
from omnigen2.pictures import AnimatedImages, ImageReader, ResizePolicy

if TYPE_CHECKING:  # they import Lightning
    from omnigen2.training.flow_matching import CodecLatents, VLMStates

USAGE = """\
usage: omnigen2 data COMMAND …

commands:
  optimize SPEC OUT  write jsonl files and their images as chunks that train from any disk
  inspect PATH       counts, tasks and sizes of a spec or of chunks, and a picture of some samples

`omnigen2 data COMMAND --help` says more.
"""
OPTIMIZE = """\
Write each entry of a SPEC as a folder of litdata chunks. A SPEC is a yml file in the official layout, a jsonl or json
file, or a folder of pictures with captions (a.jpg beside a.txt).

  data:                                # SPEC.yml; paths are relative to it
    - {path: text_to_image.jsonl, ratio: 0.7}
    - {path: edits.jsonl, ratio: 0.3, image_root: images}

  {"task_type": "edit", "instruction": "…", "input_images": ["a.jpg"], "output_image": "b.jpg"}  # a line

Every record is checked, its images are decoded, and what was written is read back. Bad records are left out, counted
and listed with file and line in OUT/bad_records.jsonl; with --strict the first one stops.

With --vae, the latents of every sample with a target are stored beside its images, so that training need not encode
them. They serve trainings with the same codec and the same sizes (`budget: {resize: …}` of the recipe) only. With
--vlm, the states that a vision-language model has of its instruction are stored, for trainings with the same model,
number type, template and --max_text (then 888 if not given; what is longer is cut off). Other trainings refuse what is
stored, unless told to ignore it (`reading: {precomputed: ignore}`).
"""
INSPECT = """\
Show what a mixture holds. PATH is the OUT of `omnigen2 data optimize`, one of its folders, a yml, jsonl or json file,
or a folder of pictures with captions (a.jpg beside a.txt). Every line of such files is read and every picture opened.
"""
RELEASED = 5
"""References that the released model tells apart."""
MAX_TEXT = 888
"""Text tokens that the official training keeps of a prompt."""


@dataclass(frozen=True, kw_only=True)
class LatentSettings:
    """Whose latents are stored, and of which sizes.

    Attributes:
        vae: Store latents of this codec too, such as MODEL/vae.
        max_pixels: With --vae, of a target (default: 1048576).
        max_side: With --vae, longest side (default: 2048).
        multiple: With --vae, of all sides (default: 16).
        reference_pixels: With --vae, of references by their number, such as 1048576,589824 (default: the official).
        latent_type: With --vae, how latents are stored (default: float16).
    """

    vae: Path | None = None
    max_pixels: int | None = None
    max_side: int | None = None
    multiple: int | None = None
    reference_pixels: tuple[int, ...] = ()
    latent_type: LatentType | None = None

    def encoder(self, device: str | None) -> "CodecLatents | None":
        """What they ask for; None without `vae`. The codec is in float32, as trainings load theirs."""
        sizes = _given(self, "vae", "latents", "codec")
        if self.vae is None:
            return None
        from omnigen2.training.flow_matching import CodecLatents

        stored_as = sizes.pop("latent_type", "float16")
        with user_errors():
            return CodecLatents(load_codec(self.vae, device=device_of(device)), ResizePolicy(**sizes), stored_as)


@dataclass(frozen=True, kw_only=True)
class StateSettings:
    """Whose text states are stored.

    Attributes:
        vlm: Store text states too, of the model in this folder, which has mllm/ and processor/.
        vlm_type: With --vlm, of all numbers (default: bfloat16).
        vlm_template: With --vlm, whether the tokens of its template are kept (default: keep).
    """

    vlm: Path | None = None
    vlm_type: Literal["float32", "bfloat16"] | None = None
    vlm_template: KeptTemplate | None = None

    def encoder(self, device: str | None, max_text: int | None) -> "VLMStates | None":
        """What they ask for; None without `vlm`."""
        _given(self, "vlm", "text states", "model")
        if self.vlm is None:
            return None
        from omnigen2.training.flow_matching import TextStates, VLMStates
        from omnigen2.training.parts import VLMFolder

        with user_errors():
            bridge = HiddenStateBridge(template=self.vlm_template or "keep")
            rules = PromptRules(max_tokens=MAX_TEXT if max_text is None else max_text, overflow="cut")
            model = VLMFolder(str(self.vlm), self.vlm_type or "bfloat16").load(bridge, rules)
            return VLMStates(TextStates(model, device=device_of(device)))


@dataclass(frozen=True, kw_only=True)
class ChunkSettings:
    """How chunks are written.

    Attributes:
        spec: A yml, jsonl or json file, or a folder of pictures.
        out: An empty folder, or one that does not exist.
        strict: Stop at the first bad record.
        threads: Images decoded at a time.
        chunk_mb: Size of a chunk in MiB.
        tokenizer: Count text tokens with the tokenizer.json of this folder, not bytes.
        template: Text tokens that the chat template takes.
        max_text: Text tokens that the encoder keeps of a sample at most.
        animated: What to do with animations.
        device: With --vae or --vlm, where it works (default: cuda if there is one).
    """

    spec: str = field(metadata=POSITIONAL)
    out: str = field(metadata=POSITIONAL)
    strict: bool = False
    threads: int = 4
    chunk_mb: float = 64
    tokenizer: Path | None = None
    template: int = 128
    max_text: int | None = None
    animated: AnimatedImages = "refuse"
    latents: LatentSettings = field(default_factory=LatentSettings)
    states: StateSettings = field(default_factory=StateSettings)
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """What is looked at.

    Attributes:
        path: Chunks, here or far away, or a yml, jsonl or json file, or a folder of pictures.
        out: Picture of some samples.
        each: Samples of each source in the picture.
        seed: Of their choice.
        animated: What to do with animations.
    """

    path: str = field(metadata=POSITIONAL)
    out: Path = Path("contact_sheet.png")
    each: int = 12
    seed: int = 0
    animated: AnimatedImages = "refuse"


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    commands: dict[str, Callable[[Sequence[str]], int]] = {"optimize": _optimize, "inspect": _inspect}
    name = arguments[0] if arguments else "--help"
    if name in commands:
        return commands[name](arguments[1:])
    if name in ("--help", "-h"):
        print(USAGE, end="")
        return 0
    near = get_close_matches(name, commands, n=1)
    hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(commands)}"
    print(f"error: omnigen2 data has no command {name!r}\n       {hint}", file=sys.stderr)
    return 2


def _optimize(arguments: Sequence[str]) -> int:
    parser = Parser(ChunkSettings, "data optimize", "SPEC OUT [options]", OPTIMIZE)
    return run_command(parser, arguments, _run_optimize)


def _run_optimize(chosen: ChunkSettings) -> None:
    from omnigen2.data import ByteLength, OptimizeSettings, TokenizerLength, optimize

    if chosen.device is not None and chosen.latents.vae is None and chosen.states.vlm is None:
        raise DataError("--device is for what is computed", "name a model with --vae or --vlm, or leave it out")
    if chosen.tokenizer is None:
        text = ByteLength(chosen.template, limit=chosen.max_text)
    else:
        text = TokenizerLength(chosen.tokenizer, chosen.template, limit=chosen.max_text)
    settings = OptimizeSettings(
        strict=chosen.strict,
        chunk_bytes=int(chosen.chunk_mb * 2**20),
        threads=chosen.threads,
        text=text,
        reader=ImageReader(animated=chosen.animated),
        latents=chosen.latents.encoder(chosen.device),
        states=chosen.states.encoder(chosen.device, chosen.max_text),
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[bad]} bad"), console=Console(stderr=True)) as drawing:
        bars: dict[str, TaskID] = {}

        def show(advance: Advance) -> None:
            if advance.name not in bars:
                bars[advance.name] = drawing.add_task(advance.name, bad=0)
            drawing.update(bars[advance.name], completed=advance.done, total=advance.total, bad=advance.bad)

        report = optimize(chosen.spec, chosen.out, settings, show)
    for source in report.sources:
        print(f"{source.name}: {source.written} samples, {source.bad} bad records left out, ratio {source.ratio:.4g}")
    if report.bad:
        print(f"what is wrong with the {len(report.bad)} bad records: {Path(chosen.out) / BAD_FILE}")
        print(f"  the first: {report.bad[0]}")
    _print_origins(settings.origins)
    print(f"wrote {chosen.out}")


def _given(settings: LatentSettings | StateSettings, owner: str, made: str, maker: str) -> dict[str, Any]:
    """The options that were given beside the one that they are for.

    Raises:
        DataError: If that one is missing.
    """
    given = {name: value for name, value in asdict(settings).items() if value not in (None, ())}
    if given.pop(owner, None) is None and given:
        raise DataError(f"--{next(iter(given))} is for {made}", f"name their {maker} with --{owner}, or leave it out")
    return given


def _print_origins(origins: Origins, indent: str = "") -> None:
    for name, origin in origins.named().items():
        if origin is not None:
            print(f"{indent}{name}: {origin}")


def _inspect(arguments: Sequence[str]) -> int:
    return run_command(Parser(InspectSettings, "data inspect", "PATH [options]", INSPECT), arguments, _run_inspect)


def _run_inspect(settings: InspectSettings) -> None:
    from omnigen2.data import contact_sheet, open_data, summarise
    from omnigen2.files import write_bytes

    if settings.out.suffix.lower() != ".png":
        raise DataError(f"--out is {settings.out}, expected a name that ends in .png")
    reader = ImageReader(animated=settings.animated)
    opened = open_data(settings.path, bad_records="skip", reader=reader)
    for name, source in opened.sources.items():
        summary = summarise(source)
        print(f"{name}: {summary.samples} samples, ratio {opened.weights[name]:.4g}")
        print(f"  tasks: {', '.join(f'{task} {count}' for task, count in summary.tasks.items())}")
        print(f"  references: {', '.join(f'{count} with {number}' for number, count in summary.references.items())}")
        if summary.most_references > RELEASED:
            print(f"  {summary.first_with_most} has {summary.most_references}: the released model knows {RELEASED}")
        print("  text tokens at most: smallest {}, median {}, largest {}".format(*summary.text_tokens))
        if summary.targets:
            low, middle, high = (f"{width}x{height}" for height, width in summary.targets)
            print(f"  targets (width x height): smallest {low}, median {middle}, largest {high}")
        _print_origins(source.origins(), "  ")
    for record in opened.bad[:20]:
        print(f"bad record left out: {record}")
    if len(opened.bad) > 20:
        print(f"and {len(opened.bad) - 20} more bad records")
    write_bytes(settings.out, contact_sheet(opened.sources, settings.each, settings.seed, reader))
    print(f"wrote {settings.out}")
