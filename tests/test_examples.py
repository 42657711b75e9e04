"""The examples do what they say: each is run, prints what its docstring prints, and its result is looked at."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jaxtyping
import pytest
import torch
from PIL import Image

from omnigen2.layout import Ragged

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
ROOMS = {f"omnigen2.{room}" for room in ("dit", "encoders", "flow", "layout", "rl", "rope")}


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Without shape checks, which take most of the time of so small tensors; the rooms' own tests have them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def promised(name: str) -> list[str]:
    """What the docstring says that the example prints: its last indented block."""
    text = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text()))
    assert text is not None
    assert f"    python examples/{name}.py" in text
    return [line.strip() for line in text.rpartition(":\n\n")[2].splitlines()]


def check_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Word for word; numbers may differ a little from machine to machine, and each test looks at them."""
    number = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?")
    printed = capsys.readouterr().out.strip().splitlines()
    assert [number.sub("#", line.strip()) for line in printed] == [number.sub("#", line) for line in promised(name)]


def test_omni_rope_in_your_attention(capsys: pytest.CaptureFixture[str]) -> None:
    changes = load("omni_rope_in_your_attention").main()
    assert max(changes.moved, changes.padded_left, changes.alone) < 2e-6
    assert changes.exchanged > 1e-2
    check_printed("omni_rope_in_your_attention", capsys)


def test_the_attention_sees_positions() -> None:
    """Scores depend on the difference of positions: moving one of two tokens changes them, moving both does not."""
    torch.manual_seed(0)
    attention = load("omni_rope_in_your_attention").YourAttention()
    states, mask = torch.randn(1, 2, 128), Ragged.of([2]).mask()
    ids = torch.tensor([[3, 1, 4], [1, 5, 9]])

    def attend(ids: torch.Tensor) -> torch.Tensor:
        return attention(states, mask, ids)

    torch.testing.assert_close(attend(ids), attend(ids + torch.tensor([7, 20, 300])), rtol=0, atol=1e-6)
    for axis in torch.eye(3, dtype=torch.int64):
        assert (attend(ids) - attend(ids + torch.stack((axis, 0 * axis)))).abs().max() > 1e-4


def test_rectified_flow_two_moons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "moons.png"
    found = load("rectified_flow_two_moons").main(out)
    noise, samples, data = found["noise"], found["samples"], found["data"]
    assert samples.to_moons < 0.09 < noise.to_moons / 4
    assert data.to_moons == pytest.approx(0.05 * (2 / torch.pi) ** 0.5, rel=0.1)  # mean of |N(0, 0.05)|
    assert samples.from_moons < 0.03, "a part of the moons is missed"
    assert Image.open(out).size == (1350, 450)
    check_printed("rectified_flow_two_moons", capsys)


def test_flow_grpo_one_dimension(capsys: pytest.CaptureFixture[str]) -> None:
    before, after, best = load("flow_grpo_one_dimension").main()
    assert (best.mean, best.reward) == (1.5, pytest.approx(-0.16))
    assert before.reward == pytest.approx(-(1.5**2) - 0.16, abs=0.05)
    assert after.mean == pytest.approx(best.mean, abs=0.1)
    assert after.reward == pytest.approx(best.reward, abs=0.03)
    check_printed("flow_grpo_one_dimension", capsys)


def test_a_reward_of_your_own(capsys: pytest.CaptureFixture[str]) -> None:
    scores, advantages = load("a_reward_of_your_own").main()
    assert scores.valid.tolist() == [True, True, True, True, False, True]
    assert scores.value[0] == pytest.approx(1 + (1 + 1 / 3) / 4)  # red 1, mean brightness of (1, -1, -1): (1 - 1/3) / 2
    assert advantages.values[3:].tolist() == pytest.approx([1, 0, -1])
    assert advantages.values[:3].sum().item() == pytest.approx(0, abs=1e-6)
    assert advantages.values[:3].square().mean().item() == pytest.approx(1, abs=1e-4)
    assert (advantages.kept, advantages.dropped, advantages.constant) == (2, 0, 0)
    check_printed("a_reward_of_your_own", capsys)


def test_bridge_another_language_model(capsys: pytest.CaptureFixture[str]) -> None:
    result = load("bridge_another_language_model").main()
    assert result.change < 1e-5
    assert result.text_tokens == tuple(len(prompt) for prompt in ("red", "dark green", "as blue as the sea"))
    torch.testing.assert_close(result.drawn, result.wanted, rtol=0, atol=0.35)
    check_printed("bridge_another_language_model", capsys)


@pytest.mark.parametrize("words", [["a_reward_of_your_own.py"], ["rectified_flow_two_moons.py", "--help"]])
def test_an_example_is_a_command(words: list[str]) -> None:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, cwd=FOLDER)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_imports_rooms_and_has_a_test(path: Path) -> None:
    tree = ast.parse(path.read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module is not None}
    assert {name for name in modules if name.startswith("omnigen2")} <= ROOMS
    assert f"test_{path.stem}" in globals()
    assert path.read_text().rstrip().splitlines()[-1].startswith("    main(")
