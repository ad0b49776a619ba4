"""The contract of datasets, over every dataset in the registry."""

import pytest

from benchmark.commands.fetch import fetch
from benchmark.datasets.dataset import open_folder
from benchmark.errors import Unavailable, UsageError
from benchmark.registry import DATASETS, dataset_opener
from conftest import SHARED
from support.files.clic_files import make_clic


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders with all datasets; photographs of published archives are headers only."""
    root = tmp_path_factory.mktemp("data")
    for name, count, *size in (
        *(("clic2020/professional", 250), ("clic2020/mobile", 178), ("clic2020-valid", 41)),
        *(("clic2021", 60), ("clic2022", 30), ("clic2022-valid", 30)),
        *(("clic2024", 32), ("clic2024-valid", 30), ("cid22", 49, (512, 512))),
        *(("flickr2k", 2650, (2040, 1356)), ("ustc-td", 40, (3840, 2160))),
        *(("div2k", 100, (2040, 1356)), ("tecnick", 100, (1200, 1200))),
    ):
        make_clic(root / name, count, *size)
    return [SHARED / "data", root]


@pytest.fixture(params=DATASETS)
def dataset(request, folders):
    try:
        return dataset_opener(request.param)(folders)
    except Unavailable as missing:
        pytest.skip(f"needs ../shared: {missing}")


@pytest.mark.parametrize("name", sorted({*DATASETS} - {"sample"}))  # which comes with a package
def test_an_absent_dataset_is_one_sentence_with_its_remedy(name, tmp_path):
    with pytest.raises(Unavailable) as error:
        dataset_opener(name)([tmp_path, tmp_path / "not a folder"])
    assert f" {tmp_path}" in str(error.value)
    assert "\n" not in str(error.value)
    assert f"`bench fetch {name}`" in str(error.value)


@pytest.mark.parametrize("name", DATASETS)
def test_the_list_says_what_a_dataset_holds(name):
    assert (dataset_opener(name).__doc__ or "").startswith("Open the ")


def test_images_are_files_sorted_by_distinct_names_and_found_again(dataset, folders, request):
    assert dataset.name == request.node.callspec.params["dataset"]
    assert dataset.store_name == dataset.name.partition(":")[0]
    assert "/" not in dataset.store_name
    names = [image.name for image in dataset.images]
    assert names == sorted(set(names)) != []
    assert all(image.path.is_file() for image in dataset.images)
    assert [image.path.name for image in dataset.images] == [name.split("/")[-1] for name in names]
    assert dataset_opener(dataset.name)(folders) == dataset


def test_a_folder_of_the_same_files_is_another_dataset_with_the_same_order(dataset):
    folder = dataset.images[0].path.parent
    folder_dataset = open_folder(folder)
    assert folder_dataset.name not in DATASETS
    source_names = [image.path.name for image in dataset.images if image.path.parent == folder]
    folder_names = [image.path.name for image in folder_dataset.images]
    assert [name for name in folder_names if name in source_names] == source_names


def test_a_dataset_that_cannot_be_downloaded_says_where_its_images_belong(monkeypatch, tmp_path):
    monkeypatch.delattr("benchmark.datasets.kodak.fetch_dataset")
    with pytest.raises(UsageError, match=f"{tmp_path}"):
        fetch("kodak", tmp_path)
