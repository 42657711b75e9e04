"""How long `lightning run` needs before anything runs, against another revision of this repository.

    python benchmarks/runner.py 12f6153

Both trees are used alternately, each time by a process of its own; the table has the fastest of some times, and the
ratio. Lines are counted of what plans, carries out and reports, tests are those of resuming, stages and studies.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "--print_config of recipes/micro/rl_ablation.yaml": ("recipes/micro/rl_ablation.yaml", "--print_config"),
    "--dry_run of recipes/micro/rl_geneval.yaml": ("recipes/micro/rl_geneval.yaml", "--dry_run"),
    "import lightning.pytorch alone": (),
}
CALL = "import sys; from omnigen2.cli import lightning_main; sys.exit(lightning_main(['run', *sys.argv[1:]]))"
TESTS = {
    "before": ("tests/training/test_resume.py", "tests/training/test_study.py", "tests/training/test_stages_run.py"),
    "now": (
        "tests/runner/keep/test_resume.py", "tests/runner/keep/test_stopping.py", "tests/runner/execute/test_study.py",
        "tests/runner/execute/test_stages_run.py", "tests/runner/execute/test_stages_study.py",
    ),
}  # fmt: skip


def seconds(tree: Path, words: tuple[str, ...]) -> float:
    """How long a command takes in a tree."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    start = time.monotonic()
    subprocess.run([sys.executable, *words], cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="to be compared with")
    parser.add_argument("--times", type=int, default=3, help="how often each is done")
    parser.add_argument("--tests", action="store_true", help="time the tests too, once, on one core")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "old"
        subprocess.run(["git", "worktree", "add", "--detach", str(old), given.revision], cwd=ROOT, check=True)
        try:
            print(f"| what | {given.revision} | now | ratio |\n| --- | --- | --- | --- |")
            for title, words in COMMANDS.items():
                call = ("-c", CALL, *words) if words else ("-c", "import lightning.pytorch")
                found: dict[Path, list[float]] = {old: [], ROOT: []}
                for _ in range(given.times):
                    for tree, times in found.items():
                        times.append(seconds(tree, call))
                before, now = min(found[old]), min(found[ROOT])
                print(f"| {title} | {before:.1f} s | {now:.1f} s | {now / before:.2f} |", flush=True)
            if given.tests:
                pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
                before, now = (
                    seconds(tree, (*pytest, *TESTS[name])) for tree, name in ((old, "before"), (ROOT, "now"))
                )
                print(f"| tests of resuming, stages and studies | {before:.0f} s | {now:.0f} s | {now / before:.2f} |")
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(old)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
