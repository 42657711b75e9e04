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
    Item,
    emu_edit_items,
    gedit_items,
    geneval_items,
    imgedit_items,
    omnicontext_items,
)
from omnigen2.evaluation.metrics import (
    EMU_EDIT,
    GEDIT,
    GENEVAL,
    IMGEDIT,
    IMGEDIT_SUBTASKS,
    MMBENCH,
    MMMU,
    OMNICONTEXT,
    EditBench,
    EvaluationError,
)
from omnigen2.microworld.runs import micro_edit_bench, micro_items
from omnigen2.microworld.tasks import Caption, ContextTask, EditTask


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Args:
        name: On the command line.

    Returns:
        It.

    Raises:
        EvaluationError: If there is none.
    """
    if name not in BENCHMARKS:
        raise EvaluationError(f"there is no benchmark {name!r}", f"benchmarks: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def _with_data(reader: Callable[[Path, Path], list[Item]]) -> Reader:
    def read(images: Path, data: Path | None) -> list[Item]:
        if data is None:
            raise EvaluationError("this benchmark needs --data", "name the folder of the published data set")
        return reader(images, data)

    return read


def _no_pictures(images: Path, data: Path | None) -> list[Item]:
    raise EvaluationError("this benchmark asks questions; it has no generated pictures", "leave --images out")


def _imgedit_bench() -> EditBench:
    return EditBench("ImgEdit-Bench (SC, PQ, O)", IMGEDIT_SUBTASKS, ("en",))


BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        OmniContextBenchmark("omnicontext", _with_data(omnicontext_items), (OMNICONTEXT,)),
        GenEvalBenchmark("geneval", lambda images, _: geneval_items(images), (GENEVAL,)),
        EditBenchmark("gedit", _with_data(gedit_items), (GEDIT,)),
        ImgEditBenchmark("imgedit", _with_data(imgedit_items), (IMGEDIT,)),
        EditBenchmark("imgedit-sc-pq", _with_data(imgedit_items), bench=_imgedit_bench),
        EmuEditBenchmark("emu-edit", _with_data(emu_edit_items), EMU_EDIT),
        ChoiceBenchmark("mmbench", _no_pictures, (MMBENCH,)),
        ChoiceBenchmark("mmmu", _no_pictures, (MMMU,)),
        OmniContextBenchmark("micro-omnicontext", lambda images, data: micro_items(images, data, ContextTask)),
        GenEvalBenchmark("micro-geneval", lambda images, data: micro_items(images, data, Caption)),
        EditBenchmark("micro-edit", lambda images, data: micro_items(images, data, EditTask), bench=micro_edit_bench),
    )
}
