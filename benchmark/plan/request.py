"""A request: everything that `bench run` takes, with its defaults."""

from dataclasses import dataclass
from pathlib import Path

from benchmark.registry import USUAL_METRICS

VTM_VARIABLE = "VTM_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Measurements asked for: codecs x settings x images, and how they are to be made.

    `bench run` and `benchmark.measure.run.run` use every field. `bench plan` and `bench rescore`
    use those that select cells, images and folders.
    """

    codecs: tuple[str, ...] = ("all",)  # specs, `name[:key=value]...` or `path.py:Class`
    dataset: str = "sample"  # a name in the registry, a folder, or `path.py:function`
    points: tuple[str, ...] = ()  # `jpeg.quality=10,30`: settings instead of a codec's own sweep
    metrics: tuple[str, ...] = USUAL_METRICS  # names, or `path.py:Class`; ("all",)
    limit: int | None = None  # only the first images of the dataset
    flatten: bool = False  # accept images with alpha (laid on white) or CMYK
    packs: tuple[Path, ...] = ()  # bitstream archives that stand in for encoders
    draws: int | None = None  # seeds of each codec whose decoder draws, from 0 on
    skip_missing: bool = False  # leave out, with the reason, codecs that cannot run here
    timing: bool = False  # one cell at a time, nothing else running; only timed rows count as done

    engine: str = "local"  # or "ray"
    device: str = "auto"  # or "cpu", "cuda": of codecs and metrics
    jobs: int | None = None  # cells at the same time; None for one per core
    address: str = "auto"  # HOST:PORT of the Ray cluster; "auto" for that of this machine
    timeout_seconds: float | None = None  # of encoding, decoding or scoring one image; None: none
    gpus_per_worker: float = 1.0  # with Ray, for codecs on a GPU; 0.5 lets two share one

    keep: bool = True  # keep the streams
    verify: bool = False  # decode each kept stream again in a process that has nothing else

    results: Path = Path("results")
    data_dir: Path | None = None  # searched for datasets before $BENCH_DATA
    weights_dir: Path | None = None  # searched for weight files before $BENCH_WEIGHTS
    vtm_dir: Path | None = None  # of VTM's programs, instead of $VTM_DIR

    def use_folders(self) -> None:
        """Look for weights and programs in the given folders, in this context and its workers.

        Raises `UsageError` for what is no folder, and for a folder of weights without any.
        """
        from benchmark.system.settings import use_program_folder, use_weights_folder

        use_weights_folder(self.weights_dir)
        use_program_folder(VTM_VARIABLE, self.vtm_dir)
