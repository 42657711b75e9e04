"""How long it takes to load a transformer from the page cache, against reading its file, and how much memory it takes.

    python benchmarks/loading.py --folder FOLDER
    python benchmarks/loading.py --folder OTHER_FOLDER --layers 2

Without --layers the transformer has the released sizes: 4 billion parameters, 7.9 GB in bfloat16, written into the
folder once. One JSON line: seconds of reading the file, of loading it, and of loading it and looking at every page of
every weight (each the fastest of some times, alternating); MiB of the weights, and MiB of private memory that the
loaded model takes (anonymous pages of /proc/self/smaps_rollup, Linux alone). `ratio` and `private_ratio` are what it
comes to.
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

PAGE = 4096
SMAPS = Path("/proc/self/smaps_rollup")
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def of_dit(name: str) -> Any:
    """Something of the room `dit`, which earlier revisions have in a file of it."""
    room = import_module("omnigen2.dit")
    return getattr(room, name, None) or getattr(import_module(".checkpoint", room.__name__), name)


def write(folder: Path, layers: int) -> None:
    """A transformer of the released sizes but for its layers, in bfloat16; nobody computes with it."""
    config = of_dit("TransformerConfig")(
        hidden_size=2520,
        num_layers=layers,
        num_refiner_layers=2,
        num_heads=21,
        num_kv_heads=7,
        axes=(40, 40, 40),
        in_channels=16,
        text_dim=2048,
    )
    with torch.device("meta"):
        model = of_dit("DiffusionTransformer")(config)
    of_dit("save_transformer")(model.to(torch.bfloat16).to_empty(device="cpu"), folder)


def read(folder: Path) -> None:
    """Read the weights' files into one small buffer."""
    buffer = bytearray(2**24)
    for path in folder.glob("*.safetensors"):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def look(model: torch.nn.Module) -> float:
    """Read a number of each page of every weight."""
    return sum(float(weight.detach().view(-1)[:: PAGE // weight.element_size()].sum()) for weight in model.parameters())


def private_bytes() -> int:
    """Memory of this process that is no file's; 0 where that is not told."""
    lines = SMAPS.read_text().splitlines() if SMAPS.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def seconds(work: Callable[[], object]) -> float:
    """How long it takes; what it returns is let go after the clock has stopped."""
    start = time.perf_counter()
    result = work()
    end = time.perf_counter()
    del result
    return end - start


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the transformer; written if it is not there")
    parser.add_argument("--layers", type=int, default=32, help="of a transformer that is written; 32 are 7.9 GB")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bfloat16", help="of the loaded weights")
    parser.add_argument("--times", type=int, default=4, help="how often each is done; the fastest counts")
    given = parser.parse_args()
    if not given.folder.is_dir():
        write(given.folder, given.layers)
    load, dtype = of_dit("load_transformer"), DTYPES[given.dtype]
    ways: dict[str, Callable[[], object]] = {
        "read_s": lambda: read(given.folder),
        "load_s": lambda: load(given.folder, dtype=dtype),
        "load_and_look_s": lambda: look(load(given.folder, dtype=dtype)),
    }
    before = private_bytes()
    model = load(given.folder, dtype=dtype)
    look(model)
    private, weights = private_bytes() - before, sum(weight.nbytes for weight in model.parameters())
    del model
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.times):
        for name, way in ways.items():
            found[name].append(seconds(way))
    line = {name: round(min(times), 3) for name, times in found.items()}
    line |= {"weights_mib": weights >> 20, "private_mib": private >> 20}
    line |= {"ratio": round(line["load_and_look_s"] / line["read_s"], 2), "private_ratio": round(private / weights, 3)}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
