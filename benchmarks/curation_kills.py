"""Kills `omnigen2 curate` at random moments and gives it again until it is done: is anything lost, or there twice?

    python benchmarks/curation_kills.py --kills 100
    python benchmarks/curation_kills.py --kills 10 --engine ray

Drawn videos are curated by recipes/curation/micro_edit.yaml, first without a stop. Then the same command is started
again and again, and SIGKILL ends its process after a random time; whenever it has come to its end, it begins in a new
folder. Each finished folder must have the same examples, pictures and gallery, byte for byte, and the same records but
for their seconds. Prints one JSON line. Needs Linux.
"""

import argparse
import json
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from omnigen2.cli import main as omnigen2
from omnigen2.curation import Store
from omnigen2.microworld.video import Footage, write_videos

RECIPE = Path(__file__).resolve().parents[1] / "recipes/curation/micro_edit.yaml"


def content_of(out: Path) -> dict[str, Any]:
    """All that a finished folder holds and that does not tell how long things took."""
    files: dict[str, Any] = {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("report.md", "clip.json", ".lock")
    }
    records = [
        [one.to_json()[key] for key in ("clip", "kept", "ended")]
        + [[count.step, count.taken, count.given] for count in one.counts]
        for one in Store(out).finished()
    ]
    return {**files, "records": records}


def start(words: list[str]) -> int:
    """Run the command in a forked process that has imported everything."""
    child = os.fork()
    if not child:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        os._exit(omnigen2(words))
    return child


def ended(child: int, seconds: float) -> bool:
    """Wait, and kill what has not ended by then; whether it came to its end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, "the command failed"
            return True
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--engine", choices=["here", "ray"], default="here")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_videos(folder / "videos", options.videos, options.seed, Footage(shots=(1, 2), seconds=(0.8, 1.2)))
        words = ["curate", str(RECIPE), "--clips", str(folder / "videos"), "--engine", options.engine, "--out"]
        begin = time.monotonic()
        assert ended(start([*words, str(folder / "whole")]), 600.0), "not finished in ten minutes"
        length = time.monotonic() - begin
        whole = content_of(folder / "whole")
        kills = finished = 0
        while kills < options.kills:
            finished += 1
            out = folder / f"out-{finished}"
            while not ended(start([*words, str(out)]), draw.uniform(0.0, length) if kills < options.kills else 600.0):
                kills += 1
            assert content_of(out) == whole, f"{out} differs after {kills} kills"
    examples = len([item for record in whole["records"] for item in record[1]])
    report = {"engine": options.engine, "kills": kills, "finished": finished, "differing": 0}
    print(json.dumps({**report, "clips": options.videos, "examples": examples}))


if __name__ == "__main__":
    main()
