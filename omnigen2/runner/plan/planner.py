"""Settings of runs, each read once; and which of them are the same run."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from omnigen2.errors import UserError
from omnigen2.runner.keep import CONFIG, WEIGHTS, asks_for_more, differences, settings_of
from omnigen2.runner.plan.config import Config, parse
from omnigen2.runner.plan.graph import Run
from omnigen2.runner.plan.stages import (
    ARGUMENTS,
    StageSpec,
    at,
    check_names,
    check_reference,
    check_start,
    options_of_stages,
    start_arguments,
    start_of,
)
from omnigen2.runner.recipe import Document, Places, arguments, form_of, nested, read_yaml

REFERS = re.compile(r"""seed_everything(?!":)|\.(?:ya?ml|json)\"""")
"""Settings, as JSON, that refer to the seed, or name a file that might."""
Layer = Path | Document
"""A file, or its content."""


@dataclass(eq=False)
class Node:
    """A run whose folder is not chosen yet.

    Attributes:
        key: The same for runs with the same settings that need the same runs.
        config: Its settings, with references to `needs`.
        places: Where cells look for it, the first one first.
    """

    key: str
    config: Config
    start: str | None
    needs: Mapping[str, "Node"]
    places: list[Path] = field(default_factory=list[Path])


class Planner:
    """Reads settings and finds equal runs.

    A run depends on its settings and on the weights that it starts from, and on nothing else; so what has the same
    settings, behind what has the same settings, is one run.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._parsed: dict[tuple[object, ...], Config] = {}
        self._runs: dict[Node, Run] = {}
        self._read = cache(read_yaml)

    def parse(self, layers: Sequence[Layer], options: Sequence[str], files: Sequence[Path], seed: int | None) -> Config:
        """Read settings; only once for seeds that nothing refers to.

        Raises:
            UserError: If anything is wrong in them.
        """
        documents = [self._read(one) if isinstance(one, Path) else one for one in layers]
        text = json.dumps([documents, list(options)], default=str)
        own = seed is not None and bool(REFERS.search(text))
        seeds = [] if seed is None else [f"--seed_everything={seed if own else 0}"]
        key = (text, *(one for one in layers if isinstance(one, Path)), *seeds)
        if key not in self._parsed:
            self._parsed[key] = parse(arguments(layers, documents, [*options, *seeds]), files)
        return self._parsed[key] if seed is None or own else self._parsed[key].seeded(seed)

    def read(self, path: Path, what: str) -> Document:
        """Read a plain recipe.

        Args:
            what: The beginning of an error that names it.

        Raises:
            UserError: If it is not one.
        """
        document = self._read(path)
        if (form := form_of(document)) != "plain":
            article = {"study": "a study", "stages": "a recipe with stages"}[form]
            raise UserError(f"{what} {path} is {article} itself; it must be a plain recipe")
        return document

    def node(
        self, place: Path, config: Config, start: str | None = None, needs: Mapping[str, Node] | None = None
    ) -> Node:
        """The node of a run that a cell looks for at a place."""
        needs = needs or {}
        symbols = Places({name: Path(need.key) for name, need in needs.items()})
        values = config.filled(symbols.fill).values if needs else config.values
        text = json.dumps([values, start and needs[start].key], sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()
        found = self.nodes.setdefault(key, Node(key, config, start, needs))
        found.places.append(place)
        return found

    def stages(
        self, folder: Path, specs: Mapping[str, StageSpec], blocks: Mapping[str, Document], cell: "CellSettings"
    ) -> dict[str, Node]:
        """Check stages one after the other, since a stage may refer to earlier ones only.

        Args:
            folder: Where they are looked for.
            specs: The stages as the parser read them.
            blocks: The stages as they stand in the file.
            cell: What they have in common.

        Raises:
            UserError: If anything in a stage is wrong.
        """
        check_names(specs, cell.file)
        options = options_of_stages(cell.options, specs)
        nodes: dict[str, Node] = {}
        for name, spec in specs.items():
            try:
                nodes[name] = self._stage(folder / name, spec, blocks[name], options[name], nodes, cell)
            except UserError as error:
                raise error.at(f"stage {name}") from error
        return nodes

    def _stage(
        self,
        place: Path,
        spec: StageSpec,
        block: Document,
        options: Sequence[str],
        earlier: Mapping[str, Node],
        cell: "CellSettings",
    ) -> Node:
        base, overrides = self._recipe(spec, block, cell), nested(block.get("overrides") or {})
        layers = [base, cell.common, overrides]
        files = (*cell.files, *([base] if isinstance(base, Path) else []))
        start = start_of(spec, overrides, list(earlier))
        started = {} if start is None else start_arguments(start, spec.carried, options)
        try:
            config = self.parse(layers, options, files, cell.seed)
        except UserError:
            if not started:
                raise  # else a class may demand weights
            config = self.parse([*layers, {"model": {"init_args": started}}], options, files, cell.seed)
        if start is not None:
            check_start(start, spec, str(config.values["model"]["class_path"]))
            config = config.with_arguments(started)
        places = Places({name: Path(name) for name in earlier})
        places.filled(config.values)
        needs = {reference[1:].partition("/")[0]: reference for reference in places.used.values()}
        for reference in places.used.values():
            model = earlier[reference[1:].partition("/")[0]].config.values["model"]
            check_reference(reference, str(model["class_path"]))
        if at(config.values, *ARGUMENTS, WEIGHTS) != f"@{start}/{WEIGHTS}":
            start = None  # an option has set other weights
        return self.node(place, config, start, {name: earlier[name] for name in needs})

    def _recipe(self, spec: StageSpec, block: Document, cell: "CellSettings") -> Layer:
        source = cell.base if spec.recipe is None else block["recipe"]
        if source is None:
            raise UserError("it names no recipe; write `recipe: FILE.yaml`, or the recipe itself")
        if isinstance(source, str):
            source = cell.file.parent / source
        document = self._read(source) if isinstance(source, Path) else source
        if (form := form_of(document)) != "plain":
            raise UserError(
                f"recipe: {source if isinstance(source, Path) else 'it'} has `{form}`; a stage needs a plain recipe"
            )
        return source

    def run(self, node: Node, root: Path, name: str) -> Run:
        """The run of a node, in the place where it was begun, if it was, else in the first one.

        Args:
            root: The folder of the plan.
            name: What the run is called if it has that folder.
        """
        if node not in self._runs:
            needs = {stage: self.run(need, root, name) for stage, need in node.needs.items()}
            places = Places({stage: run.folder for stage, run in needs.items()})
            config = node.config.filled(places.fill) if needs else node.config
            folder = _begun(node.places, root, config) or node.places[0]
            self._runs[node] = Run(
                name=name if folder == root else folder.relative_to(root).as_posix(),
                folder=folder,
                config=config,
                start=None if node.start is None else needs[node.start],
                needs=needs,
                references=places.used,
            )
        return self._runs[node]


def _begun(places: Sequence[Path], root: Path, config: Config) -> Path | None:
    """Where a run was begun: at one of its places, or where a link leads that it had when more cells shared it."""
    begun = [place for place in places if (place / CONFIG).is_file()]
    for place in begun:
        if not place.is_symlink():
            return place
    for place in begun:
        real, whole = place.resolve(), root.resolve()
        if real.is_relative_to(whole):
            found = differences(settings_of(real) or {}, config.values)
            if not found or asks_for_more(found):
                return root / real.relative_to(whole)
    return None


@dataclass(frozen=True)
class CellSettings:
    """What the stages of a cell have in common.

    Attributes:
        file: Paths of recipes are counted from it.
        files: The files of the recipe, to name them in messages.
        base: The recipe of the stages that name none: its path as from here, or its content.
        common: Settings over the recipes of all stages and under their overrides.
        options: Of the command, those for single stages too.
        seed: The seed of a study.
    """

    file: Path
    files: Sequence[Path]
    common: Document
    options: Sequence[str]
    base: Layer | None = None
    seed: int | None = None
