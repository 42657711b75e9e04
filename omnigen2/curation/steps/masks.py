"""Where a subject is in a frame: masks written, read, grown and frayed; and seeds that depend on what is worked on."""

import hashlib
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from omnigen2.curation import CurationError, Frame, OpenClip, Subject
from omnigen2.curation.models import Box, Mask

FRAYS = 8
"""Waves of a frayed border along a picture's side, about."""


def png(pixels: UInt8[np.ndarray, "height width *rgb"]) -> bytes:
    """A PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def keep_made(clip: OpenClip, seconds: float, pixels: UInt8[np.ndarray, "height width *rgb"], what: str) -> Frame:
    """Write something that was made of a frame; two things that are not equal never share a file."""
    content = png(pixels)
    return clip.keep(seconds, content, f"{what}-{hashlib.sha256(content).hexdigest()[:12]}")


def keep_mask(clip: OpenClip, seconds: float, mask: Mask) -> Frame:
    """Write a mask as `read_mask` reads it."""
    return keep_made(clip, seconds, mask.astype(np.uint8) * 255, "mask")


def read_mask(clip: OpenClip, frame: Frame) -> Mask:
    """True on the subject."""
    return np.asarray(clip.read(frame))[..., 0] > 127


def seen_mask(clip: OpenClip, subject: Subject, number: int) -> Mask:
    """Where a subject is in one of an item's frames.

    Raises:
        CurationError: If it has not been tracked, or is not seen there.
    """
    mask = read_mask(clip, subject.masks[number]) if subject.masks else np.zeros((0, 0), bool)
    if not mask.any():
        raise CurationError(f"there is no mask of {subject.name!r}", "put TrackSubjects and LastWhole before")
    return mask


def box_of(mask: Mask, margin: float = 0.0) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is True, in whole pixels, right and bottom not included.

    Args:
        margin: What is added on each side, as a share of the longer side; the picture's border ends it.
    """
    rows, columns = np.nonzero(mask)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    more = round(margin * max(right - left, bottom - top))
    height, width = mask.shape
    return (
        max(0, int(left) - more),
        max(0, int(top) - more),
        min(width, int(right) + more),
        min(height, int(bottom) + more),
    )


def box_mask(box: Box, height: int, width: int) -> Mask:
    """True in a box, as far as it lies in the picture; at least one pixel."""
    left, top, right, bottom = (round(side) for side in box)
    mask = np.zeros((height, width), bool)
    mask[min(top, height - 1) : max(top + 1, bottom), min(left, width - 1) : max(left + 1, right)] = True
    return mask


def grown(mask: Mask, share: float) -> Mask:
    """A mask with what is near to it.

    Args:
        share: How near, as a share of the picture's longer side; at least a pixel if it is not 0.
    """
    import cv2

    reach = int(np.ceil(share * max(mask.shape)))
    if reach == 0:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def frayed(mask: Mask, share: float, seed: int) -> Mask:
    """A mask less an uneven rim of it, so that nothing of what was around it is left; whole where the picture ends.

    OpenSubject (arXiv:2512.08294) erodes the borders of its masks irregularly.

    Args:
        share: Depth of the rim at most, as a share of the picture's longer side.
    """
    import cv2

    if share == 0:
        return mask
    waves = np.random.default_rng(seed).random((FRAYS, FRAYS), np.float32)
    height, width = mask.shape
    depth = cv2.resize(waves, (width, height), interpolation=cv2.INTER_LINEAR) * share * max(mask.shape)
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return mask & (inside > depth)


def seed_of(*parts: object) -> int:
    """A number that other parts give another of, and that depends on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") >> 1
