"""How much memory one picture takes on the CPU, and how long, without and with weights that rest while others work.

    omnigen2 make-full FOLDER
    python benchmarks/memory.py FOLDER --threads 2

Each way is a process of its own that loads the model in bfloat16 and draws one picture, in turn and several times. Per
way, as /proc/self/status tells: the peak of its resident memory (VmHWM: its own, pages of files, libraries) and of its
own memory alone (RssAnon, looked at twenty times a second), in MB of 10^6 bytes; the fastest and the median seconds of
loading and drawing, the former over that of the first way, and the least seconds of CPU time, which hardly depend on
what else the machine does. The last line is JSON: that, the memory of the program before it loads a model, the estimate
(of weights and work space, without the program), and whether all pictures have the `same` pixels. Linux alone.

With PYTHONPATH=CHECKOUT and --ways none another checkout is measured.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


def told(name: str) -> int:
    """Bytes, as the kernel tells them of this process."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


class Watch(threading.Thread):
    """Looks at the process's own memory, twenty times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Look until it is over."""
        while not self.over.wait(0.05):
            self.most = max(self.most, told("RssAnon"))


def draw(given: argparse.Namespace) -> dict[str, Any]:
    """Draw the picture in this process."""
    import torch

    from omnigen2.generate import Generator

    torch.set_num_threads(given.threads)
    before, watch = told("VmRSS"), Watch()
    watch.start()
    start = time.perf_counter()
    generator = Generator.from_folder(
        given.folder, dtype=getattr(torch, given.dtype), offload=given.way, vae_memory=given.vae_memory
    )
    loaded = time.perf_counter()
    images = [reference(given.side)] * given.references
    result = generator(
        "a red cube on a blue table", images=images, height=given.side, width=given.side, steps=given.steps, seed=0
    )
    end = time.perf_counter()
    watch.over.set()
    return {
        "peak": told("VmHWM"),
        "own": watch.most,
        "program": before,
        "seconds": end - start,
        "loading": loaded - start,
        "cpu": time.process_time(),
        "pixels": hashlib.sha256(result.images[0].tobytes()).hexdigest(),
    }


def reference(side: int) -> Any:
    """A picture to look at."""
    from PIL import Image

    return Image.new("RGB", (side, side), (200, 80, 20))


def estimated(given: argparse.Namespace, way: str) -> int | None:
    """What the estimate says; None if this checkout cannot."""
    import torch

    from omnigen2.generate import ModelFolder, Request, Sampling, estimate, planner_of

    folder = ModelFolder(given.folder)
    images = (reference(given.side),) * given.references
    plan = planner_of(folder)(Request(prompt="", images=images, height=given.side, width=given.side))
    dtype, sampling = getattr(torch, given.dtype), Sampling(steps=given.steps)
    try:
        return estimate(folder, [plan], sampling, dtype, way, given.vae_memory, "cpu").peak  # pyright: ignore
    except TypeError:
        return None


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ways", nargs="+", default=["none", "stages", "blocks"])
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, default=256, help="of the picture, in pixels")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--references", type=int, default=0)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--vae_memory", default="one_by_one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--times", type=int, default=2, help="how often each way goes, alternating")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(draw(given)))
        return
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in given.ways}
    for _ in range(given.times):
        for way in given.ways:
            words = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    first = min(run["seconds"] for run in found[given.ways[0]])
    line: dict[str, Any] = {}
    print("| way | peak MB | own MB | fastest s | median s | over the first | CPU s |\n|---|---|---|---|---|---|---|")
    for way, runs in found.items():
        seconds = [run["seconds"] for run in runs]
        peak, own = (max(run[name] for run in runs) // 10**6 for name in ("peak", "own"))
        ratio, cpu = round(min(seconds) / first, 2), min(run["cpu"] for run in runs)
        print(
            f"| {way} | {peak} | {own} | {min(seconds):.1f} | {statistics.median(seconds):.1f} | {ratio} | {cpu:.1f} |"
        )
        expected = estimated(given, way)
        line[way] = {
            "peak_mb": peak,
            "own_mb": own,
            "seconds": round(min(seconds), 2),
            "ratio": ratio,
            "cpu": round(cpu, 2),
        }
        line[way] |= {"program_mb": max(run["program"] for run in runs) // 10**6}
        line[way] |= {} if expected is None else {"estimated_mb": expected // 10**6}
    line["same"] = len({run["pixels"] for runs in found.values() for run in runs}) == 1
    print(json.dumps(line))


if __name__ == "__main__":
    main()
