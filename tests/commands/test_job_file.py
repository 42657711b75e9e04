"""Job files: YAML with the options of a command."""

import textwrap
from pathlib import Path

import pytest

from omnigen2.commands.generate import GenerateSettings
from omnigen2.commands.options import Parser
from omnigen2.generate import Sampling
from tests.commands.conftest import Shell


class TestJobFile:
    JOB = """
        model: {model}
        prompt: "null"
        image: [a.png, b.png]
        image_scale: 2
        guidance_interval: [0, 0.5]
        negative_prompt: null
        seed: 3
        out: a.png
        dry_run: true
    """

    def run(self, shell: Shell, text: str, *words: object) -> GenerateSettings:
        Path("job.yaml").write_text(textwrap.dedent(text).format(model=shell.model))
        return Parser(GenerateSettings, "generate", "", "").settings([str(word) for word in words])

    def test_it_holds_any_option(self, shell: Shell) -> None:
        found = self.run(shell, self.JOB, "--config", "job.yaml")
        assert (found.prompt, found.image, found.dry_run) == ("null", (Path("a.png"), Path("b.png")), True)
        assert found.model.model == shell.model
        assert found.sampling == Sampling(image_scale=2.0, guidance_interval=(0.0, 0.5))
        assert found.negative_prompt == ""

    @pytest.mark.parametrize("first", [True, False])
    def test_the_command_line_wins_wherever_it_stands(self, shell: Shell, first: bool) -> None:
        options = ["--seed", 4, "--image", "c.png", "--guidance-interval", 0.5, 1, "--prompt=null", "--num-images=2"]
        file = ["--config", "job.yaml"]
        found = self.run(shell, self.JOB, *(options + file if first else file + options))
        assert (found.picture.seed, found.image, found.num_images) == (4, (Path("c.png"),), 2)
        assert found.sampling.guidance_interval == (0.5, 1.0)
        assert found.prompt == "null"

    def test_the_command_takes_it(self, shell: Shell) -> None:
        Path("job.yaml").write_text(f"{{model: {shell.model}, prompt: a, steps: 2, out: a.png, device: cpu}}")
        assert "wrote b.png (seed 1)" in shell(
            *("generate", "--config", "job.yaml", "--out", "b.png", "--seed", 1, "--height", 16, "--width", 16)
        )

    @pytest.mark.parametrize(
        ("line", "problem", "remedy"),
        [
            ("stepps: 3", "Option 'stepps' is not accepted", "did you mean steps?"),
            ("steps: many", "--steps: expected int, got many", "--help"),
            ("image: [3]", "--image: Not of type Path", "--help"),
            ("guidance_interval: [0]", "--guidance_interval: Expected a tuple with 2 elements", "--help"),
            ("dry_run: maybe", "--dry_run: expected true or false, got 'maybe'", "--help"),
            ("out: null", "the following arguments are required: --out, --model", "--help"),
            ("[1", "Problems parsing config", "--help"),
        ],
    )
    def test_what_is_wrong_in_it_is_told(self, shell: Shell, line: str, problem: str, remedy: str) -> None:
        Path("job.yaml").write_text(line)
        lines = shell.refused("generate", "--config", "job.yaml")
        assert problem in lines[0]
        assert remedy in lines[1]
        assert "does not exist" in shell.refused("generate", "--config", "none.yaml")[0]
