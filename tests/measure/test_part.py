"""Parts of a run: fixed shares of its cells, which merged are the whole run."""

import pytest

from benchmark.codec import CodecInfo, Setting
from benchmark.errors import UsageError
from benchmark.measure.cells import Contender, Part, plan
from benchmark.rows.packs.merge import merge_folders
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from support.bench.command import bench
from support.codecs.files import FAKES
from support.rows.stable_rows import stable


def words(images, results, *more, verb="run"):
    return (verb, "--codecs", f"{FAKES}:Honest,jpeg", "--dataset", images, "--results", results,
            "--metrics", "psnr", "--points", "jpeg.quality=10,30", *more)  # fmt: skip


def only_store(results):
    (folder,) = results.iterdir()
    return Store(folder)


def test_parts_merged_are_the_whole_run_and_a_part_again_measures_nothing(images, tmp_path):
    numbers = (1, 2, 3)
    for number in numbers:
        done = bench(*words(images, tmp_path / str(number), "--part", f"{number}/3"))
        assert done.returncode == 0, done.stderr
    again = bench(*words(images, tmp_path / "1", "--part", "1/3"))
    assert "\n0 cells measured, 0 failed, 4 were finished before" in again.stdout
    (merged,) = merge_folders([tmp_path / str(number) for number in numbers], tmp_path / "merged")
    assert (merged.rows, merged.conflicts, merged.damaged) == (10, (), ())
    assert bench(*words(images, tmp_path / "whole")).returncode == 0
    whole, joined = only_store(tmp_path / "whole"), only_store(tmp_path / "merged")
    assert stable(joined) == stable(whole)
    streams = [{path.name: path.read_bytes() for path in of.streams()} for of in (joined, whole)]
    assert streams[0] == streams[1]
    nothing = bench(*words(images, tmp_path / "merged"))
    assert "\n0 cells measured, 0 failed, 10 were finished before" in nothing.stdout


def test_a_part_is_the_same_where_other_cells_are_done(images, tmp_path):
    bench(*words(images, tmp_path, "--limit", "1"))
    bench(*words(images, tmp_path, "--part", "2/3"))
    done = bench(*words(images, tmp_path, "--part", "1/3", verb="plan"))
    assert "total                                          4 cells       2 to do" in done.stdout


INFO = CodecInfo("1", "call", "MIT", "ab" * 32, 1, "one call")
SWEEP = tuple(Setting("quality", quality) for quality in range(8))
JPEG, WEBP = (Contender(CodecSpec(name, ()), INFO, SWEEP) for name in ("jpeg", "webp"))


@pytest.mark.parametrize("parts", [1, 3, 8, 24, 25, 200])
def test_every_cell_is_in_one_part_whatever_other_codecs_there_are_and_parts_are_even(
    parts, sources
):
    both = [JPEG, WEBP]
    shares = [plan(both, "d", sources, part=Part(n + 1, parts)) for n in range(parts)]
    assert sorted(cell.key for share in shares for cell in share) == sorted(
        cell.key for cell in plan(both, "d", sources)
    )
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 2, "each codec's cells differ by one at most"
    for number, share in enumerate(shares):
        alone = plan([WEBP], "d", sources, part=Part(number + 1, parts))
        assert alone == [cell for cell in share if cell.codec == WEBP.spec]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "/", "a/b", "-1/3", "1/3/5", "1.0/2"])
def test_what_is_no_part_is_refused_in_a_sentence(text, images, tmp_path):
    with pytest.raises(UsageError, match="is not of the form I/N, with I from 1 to N"):
        Part.of(text)
    done = bench(*words(images, tmp_path / "r", f"--part={text}"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "r").exists()


def test_a_search_has_no_parts(images, tmp_path):
    done = bench("run", "--codecs", "jpeg", "--dataset", images, "--results", tmp_path / "r",
                 "--target", "bpp=1", "--part", "1/2")  # fmt: skip
    assert done.stderr == "bench: --target searches the settings: leave --part out\n"
