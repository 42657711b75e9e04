"""Generated broken files of every kind that the library reads: words, never a traceback, and nothing wrong accepted.

pytest -m fuzz tests/fuzz                                    all 3,000 cases
pytest -m fuzz tests/fuzz --fuzz_seed=7                      others
pytest -m fuzz tests/fuzz --fuzz_seed=7 --fuzz_case=lines:31 one of them, with its whole traceback
"""

from importlib import import_module
from itertools import islice

import pytest

from tests.fuzz.attempt import Case, find

pytestmark = [pytest.mark.fuzz, pytest.mark.usefixtures("unchecked")]

COUNTS = {
    "recipes": 300,
    "images": 860,
    "model_folders": 250,
    "adapters": 400,
    "judge_replies": 300,
    "lines": 560,
    "chunks": 230,
    "results": 100,
}
"""How many cases of each kind; a kind is a module of this folder with `cases(seed)`."""


def drawn(kind: str, seed: int, most: int) -> list[Case]:
    return list(islice(import_module(f"tests.fuzz.{kind}").cases(seed), most))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", COUNTS)
def test_broken_files_are_refused_in_words_or_read_as_they_are(kind: str, request: pytest.FixtureRequest) -> None:
    seed, wanted = request.config.getoption("--fuzz_seed"), request.config.getoption("--fuzz_case")
    most = request.config.getoption("--fuzz_count") or COUNTS[kind]
    own, _, number = wanted.partition(":")
    if wanted and own != kind:
        pytest.skip("another kind is wanted")
    if wanted:
        name, call = drawn(kind, seed, int(number) + 1)[int(number)]
        print(name)
        call()
        return
    found = {
        number: (name, text) for number, (name, call) in enumerate(drawn(kind, seed, most)) if (text := find(call))
    }
    told = [f"--fuzz_seed={seed} --fuzz_case={kind}:{number}  {name}: {text}" for number, (name, text) in found.items()]
    assert not found, f"{len(found)} finds\n" + "\n".join(told)


def test_there_are_three_thousand_cases() -> None:
    assert sum(COUNTS.values()) == 3000
