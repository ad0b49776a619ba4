"""Results as they are read from a folder: which datasets it has, which rows, which means."""

import pytest
from PIL import Image

from benchmark.errors import UnknownName, UsageError
from benchmark.rows import stored
from benchmark.rows.place import Place
from benchmark.rows.store import Store
from support.rows.measured import row, table


def write_rows(results, name, rows, **record):
    store = Store(results / name)
    store.write_record("20250101T000000-aa", {"machine": "a", **record})
    store.append(rows)


@pytest.fixture
def results(tmp_path):
    rows = [row(codec, 10, image, variant=variant)
            for codec, variant in (("jpeg", ""), ("jpeg", "optimize=1"), ("webp", ""))
            for image in ("mobile/a", "mobile/b", "professional/c")]  # fmt: skip
    write_rows(tmp_path, "set", rows)
    (tmp_path / "empty" / "per_image").mkdir(parents=True)
    return tmp_path


def test_datasets_are_those_with_rows(results):
    write_rows(results, "other", [row("jpeg", 10, "a")])
    assert stored.datasets_with_results(results, "all") == ["other", "set"]
    assert stored.datasets_with_results(results, "set:mobile") == ["set:mobile"]
    with pytest.raises(UnknownName, match=r"'empty'.*other, set"):
        stored.datasets_with_results(results, "empty")
    with pytest.raises(UsageError, match="`bench run`"):
        stored.datasets_with_results(results / "empty", "all")


def test_codecs_are_asked_for_by_name_or_by_label(results):
    expected_labels = {
        "all": ["jpeg", "jpeg:optimize=1", "webp"], "jpeg": ["jpeg"],
        "webp, jpeg:optimize=1": ["jpeg:optimize=1", "webp"],
    }  # fmt: skip
    for names, expected in expected_labels.items():
        summary = stored.read_results(results, "set", names, ["psnr"]).summary
        assert sorted(summary.labels.values()) == expected
    with pytest.raises(UnknownName, match=r"codec .*'avif'"):
        stored.read_results(results, "set", "jpeg,avif", ["psnr"])


def test_a_part_of_a_dataset_has_its_images_and_a_report_of_its_own(results):
    dataset_result, part_result = (
        stored.read_results(results, name, "webp", ["psnr"]) for name in ("set", "set:mobile")
    )
    assert [result.summary.points[0].images for result in (dataset_result, part_result)] == [3, 2]
    assert dataset_result.folder == results / "set" / "report"
    assert part_result.folder == results / "set" / "report-mobile"
    assert sorted(set(part_result.table["image"].to_list())) == ["mobile/a", "mobile/b"]
    assert [record["machine"] for record in dataset_result.runs] == ["a"]
    with pytest.raises(UsageError, match="set:desktop"):
        stored.read_results(results, "set:desktop", "all", ["psnr"])


def test_unless_asked_for_otherwise_every_row_counts_by_the_mean_of_the_images(tmp_path):
    rows = [row("jpeg", 10, image, num_bytes=size, width_px=width, bpp=8 * size / (width * 80))
            for image, size, width in (("a", 100, 100), ("b", 300, 200))]  # fmt: skip
    write_rows(tmp_path, "set", [*rows, row("webp", 10, "a")])

    def bpp(**options):
        points = stored.read_results(tmp_path, "set", "all", ["psnr"], **options).summary.points
        (point,) = (point for point in points if point.edition.spec.name == "jpeg")
        return point.bpp, point.images

    assert bpp() == (pytest.approx((0.1 + 0.15) / 2), 2)
    assert bpp(pooled=True) == (pytest.approx(8 * 400 / 24000), 2)
    assert bpp(common=True) == (pytest.approx(0.1), 1)
    with pytest.raises(UsageError, match="--verify"):
        bpp(verified_only=True)


def test_a_named_codec_without_a_verified_row_is_refused_by_the_name_of_the_option(tmp_path):
    rows = table([row("jpeg", 10, "a"), row("webp", 10, "a", attested=True)])
    assert stored.require_verified_rows(rows, tmp_path)["codec"].to_list() == ["webp"]
    with pytest.raises(UsageError, match=r"--verified-only .* jpeg"):
        stored.require_verified_rows(rows, tmp_path, "jpeg,webp")


