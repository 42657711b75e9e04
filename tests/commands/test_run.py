"""What `lightning run` says of its end."""

from typing import Any

import pytest

from omnigen2.commands import run

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection {} by peer [127.0.0.1]:5539. GLHF!"
NCCL = "NCCL error in: ProcessGroupNCCL.cpp:1, remote process exited or there was a network error, NCCL version 2.27"
LOST = [GLOO.format("closed"), f"[/gloo/transport/tcp/pair.cc:1] Read error: {GLOO.format('reset')}", NCCL]


def ends(monkeypatch: pytest.MonkeyPatch, message: str, *words: str) -> int:
    def launch(*given: Any) -> int:
        raise RuntimeError(message)

    monkeypatch.setattr(run, "_launch", launch)
    return run.main(["recipe.yaml", *words])


@pytest.mark.parametrize("message", LOST)
def test_a_process_that_has_lost_another_one_says_so_in_two_lines(
    message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(monkeypatch, message) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: another process of this training has ended"
    assert "--verbose" in second


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("index 3 is out of bounds", []),
        ("closed by peer pressure", []),
        *((message, ["--verbose"]) for message in LOST),
    ],
)
def test_other_errors_and_those_of_verbose_have_their_traceback(
    message: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match=r"bounds|peer|NCCL"):
        ends(monkeypatch, message, *words)
