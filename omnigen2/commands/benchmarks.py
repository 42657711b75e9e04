"""The benchmarks by name: where their items are, how they are averaged, and what was published about them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from omnigen2.evaluation import (
    Benchmark,
    ChoiceBenchmark,
    EditBenchmark,
    EmuEditBenchmark,
    GenEvalBenchmark,
    ImgEditBenchmark,
    OmniContextBenchmark,
    Reader,
)
from omnigen2.evaluation.judging import (
    BenchmarkItem,
    emu_edit_items,
    gedit_items,
    geneval_items,
    imgedit_items,
    omnicontext_items,
    read_mmbench,
    read_mmmu,
)
from omnigen2.evaluation.metrics import (
    IMGEDIT_SUBTASKS,
    PAPERS,
    EditBench,
    EvaluationError,
)
from omnigen2.microworld.runs import micro_edit_bench, micro_items
from omnigen2.microworld.tasks import Caption, ContextTask, EditTask

FULLSET = "fullset"
"""Where the official layouts have a method's pictures, in its folder."""


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        EvaluationError: If there is none.
    """
    if name not in BENCHMARKS:
        raise EvaluationError(f"there is no benchmark {name!r}", f"benchmarks: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def _with_data(reader: Callable[[Path, Path], list[BenchmarkItem]]) -> Reader:
    def read(images: Path, data: Path | None) -> list[BenchmarkItem]:
        if data is None:
            raise EvaluationError("this benchmark needs --data", "name the folder of the published data set")
        return reader(images, data)

    return read


def _micro(kind: type[Caption | ContextTask | EditTask]) -> Reader:
    return lambda images, data: micro_items(images, data, kind)


def _no_pictures(images: Path, data: Path | None) -> list[BenchmarkItem]:
    raise EvaluationError("this benchmark asks questions; it has no generated pictures", "leave --images out")


def _imgedit_bench() -> EditBench:
    return EditBench("ImgEdit-Bench (SC, PQ, O)", IMGEDIT_SUBTASKS, ("en",))


BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        OmniContextBenchmark("omnicontext", _with_data(omnicontext_items), PAPERS["omnicontext"], FULLSET),
        GenEvalBenchmark("geneval", lambda images, _: geneval_items(images), PAPERS["geneval"]),
        EditBenchmark("gedit", _with_data(gedit_items), PAPERS["gedit"], FULLSET),
        ImgEditBenchmark("imgedit", _with_data(imgedit_items), PAPERS["imgedit"]),
        EditBenchmark("imgedit-sc-pq", _with_data(imgedit_items), bench=_imgedit_bench),
        EmuEditBenchmark("emu-edit", _with_data(emu_edit_items), PAPERS["emu-edit"]),
        ChoiceBenchmark("mmbench", _no_pictures, PAPERS["mmbench"], questions=read_mmbench),
        ChoiceBenchmark("mmmu", _no_pictures, PAPERS["mmmu"], questions=read_mmmu),
        OmniContextBenchmark("micro-omnicontext", _micro(ContextTask), rules=True),
        GenEvalBenchmark("micro-geneval", _micro(Caption), rules=True),
        EditBenchmark("micro-edit", _micro(EditTask), bench=micro_edit_bench, rules=True),
    )
}
