"""What the data side costs at the size of the paper: 150 million samples, 1,024 ranks, 16 nodes.

    python benchmarks/data_scale.py --out FOLDER [--samples 150000000] [--ranks 1024] [--nodes 16] [--rank 700]

FOLDER gets (once) the index and the sizes of so many samples in chunks of 64 MiB, about 25 bytes a sample, and chunks
of no bytes: none is read. The last line is one JSON object:

- `open_s`, `check_s`, `first_s`: seconds to open the folder, to compare all samples with the budget, and to plan the
  first batch;
- `plan_ms`, `plan_mean_ms`, `plan_most_ms`: milliseconds to plan a step of one rank: median, mean and the longest;
- `data_mb`: private memory (Anonymous) after this beyond what the process had once its modules were imported, and
  `process_mb`, all of it;
- `share`: bytes that a node reads in an epoch over its share of all, the largest of all nodes;
- `neighbours`: correlation of the numbers of samples that a rank draws one after another; `ranks_at_once`: of those
  that neighbouring ranks draw at the same step.
"""

import argparse
import json
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median

import numpy as np

from omnigen2.data import TASKS, Planner, Replica, StreamingSource, TokenBudget, check_budget
from omnigen2.data.batches import EpochOrder, order_key
from omnigen2.data.chunks import CHECKED, FORMAT, KINDS, SIZES_FILE, SizeTable
from omnigen2.data.samples import SampleSizes, Task
from omnigen2.pictures import ResizePolicy

CHUNK_BYTES = 64 * 2**20
RECORDS = 652
"""Of a chunk: pictures of 100 KB."""
SAFETENSORS = {np.int8: "I8", np.int16: "I16", np.int32: "I32", np.int64: "I64"}


def pattern() -> SizeTable:
    """Sizes of samples, a third of them with references, that are repeated to the end of the table."""
    rng = np.random.default_rng(0)
    sides = (rng.integers(16, 96, (CHECKED, 8)) * 16).tolist()
    counts = rng.choice(4, CHECKED, p=[0.67, 0.2, 0.1, 0.03]).tolist()
    texts = rng.integers(60, 400, CHECKED).tolist()
    sizes = [
        SampleSizes(text, ((s[0], s[1]), (s[2], s[3]), (s[4], s[5]))[:count], (s[6], s[7]))
        for text, count, s in zip(texts, counts, sides, strict=True)
    ]
    tasks: list[Task] = ["in_context" if count else "text_to_image" for count in counts]
    return SizeTable.of(Path("pattern"), tasks, sizes, texts)


