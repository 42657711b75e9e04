"""A picture file becomes an item."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from typing_extensions import override

from omnigen2.curation import Dropped, Item, OpenClip, Outcome, Step
from omnigen2.curation.steps.masks import png
from omnigen2.pictures import ImageFileError, ImageReader


class OpenPicture(Step):
    """Opens a clip that is a picture: upright, in RGB, as one item with one frame."""

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._opened(item, clip) for item in items]

    def _opened(self, item: Item, clip: OpenClip) -> Outcome:
        try:
            picture = ImageReader().read(clip.file, clip.file.name)
        except ImageFileError as error:
            return Dropped("a picture that cannot be read", error.message)
        return (replace(item, key="picture", frames=(clip.keep(0.0, png(np.asarray(picture))),)),)