def test_one_dataset_is_read_where_one_is_asked_for(results, tmp_path_factory):
    assert stored.read_one_dataset(results, "set", "webp", ["psnr"]).name == "set"
    write_rows(results, "other", [row("jpeg", 10, "a")])
    with pytest.raises(UsageError, match=r"--dataset all .*other, set"):
        stored.read_one_dataset(results, "all", "all", ["psnr"])
    photos = tmp_path_factory.mktemp("my photos")
    Image.new("RGB", (8, 8)).save(photos / "new.png")
    remedy = f" {photos}: .*`bench run --dataset '{photos}' --results {results}`"
    with pytest.raises(UsageError, match=remedy):
        stored.stored_dataset(results, str(photos))


def test_images_are_named_by_patterns_of_their_path_name_or_stem(results):
    names = ["a/kodim01.png", "b/kodim02.png", "b/other.png"]
    for patterns, expected in (
        (["kodim01"], names[:1]), (["kodim0?.png"], names[:2]), (["b/*"], names[1:]),
        (["other", "kodim01.png"], names[::2]), ([], []),
    ):  # fmt: skip
        assert stored.named_images(names, patterns) == set(expected)
    with pytest.raises(UnknownName, match=r"image .*'kodim03'"):
        stored.named_images(names, ["other", "kodim03"])
    result = stored.read_results(results, "set", "all", ["psnr"], images=["a", "c"])
    assert set(result.table["image"].to_list()) == {"mobile/a", "professional/c"}


def test_facts_about_sources_count_each_photograph_once():
    rows = [
        row(codec, quality, image, width_px=width, height_px=height, source_lossy=lossy)
        for codec in ("jpeg", "webp")
        for quality in (5, 10)
        for image, width, height, lossy in (
            ("b", 4, 4, True), ("a", 1, 1, None), ("c", 2, 8, False), ("d", 3, 3, True),
        )
    ]  # fmt: skip
    renamed = row("avif", 5, "later", image_sha256=rows[0]["image_sha256"], width_px=4, height_px=4)
    assert stored.source_facts(table([*rows, renamed])) == {
        "images": 4, "lossy": 2, "smallest": ("a", 1, 1), "largest": ("c", 2, 8), "spread": 16
    }  # fmt: skip
    assert stored.source_facts(table([renamed, *rows]))["largest"] == ("later", 4, 4)
    assert stored.source_facts(table(rows[:1]))["spread"] == 1
    assert stored.source_facts(table([])) is None


def test_without_a_name_it_is_kodak_or_the_only_dataset(tmp_path):
    write_rows(tmp_path, "photos", [row("jpeg", 10, "a")])
    assert stored.stored_dataset(tmp_path, "") == "photos"
    write_rows(tmp_path, "sample", [row("jpeg", 10, "a")])
    with pytest.raises(UnknownName, match=r"'kodak'.* Known: photos, sample"):
        stored.stored_dataset(tmp_path, "")
    write_rows(tmp_path, "kodak", [row("jpeg", 10, "a")])
    assert stored.stored_dataset(tmp_path, "") == "kodak"


def test_the_results_of_a_folder_know_where_it_lies_while_it_has_their_images(tmp_path):
    photos, results, name = tmp_path / "my photos", tmp_path / "results", "my photos-1a2b3c"
    photos.mkdir()
    write_rows(results, name, [row("jpeg", 10, "a.png")], request={"dataset": str(photos)})
    assert Place(name).find_measured(results).text == name, "maybe another folder's"
    Image.new("RGB", (8, 8)).save(photos / "a.png")
    assert Place(name).find_measured(results).text == str(photos)
    assert Place("kodak").find_measured(results).text == "kodak"
    assert Place(str(photos)).find_measured(results).text == str(photos)
    assert stored.requested_datasets(results, "all") == [name]
    assert stored.requested_datasets(results, "kodak,other") == ["kodak", "other"]


def test_a_newer_build_of_fewer_images_is_named_with_the_command_for_the_others(tmp_path):
    store = Store(tmp_path / "set")
    for build, images in (("1", "abc"), ("2", "a")):
        request = {"codecs": ["jpeg", "webp"], "dataset": "my photos", "limit": int(build)}
        request["points"] = ["webp.quality=10"]  # refused where --codecs does not name webp
        store.write_record(build, {"request": request})
        store.append([row("jpeg", 10, image, run=build, fingerprint=build) for image in images])
    (absent,) = stored.read_one_dataset(tmp_path, "set", "all", ["psnr"]).summary.absent
    assert (absent.what, "has 1 of 3 images" in absent.why) == ("jpeg", True)
    command = "bench run --codecs jpeg,webp --dataset 'my photos' --points webp.quality=10"
    assert absent.remedy == command
    result = stored.read_one_dataset(tmp_path, "set", "all", ["psnr"], images=["a"])
    assert [older.remedy for older in result.summary.absent] == [""]