def write(folder: Path, samples: int) -> None:
    """Write index, sizes and empty chunks of so many samples, a multiple of `CHECKED`."""
    folder.mkdir(parents=True, exist_ok=True)
    chunks, one, blocks = samples // RECORDS, pattern(), samples // CHECKED
    names = [f"chunk-0-{number}.bin" for number in range(chunks)]
    lengths = [RECORDS] * (chunks - 1) + [RECORDS + samples % RECORDS]
    entries = [
        {"chunk_bytes": CHUNK_BYTES, "chunk_size": length, "dim": None, "filename": name}
        for name, length in zip(names, lengths, strict=True)
    ]
    config = {"compression": None, "data_format": ["bytes"], "item_loader": "PyTreeLoader"}
    for name in names:
        (folder / name).touch()
    arrays = {name: np.ascontiguousarray(getattr(one, name)) for name in KINDS}
    starts = np.arange(blocks + 1) * one.starts[-1]
    once = {"starts": starts, "checksums": np.repeat(one.checksums, blocks)}
    bounds = json.dumps({**asdict(one.envelope), "text_bytes": one.most_bytes})
    checksum = zlib.crc32(b"".join((bounds.encode(), once["starts"].tobytes(), once["checksums"].tobytes())))
    metadata = {"format": FORMAT, "tasks": " ".join(TASKS), "bounds": bounds, "checksum": str(checksum)}
    header: dict[str, object] = {"__metadata__": metadata}
    place = 0
    ordered = sorted(KINDS, key=lambda name: -np.dtype(KINDS[name][0]).itemsize)
    for name in ordered:
        array = once.get(name, arrays[name])
        rows = len(array) * (1 if name in once else blocks)
        size = array.nbytes * (1 if name in once else blocks)
        shape = [rows, *array.shape[1:]]
        header[name] = {"dtype": SAFETENSORS[KINDS[name][0]], "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / SIZES_FILE).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in ordered:
            for _ in range(1 if name in once else blocks):
                file.write(once.get(name, arrays[name]).tobytes())
    (folder / "index.json").write_text(json.dumps({"chunks": entries, "config": config}))


def private_mb() -> float:
    """Memory of this process that no other shares and no file holds."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024


def shares(source: StreamingSource, ranks: int, nodes: int) -> float:
    """Bytes that a node reads in an epoch over its share, the largest of all nodes and of two epochs."""
    worst, each = 0.0, ranks // nodes
    for epoch in (0, ranks // 3):
        order = EpochOrder(source.chunks(), ranks, order_key(0, "all", epoch))
        for node in range(nodes):
            read: set[int] = set()
            for rank in range(node * each, (node + 1) * each):
                place, stop = order.part((rank + epoch) % ranks)
                while place < stop:
                    group = order.group(place)
                    read.update(group.chunks.tolist())
                    place = group.stop
            worst = max(worst, len(read) * nodes / len(source.index))
    return worst


def correlation(source: StreamingSource, ranks: int) -> tuple[float, float]:
    """Of neighbours in a rank, and of neighbouring ranks at the same step."""
    order = EpochOrder(source.chunks(), ranks, order_key(0, "all", 0))
    drawn: list[np.ndarray] = []
    for rank in range(0, ranks, max(1, ranks // 64)):
        place, stop = order.part(rank)
        parts: list[np.ndarray] = []
        while place < stop and len(parts) < 20:
            group = order.group(place)
            parts.append(group.numbers)
            place = group.stop
        drawn.append(np.concatenate(parts))
    steps = np.stack([numbers[: min(map(len, drawn))] for numbers in drawn])
    along = np.corrcoef(steps[:, :-1].ravel(), steps[:, 1:].ravel())[0, 1]
    return float(along), float(np.corrcoef(steps[:-1].ravel(), steps[1:].ravel())[0, 1]) if len(steps) > 1 else 0.0


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the index and the sizes, kept")
    for name, value in (("samples", 150_000_000), ("ranks", 1024), ("nodes", 16), ("rank", 700), ("steps", 2000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    told = parser.parse_args()
    samples = -(-told.samples // CHECKED) * CHECKED
    folder = told.out / str(samples)
    if not (folder / "index.json").is_file():
        write(folder, samples)
        print(f"wrote {folder}; run this again", flush=True)
        return

    budget = TokenBudget(16_384, ResizePolicy(max_pixels=1024 * 1024))
    before, start = private_mb(), time.perf_counter()
    source = StreamingSource(folder)
    opened = time.perf_counter()
    check_budget({"all": source}, budget)
    checked = time.perf_counter()
    plan = Planner({"all": source}, {"all": 1.0}, budget).begin(Replica(told.rank % told.ranks, told.ranks))
    plan.next_step()
    first = time.perf_counter()
    steps: list[float] = []
    for _ in range(told.steps):
        begun = time.perf_counter()
        plan.next_step()
        plan.state()
        steps.append(1000 * (time.perf_counter() - begun))
    memory = private_mb()
    along, across = correlation(source, told.ranks)
    found = {
        "samples": len(source),
        "ranks": told.ranks,
        "open_s": opened - start,
        "check_s": checked - opened,
        "first_s": first - checked,
        "plan_ms": median(steps),
        "plan_mean_ms": fmean(steps),
        "plan_most_ms": max(steps),
        "data_mb": memory - before,
        "process_mb": memory,
        "share": shares(source, told.ranks, told.nodes),
        "neighbours": along,
        "ranks_at_once": across,
    }
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()
