"""Kills `omnigen2 curate` at random moments and gives it again until it is done: is anything lost, or there twice?

    python benchmarks/curation_kills.py --kills 100
    python benchmarks/curation_kills.py --kills 100 --engine ray

Drawn videos are curated by recipes/curation/micro_edit.yaml, first without a stop. Then the same command is started
again and again, and SIGKILL ends its process after a random time; whenever it has come to its end, it begins in a new
folder. With Ray, whose start takes longer than the work, six workers are killed in a run too, one after another: the
command goes on, and a clip that three of them die of would be given up on purpose. Each finished folder must have the
same examples, pictures and gallery, byte for byte, and the same records but for their seconds; and no process of a
killed command may be left. Prints one JSON line. Needs Linux.
"""

import argparse
import json
import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnigen2.cli import main as omnigen2
from omnigen2.curation import Store
from omnigen2.microworld.video import Footage, write_videos

RECIPE = Path(__file__).resolve().parents[1] / "recipes/curation/micro_edit.yaml"
LONGEST = 1200.0
WORKERS = 6
REST = 2.0
"""Seconds between the deaths of two workers."""
WORKER = ("ray::Map(", "ray::MapWorker(")
"""What the titles of processes begin with that work on clips."""
GONE = 120.0
"""Seconds after which the processes of a killed command must have ended."""


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


def start(words: list[str], log: Path) -> int:
    """Run the command in a forked process that has imported everything."""
    child = os.fork()
    if not child:
        with log.open("w") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        os._exit(omnigen2(words))
    return child


@dataclass
class Kills:
    """What was killed so far.

    Attributes:
        left: Processes of killed commands that did not end.
    """

    commands: int = 0
    workers: int = 0
    left: int = 0


def ended(child: int, log: Path, seconds: float, workers: list[float], kills: Kills) -> bool:
    """Wait, and kill what has not ended by then; whether it came to its end.

    Args:
        log: What it says.
        workers: When one of its workers is killed, or as soon afterwards as one is working.
    """
    begin, moments = time.monotonic(), sorted(workers)
    while time.monotonic() < begin + seconds:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, f"the command failed after {kills}: {log.read_text()}"
            return True
        if moments and time.monotonic() > begin + moments[0] and killed_worker(child):
            kills.workers += 1
            moments = [max(moment, time.monotonic() - begin + REST) for moment in moments[1:]]
        time.sleep(0.005)
    below = processes_below(child)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kills.commands += 1
    kills.left += left_over(below)
    return False


def killed_worker(child: int) -> bool:
    """Kill one of those that work, if there is any."""
    below = processes_below(child)
    able = [one for one, title in below.items() if title.startswith(WORKER)]
    if not able:
        return False
    try:
        os.kill(random.choice(able), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def processes_below(parent: int) -> dict[int, str]:
    """All processes that a process has started, and those that they have, with their titles."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    below = {parent}
    while more := {one for one, of in parents.items() if of in below} - below:
        below |= more
    return {one: title_of(one) for one in below - {parent}}


def title_of(process: int) -> str:
    """Its command line; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def left_over(processes: dict[int, str]) -> int:
    """How many do not end by themselves; they are killed."""
    end = time.monotonic() + GONE
    while (there := [one for one, title in processes.items() if title and title_of(one)]) and time.monotonic() < end:
        time.sleep(0.05)
    for one in there:
        os.kill(one, signal.SIGKILL)
    return len(there)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--engine", choices=["here", "ray"], default="here")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which no more is killed")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_videos(folder / "videos", options.videos, options.seed, Footage(shots=(1, 2), seconds=(1.8, 2.4)))
        words = ["curate", str(RECIPE), "--clips", str(folder / "videos"), "--engine", options.engine, "--out"]
        begin, kills, log = time.monotonic(), Kills(), folder / "said.txt"
        assert ended(start([*words, str(folder / "whole")], log), log, LONGEST, [], kills), (
            "not finished in twenty minutes"
        )
        length = time.monotonic() - begin
        whole = content_of(folder / "whole")
        examples = len([item for record in whole["records"] for item in record[1]])
        assert examples, "nothing was made of the videos: draw more of them"
        ray, finished, end = options.engine == "ray", 0, time.monotonic() + 60 * options.minutes
        while kills.commands + kills.workers < options.kills and time.monotonic() < end:
            finished += 1
            out = folder / f"out-{finished}"
            while True:
                more = kills.commands + kills.workers < options.kills and time.monotonic() < end
                workers = [length * draw.uniform(n, n + 0.5) / WORKERS for n in range(WORKERS)] if ray and more else []
                until = draw.uniform(0, length) if more and (not ray or draw.random() < 0.5) else LONGEST
                if ended(start([*words, str(out)], log), log, until, workers, kills):
                    break
            assert content_of(out) == whole, f"{out} differs after {kills}"
            print(f"{finished} finished, {kills}", flush=True)
    report = {"engine": options.engine, "commands killed": kills.commands, "workers killed": kills.workers}
    report |= {"processes left": kills.left, "finished": finished, "differing": 0}
    print(json.dumps({**report, "clips": options.videos, "examples": examples}))


if __name__ == "__main__":
    main()
