"""Real footage through the whole recipe for real videos: only the servers' words and the models' weights are none."""

import json
from pathlib import Path

from omnigen2.cli import main
from omnigen2.curation import Store
from omnigen2.data import Sample, read_jsonl
from tests.curation.clips import CLIPS
from tests.evaluation.metrics.test_similarity import write_tiny_clip, write_tiny_dino
from tests.paths import RECIPES
from tests.rl.loopback import Answer, Asked, chat_answer, loopback


def act(asked: Asked) -> Answer:
    """Instructions for pairs, a colour for the trial question; tokens are counted as servers do."""
    fields = asked.body["response_format"]["json_schema"]["schema"]["required"]
    told = {"colour": "grey", "usable": True, "problem": "", "instruction": "let the cyclist pass the car"}
    answer = chat_answer(json.dumps({field: told[field] for field in fields}))
    return Answer(body={**answer, "usage": {"prompt_tokens": 700, "completion_tokens": 30}})


def test_from_real_clips_to_examples(tmp_path: Path) -> None:
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    bikes = (CLIPS / "bikes.mp4").read_bytes()
    (clips / "bikes.mp4").write_bytes(bikes)
    (clips / "again.mp4").write_bytes(bikes + b"\0\0\0\x08free")  # other bytes, the same pictures
    write_tiny_dino(tmp_path / "dino")
    write_tiny_clip(tmp_path / "clip")
    with loopback(act) as server:
        recipe = str(RECIPES / "curation" / "video_edit.yaml")
        words = ["curate", recipe, "--clips", str(clips), "--out", str(out), "--engine", "here"]
        for change in (
            f"vars.server.urls=[{server.url}/v1]", "pairs.most=2", "pairs.gaps=[0.5, 1.0]", "dino.least=0",
            "clip.least=0", f"dino.folder={tmp_path / 'dino'}", f"clip.folder={tmp_path / 'clip'}",
        ):  # fmt: skip
            words += ["--set", change]
        assert main(words) == 0
        asked = len(server.asked) - 1
    found = {one.clip.name: one for one in Store(out).finished()}
    assert found["bikes.mp4"].counts[0].given == 6
    assert {"another viewpoint", "too short for a pair"} == {end.reason for one in found.values() for end in one.ended}
    read = [sample for _, sample in read_jsonl(out / "examples.jsonl") if isinstance(sample, Sample)]
    kept = [len(one.kept) for one in found.values()]
    assert len(read) == kept[0] == kept[1] > 3
    assert len({json.loads(sample.meta)["content"] for sample in read}) == 1
    report = (out / "report.md").read_text()
    assert f"{asked:,} questions, {700 * asked:,} tokens in, {30 * asked:,} tokens out" in report
    assert f"| duplicates: nearly the target of another clip | {len(read)} | 0 of 64 bits from" in report
