"""Drawn videos as real files, each beside a small file that tells how to draw it again."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from omnigen2.errors import UserError
from omnigen2.files import read_object, write_json
from omnigen2.microworld.video.draw import draw_moment
from omnigen2.microworld.video.footage import DrawnVideo, Footage, Moment
from omnigen2.microworld.video.sampling import sample_video

EXACT = {"crf": "0"}
"""With the codec libx264rgb every pixel comes back as it was."""


def write_video(
    video: DrawnVideo,
    path: Path,
    codec: str = "libx264rgb",
    pixels: str = "rgb24",
    options: Mapping[str, str] | None = None,
    rotation: int = 0,
) -> None:
    """Write a video as its path's suffix says, such as .mp4.

    Args:
        codec: One of PyAV's encoders.
        pixels: A pixel format that it takes; rgb24 keeps colours as they are.
        options: Of the encoder; by default those that keep every pixel.
        rotation: What the file says of how to turn its frames, in degrees counterclockwise: 0, 90, 180 or 270. The
            frames are turned the other way, so that a player shows them upright.
    """
    import av

    with av.open(str(path), "w") as container:
        settings = dict(EXACT if options is None else options)
        stream: Any = container.add_stream(codec, rate=video.footage.rate, options=settings)
        stream.width = stream.height = video.footage.size
        stream.pix_fmt = pixels
        stream.codec_context.time_base = tick = Fraction(1, video.footage.rate)
        if rotation:
            stream.set_display_rotation(rotation)
        show = _remembering(video)
        for moment in video.moments:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(show(moment), -rotation // 90)), "rgb24")
            frame.pts, frame.time_base = round(moment.time / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _remembering(video: DrawnVideo) -> Callable[[Moment], UInt8[np.ndarray, "size size 3"]]:
    """Draw moments, but not one that looks like the one before: most of a video stands still."""
    last: list[tuple[object, UInt8[np.ndarray, "size size 3"]]] = []

    def show(moment: Moment) -> UInt8[np.ndarray, "size size 3"]:
        look = (moment.shot, moment.scene, moment.camera, moment.light)
        if not last or last[0][0] != look:
            last[:] = [(look, draw_moment(video, moment))]
        return last[0][1]

    return show


def write_videos(folder: Path, count: int, seed: int = 0, footage: Footage | None = None) -> list[Path]:
    """Draw videos of neighbouring seeds and write them as mp4 files, each with its truth beside it.

    Returns:
        Their paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for number in range(seed, seed + count):
        video = sample_video(number, footage)
        paths.append(folder / f"{number:06d}.mp4")
        write_video(video, paths[-1])
        write_json(paths[-1].with_suffix(".json"), {"seed": number, "footage": asdict(video.footage)})
    return paths


def read_truth(path: Path) -> DrawnVideo:
    """The truth of a video that `write_videos` has written.

    Raises:
        UserError: If the file beside it is missing or broken.
    """
    beside = path.with_suffix(".json")
    fields = read_object(beside, remedy="draw the videos again with write_videos")
    values = fields.object("footage").values
    try:
        pairs: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        footage = Footage(**pairs)
    except (TypeError, UserError) as error:
        raise UserError(f"{beside} has a footage that is none ({error})", "draw the videos again") from error
    return sample_video(fields.whole("seed", 0), footage)
