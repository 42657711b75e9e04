"""Everything of the data room that a recipe may name can be written in YAML."""

from pathlib import Path

from jsonargparse import ArgumentParser

from omnigen2.data import Mixture, StreamingSource
from tests.data.cases import picture, t2i, write_jsonl
from tests.data.chunks.test_chunks import write

RECIPE = """\
planner:
  sources:
    files: {{class_path: omnigen2.data.JsonlSource, init_args: {{files: {folder}/x.jsonl, bad_records: skip}}}}
    large:
      class_path: omnigen2.data.PixelRange
      init_args:
        source: {{class_path: omnigen2.data.StreamingSource, init_args: {{folder: {folder}/chunks}}}}
        at_least: 150
  weights: {{files: 1, large: 0.5}}
  budget:
    tokens: 512
    resize: {{max_pixels: 4096, multiple: 8}}
    oversized: skip
  mixing: sample
collate:
  dropout: {{prompt: 0.1, references_drop: independently}}
  broken: skip
steps: 4
"""


def test_a_mixture_is_written_in_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    write_jsonl(tmp_path / "x.jsonl", [t2i("a.png")])
    write(tmp_path / "chunks")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Mixture, None)
    loader = parser.instantiate(parser.parse_path(tmp_path / "recipe.yaml"))
    made = Mixture(**vars(loader))
    assert isinstance(made.planner.sources["large"].source, StreamingSource)
    assert made.planner.budget.tokens == 512
    assert made.collate.dropout is not None
    assert made.collate.dropout.references_drop == "independently"
    assert {example.source for batch in made for example in batch.examples} == {"files", "large"}
