"""What the sources of a mixture are called: each otherwise, and none a folder of another."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnigen2.data.samples import DataError


@dataclass(frozen=True, slots=True)
class Named:
    """A source that needs a name.

    Attributes:
        place: Its file without ending, or its folder; absolute.
        given: The name that it was given, if any.
        above: Names that the entries were given in whose files it stands, the outermost first.
        labels: The same entries, each by its name, its type, or its file.
    """

    place: Path
    given: str | None
    above: tuple[str, ...]
    labels: tuple[str, ...]

    def options(self) -> list[str]:
        """What it may be called, the shortest first."""
        parts = [part for part in self.place.parts[1:] if part != ".."]
        if self.given is not None:
            own = [self.given]
        else:
            own = ["/".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        prefix = "/".join(self.above)
        names = [f"{prefix}/{name}" if prefix else name for name in own]
        outer = ["/".join(self.labels[-count:]) for count in range(1, len(self.labels) + 1)]
        return [*names, *(f"{label}/{own[0]}" for label in outer if label != prefix)]


def different(sources: Sequence[Named], spec: Path) -> list[str]:
    """A name for each source: its shortest by which it is told from all others.

    Args:
        spec: What messages call the file that names them.

    Raises:
        DataError: If two cannot be told apart.
    """
    options = [source.options() for source in sources]
    chosen = [0] * len(sources)
    while clashing := _clashing([names[number] for names, number in zip(options, chosen, strict=True)]):
        longer = [index for index in clashing if chosen[index] + 1 < len(options[index])]
        if not longer:
            twice = sorted({options[index][0] for index in clashing})
            raise DataError(f"{spec} has several entries named {', '.join(twice)}; give each a `name:` of its own")
        for index in longer:
            chosen[index] += 1
    return [names[number] for names, number in zip(options, chosen, strict=True)]


def _clashing(names: Sequence[str]) -> list[int]:
    """Which are the name of another, or of the folder that another is in."""
    folders = {"/".join(name.split("/")[:count]) for name in names for count in range(1, name.count("/") + 1)}
    return [index for index, name in enumerate(names) if names.count(name) > 1 or name in folders]
