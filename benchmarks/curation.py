"""How right and how fast the first steps of curation are, on drawn videos whose truth is known.

    python benchmarks/curation.py cuts --videos 300
    python benchmarks/curation.py viewpoint --pairs 300
    python benchmarks/curation.py histograms
    python benchmarks/curation.py memory --video TEN_MINUTES_720P.mp4
    python benchmarks/curation.py memory --make TEN_MINUTES_720P.mp4 --clip CLIP.mp4

One JSON line each. `cuts` writes videos as mp4, reads them back and finds their scenes: precision, recall and F1, a cut
counting as found from 0.1 s before it, or before its fade, to 0.1 s after. `viewpoint`: the area under the curve of the
share of agreeing blocks, pairs of one camera against pairs whose camera has moved by `--moved` of its view or more, and
against pairs of two shots. `histograms`: pairs of 512 x 512 pixels a second of one core, both pictures of each pair
computed anew, and plain numpy beside it (the fastest of alternating tries, in seconds of this process). `memory`: the
peak of the cut and pair steps on one video in MiB, without what the libraries take; `--make` repeats a clip to ten
minutes first. Seeds start at `--seed`; the settings were chosen on other seeds (10000 and 50000 on).
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from omnigen2.curation.pairs import BlockHistograms, frame_pairs
from omnigen2.curation.video import SIDE, Fault, Frame, SceneCuts, Span, Video
from omnigen2.microworld.video import DrawnVideo, Footage, Moment, draw_moment, sample_video, write_video

TOLERANCE = 0.1
MINUTES = 10


def found(video: DrawnVideo, spans: Sequence[Span]) -> tuple[int, int, int]:
    """Cuts that were found, that are none, and that were missed."""
    left = [span.start for span in spans[1:]]
    hits = 0
    for cut in video.cuts:
        near = next((time for time in left if cut.start - TOLERANCE <= time <= cut.end + TOLERANCE), None)
        if near is not None:
            left.remove(near)
            hits += 1
    return hits, len(left), len(video.cuts) - hits


def cuts(options: argparse.Namespace) -> dict[str, object]:
    """Scenes of drawn videos, every fourth with frames of uneven length, with flicker and flashes."""
    footage = Footage(flicker=0.03, flashes=0.15)
    totals = np.zeros(3, dtype=int)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seed, options.seed + options.videos):
            drawn = sample_video(seed, replace(footage, uneven=seed % 4 == 3))
            path = Path(folder, "video.mp4")
            write_video(drawn, path)
            totals += found(drawn, SceneCuts()(opened(path).frames(side=SIDE)))
    hits, wrong, missed = totals.tolist()
    return {
        "videos": options.videos, "cuts": hits + missed, "precision": round(hits / max(1, hits + wrong), 4),
        "recall": round(hits / max(1, hits + missed), 4), "f1": round(2 * hits / max(1, 2 * hits + wrong + missed), 4),
    }  # fmt: skip


def pairs_of(options: argparse.Namespace) -> Iterator[tuple[str, DrawnVideo, Moment, Moment]]:
    """Pairs of one camera, of a moved one and of two shots, as many of each."""
    footage = Footage(size=512, shots=(2, 2), moving=0.5, flicker=0.03, fades=0.0)
    left = dict.fromkeys(("same", "moved", "other"), options.pairs)
    seed = options.seed
    while any(left.values()):
        video, rng = sample_video(seed, footage), np.random.default_rng(seed)
        seed += 1
        first, second = (video.moments[int(place)] for place in rng.integers(len(video.moments), size=2))
        moved = first.camera.shift(second.camera)
        kind = "other" if first.shot != second.shot else "same" if moved == 0 else "moved"
        if left[kind] and (kind != "moved" or moved >= options.moved):
            left[kind] -= 1
            yield kind, video, first, second


def viewpoint(options: argparse.Namespace) -> dict[str, object]:
    """The area under the curve of the share of blocks that agree."""
    shares: dict[str, list[float]] = {"same": [], "moved": [], "other": []}
    alike = BlockHistograms()
    for kind, video, *moments in pairs_of(options):
        shares[kind].append(alike(*(draw_moment(video, moment) for moment in moments)))
    rest = shares["moved"] + shares["other"]
    return {
        "pairs of each": options.pairs, "moved by": options.moved, "auc": area(shares["same"], rest),
        "auc moved": area(shares["same"], shares["moved"]), "auc other": area(shares["same"], shares["other"]),
    }  # fmt: skip


def area(above: Sequence[float], below: Sequence[float]) -> float:
    """How often one of the first is above one of the second; half counts where they are equal."""
    high, low = np.array(above)[:, None], np.array(below)[None]
    return round(float((high > low).mean() + 0.5 * (high == low).mean()), 4)


def plain(picture: np.ndarray) -> np.ndarray:
    """64 colours in 8 x 8 blocks, in a line of numpy."""
    codes = picture[..., 0] // 64 * 16 + picture[..., 1] // 64 * 4 + picture[..., 2] // 64
    block = np.arange(512) // 64
    return np.bincount(((block[:, None] * 8 + block[None]) * 64 + codes).ravel(), minlength=4096)


def histograms(options: argparse.Namespace) -> dict[str, object]:
    """Pairs a second."""
    import cv2

    cv2.setNumThreads(1)
    rng = np.random.default_rng(options.seed)
    rough = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    pictures = [np.asarray(cv2.resize(one, (512, 512), interpolation=cv2.INTER_CUBIC)) for one in rough]
    alike = BlockHistograms()

    def with_numpy() -> None:
        for first, second in zip(pictures[::2], pictures[1::2], strict=True):
            np.minimum(plain(first), plain(second)).reshape(64, 64).sum(-1)

    def with_blocks() -> None:
        for first, second in zip(pictures[::2], pictures[1::2], strict=True):
            alike(first, second)

    best = {with_numpy: float("inf"), with_blocks: float("inf")}
    for _ in range(options.tries):
        for work in best:
            start = time.process_time()
            work()
            best[work] = min(best[work], time.process_time() - start)
    count = len(pictures) // 2
    return {
        "pairs a second": round(count / best[with_blocks]), "plain numpy": round(count / best[with_numpy]),
        "ratio": round(best[with_numpy] / best[with_blocks], 2),
    }  # fmt: skip


def memory(options: argparse.Namespace) -> dict[str, object]:
    """The cut step, and the pair step on all pairs of all scenes."""
    if options.make:
        repeat(Path(options.clip), Path(options.make))
    video = opened(Path(options.make or options.video))
    before = peak()
    spans = SceneCuts()(video.frames(side=SIDE))
    after_cuts = peak()
    alike, count = BlockHistograms(), 0
    for span in spans:
        pairs = frame_pairs(span.start, span.end)
        times = sorted({when for pair in pairs for when in pair})
        frames = dict(zip(times, video.at(times), strict=True))
        for first, second in ((frames[when] for when in pair) for pair in pairs):
            assert isinstance(first, Frame)
            assert isinstance(second, Frame)
            alike(first.pixels, second.pixels)
            count += 1
    return {
        "size": video.size, "seconds": video.length, "scenes": len(spans), "pairs": count,
        "MiB before": before, "MiB of cuts": after_cuts, "MiB of pairs": peak(),
    }  # fmt: skip


def peak() -> int:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def repeat(clip: Path, path: Path) -> None:
    """Show a clip again and again, for ten minutes, as 1280 x 720."""
    import av

    source = opened(clip)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        count = 0
        while count < MINUTES * 60 * 25:
            for frame in source.frames():
                shown = av.VideoFrame.from_ndarray(frame.pixels, "rgb24").reformat(1280, 720, "yuv420p")
                shown.pts = count
                container.mux(stream.encode(shown))
                count += 1
        container.mux(stream.encode())


def opened(path: Path) -> Video:
    """A video that can be read."""
    video = Video.open(path)
    assert not isinstance(video, Fault), video
    return video


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cuts", "viewpoint", "histograms", "memory"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--moved", type=float, default=0.05)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--video")
    parser.add_argument("--make")
    parser.add_argument("--clip")
    options = parser.parse_args()
    if options.what == "memory" and not (options.video or (options.make and options.clip)):
        parser.error("memory needs --video, or --make and --clip")
    print(
        json.dumps(
            {"cuts": cuts, "viewpoint": viewpoint, "histograms": histograms, "memory": memory}[options.what](options)
        )
    )


if __name__ == "__main__":
    main()
