"""A moved folder of images stays the same dataset, and two folders never share results."""

import shutil

import pytest
from PIL import Image

from support.bench.command import bench


@pytest.fixture
def photos(tmp_path):
    return fill_folder(tmp_path / "here" / "photos", range(6))


def fill_folder(folder, numbers):
    folder.mkdir(parents=True)
    for number in numbers:
        Image.new("RGB", (16, 16 + number), (40 * number, 90, 7)).save(folder / f"{number}.png")
    return folder


def measure(folder, results, *options):
    words = ("run", "--codecs", "raw", "--dataset", folder, "--results", results, "--jobs", 1)
    result = bench(*words, "--metrics", "psnr", "--no-table", *options, code=0)
    count, place = result.stdout.split()[0], result.stdout.split("rows in ")[1]
    return place.strip().rpartition("/")[2], int(count)


def test_a_folder_that_was_moved_has_its_results_and_finished_cells(photos, tmp_path):
    name, count = measure(photos, tmp_path / "results")
    assert (name[:-6], count) == ("photos-", 6)
    moved = photos.rename(tmp_path / "photos")
    assert measure(moved, tmp_path / "results") == (name, 0)
    assert measure(moved, tmp_path / "other results") == (name, 6), "on another machine too"


def test_added_and_removed_images_leave_the_rows_of_the_others(photos, tmp_path):
    name, _ = measure(photos, tmp_path / "results")
    Image.new("RGB", (16, 16), "teal").save(photos / "a.png")
    assert measure(photos, tmp_path / "results") == (name, 1)
    for number in (0, 1, 2, 3):
        (photos / f"{number}.png").unlink()
    assert measure(photos, tmp_path / "results") == (name, 0)
    assert measure(photos, tmp_path / "results", "--limit", 1) == (name, 0)


def test_another_folder_of_that_name_has_results_of_its_own(photos, tmp_path):
    name, _ = measure(photos, tmp_path / "results")
    other_folder = fill_folder(tmp_path / "there" / "photos", range(10, 15))
    shutil.copy(photos / "0.png", other_folder)  # one common image does not make them one dataset
    result, count = measure(other_folder, tmp_path / "results")
    assert (result[:-6], count) == ("photos-", 6)
    assert result != name
    assert measure(shutil.copytree(photos, tmp_path / "holiday"), tmp_path / "results")[1] == 6
    assert len(list((tmp_path / "results").iterdir())) == 3


def test_the_other_commands_find_the_results_of_a_moved_folder(photos, tmp_path):
    results = tmp_path / "results"
    name, _ = measure(photos, results)
    moved = photos.rename(tmp_path / "photos")
    place = "--dataset", moved, "--results", results
    bench("report", *place, "--metrics", "psnr", code=0)
    assert (results / name / "report" / "report.md").exists()
    plan = bench("plan", "--codecs", "raw", *place)
    assert plan.stdout.startswith(f"{name}: 6 images, 6 cells, 0 to do")
    assert "6 rows" in bench("rescore", *place, "--metrics", "psnr").stdout
    words = ("--against", results, "--dataset", moved, "--results", tmp_path / "new")
    check = bench("check", "--codec", "raw", *words, "--metrics", "psnr")
    sentence = "equal: raw: 6 of 6 images have the reference's pixels and sizes"
    assert sentence in check.stdout, check.stderr
    comparison = bench("check", results, tmp_path / "new", "--dataset", moved)
    assert sentence in comparison.stdout, comparison.stderr
    out = tmp_path / "raw.tar"
    exported = bench("pack", "export", out, "--codecs", "raw", *place)
    assert exported.stdout.strip() == f"{out}: 6 streams", exported.stderr


def test_images_measured_with_flatten_are_found_without_it(tmp_path):
    folder = tmp_path / "logos"
    folder.mkdir()
    for number in range(3):
        picture = Image.new("RGBA", (16, 16 + number), (40 * number, 90, 7, 99))
        picture.save(folder / f"{number}.png")
    name, _ = measure(folder, tmp_path / "results", "--flatten")
    words = ("--dataset", folder, "--results", tmp_path / "results", "--metrics", "psnr")
    bench("report", *words, code=0)
    assert (tmp_path / "results" / name / "report" / "report.md").exists()


def test_files_of_the_current_folder_are_imported_by_no_worker(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("random.py", "PIL.py", "numpy.py", "socket.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')\n")
    assert measure(photos, tmp_path / "results")[1] == 6
