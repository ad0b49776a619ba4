"""CompressAI's networks: streams and pictures are its own, files are found, mistakes are named."""

import ctypes
import hashlib
from collections import OrderedDict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from baselines.compressai import codec as zoo
from baselines.compressai.codec import QUALITIES, CompressAI, ZooStream, max_pixels, pack, unpack
from benchmark import errors
from benchmark.codec import Pixels, Setting
from benchmark.errors import BadOption, CorruptStream, ImageRefused, Unavailable, UnknownName
from benchmark.spec import CodecSpec, load_codec, parse_codec, resolve, split_codecs
from support.files.hostile_files import MakesFolder
from support.networks.zoo import save, small_network

HYPERPRIOR, UNPUBLISHED = "bmshj2018-hyperprior", "bmshj2018-factorized-relu"


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch):
    monkeypatch.setattr(zoo, "_networks", OrderedDict())


@pytest.fixture
def crop(photo):
    return np.ascontiguousarray(photo[:89, :121])


def stock_coded(network: torch.nn.Module, photo: Pixels) -> tuple[list[bytes], Pixels]:
    from compressai.ops import compute_padding
    from torch.nn.functional import pad

    image = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255
    around, off = compute_padding(*photo.shape[:2], min_div=64)
    with torch.no_grad():
        coded = network.compress(pad(image, around))
        decoded = pad(network.decompress(coded["strings"], coded["shape"])["x_hat"], off)
    levels = (decoded * 255).clamp(0, 255).round().byte()
    return [string for (string,) in coded["strings"]], levels[0].permute(1, 2, 0).numpy()


def test_a_list_of_files_and_one_checkpoint_a_number_make_a_curve(tmp_path, crop, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [save(small_network(HYPERPRIOR, spread), f"{spread}.pth") for spread in (3.0, 9.0)]
    of_list = f"compressai:model={HYPERPRIOR}:checkpoint={','.join(paths)},./3.0.pth"
    text, jpeg = split_codecs(f"{of_list},jpeg")
    (spec,) = resolve(parse_codec(text))
    codec = load_codec(spec)
    first, second, third = (len(codec.encode(crop, setting)) for setting in codec.sweep)
    assert jpeg == "jpeg"
    assert [setting.value for setting in codec.sweep] == [1, 2, 3]
    assert first == third < second
    assert CodecSpec.parse(spec.name, spec.variant) == spec
    assert dict(spec.options)["checkpoint"] == "3.0.pth,9.0.pth,3.0.pth"
    with pytest.raises(Unavailable, match=r"other\.pth"):
        load_codec(parse_codec(rf"{of_list}\,other.pth"))
    for number in (10, 9):
        (tmp_path / f"lambda-{number}.pth").write_bytes(bytes([number]))
    (tmp_path / "lambda-best.pth").write_bytes(b"")
    codec = CompressAI(model="mbt2018-mean", checkpoint=f"{tmp_path}/lambda-{{quality}}.pth")
    assert [setting.value for setting in codec.sweep] == [9, 10]
    assert codec.describe().caveat == ""
    with pytest.raises(Unavailable, match=r"mu-1\.pth"):
        CompressAI(model="mbt2018-mean", checkpoint=f"{tmp_path}/mu-{{quality}}.pth")


@pytest.mark.parametrize("model", QUALITIES)
def test_streams_and_pictures_are_those_of_compressai_to_the_last_bit(model, tmp_path, crop):
    network = small_network(model)
    path = save(network, tmp_path / "own.pth.tar")
    stream = CompressAI(model=model, checkpoint=path).encode(crop, Setting("quality", 1))
    strings, expected = stock_coded(network, crop)
    assert list(unpack(stream, len(strings)).strings) == strings
    zoo._networks.clear()  # the decoder makes its own network
    decoded = CompressAI(model=model, checkpoint=path).decode(stream)
    assert np.array_equal(decoded, expected)
    assert len(np.unique(decoded)) > 10  # a picture, not one grey


def test_published_files_have_tables_and_a_checkpoint_none(tmp_path, monkeypatch, photo):
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    network = small_network(HYPERPRIOR)
    network.entropy_bottleneck.quantiles.data *= 2  # tables computed anew are wider
    path = save(network, tmp_path / "own.pth")
    content = Path(path).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:8]
    for quality in (5, 2):
        (tmp_path / f"{HYPERPRIOR}-{quality}-{digest}.pth.tar").write_bytes(content)
    codec = CompressAI(model=HYPERPRIOR)
    assert codec.sweep == (Setting("quality", 2), Setting("quality", 5))
    assert codec.describe().caveat.endswith(" quality 1, 3, 4, 6, 7, 8")
    stream = codec.encode(photo, Setting("quality", 5))
    assert list(unpack(stream, 2).strings) == stock_coded(network, photo)[0]
    assert codec.setting_of(stream) == Setting("quality", 5)
    network.update(force=True)
    codec = CompressAI(model=HYPERPRIOR, checkpoint=path)
    stream = codec.encode(photo, Setting("quality", 1))
    assert list(unpack(stream, 2).strings) == stock_coded(network, photo)[0]


def test_weight_files_that_are_missing_or_damaged_are_named(tmp_path, monkeypatch):
    remedy = r"bench fetch compressai:model=mbt2018:metric=ms-ssim"
    with pytest.raises(Unavailable, match=rf"mbt2018-ms-ssim-1-.*{remedy}"):
        CompressAI(model="mbt2018", metric="ms-ssim")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    (tmp_path / "mbt2018-mean-1-e522738d.pth.tar").write_bytes(b"not it")
    with pytest.raises(Unavailable, match=r"mbt2018-mean-1-e522738d.*bench fetch"):
        CompressAI(model="mbt2018-mean")


def test_random_weights_are_told_and_the_same_in_every_instance(photo):
    first = CompressAI(model=HYPERPRIOR, weights="random")
    stream = first.encode(photo, first.sweep[0])
    zoo._networks.clear()
    torch.rand(1)
    state = torch.random.get_rng_state()
    second = CompressAI(model=HYPERPRIOR, weights="random")
    assert second.encode(photo, second.sweep[0]) == stream
    assert first.describe() == second.describe()
    assert first.describe().caveat == "random weights"
    assert torch.equal(torch.random.get_rng_state(), state)
    other_model = CompressAI(model="mbt2018-mean", weights="random")
    assert other_model.describe().fingerprint != first.describe().fingerprint


@pytest.mark.parametrize("wrap", ["network", "state_dict", "model_state_dict"])
def test_a_training_checkpoint_is_unwrapped(wrap, tmp_path, photo):
    network = small_network("bmshj2018-factorized")
    parallel = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"epoch": 3, wrap: parallel}, tmp_path / "own.pth")
    codec = CompressAI(model="bmshj2018-factorized", checkpoint=str(tmp_path / "own.pth"))
    stream = codec.encode(photo, Setting("quality", 1))
    assert list(unpack(stream, 1).strings) == stock_coded(network, photo)[0]


def test_code_in_a_checkpoint_or_another_model_is_refused(tmp_path, monkeypatch, photo):
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": MakesFolder(tmp_path / "boom")}, "evil.pth")
    save(small_network("bmshj2018-factorized"), "own.pth")
    for path, reason in (("evil.pth", "weights"), ("own.pth", "mbt2018-mean")):
        codec = CompressAI(model="mbt2018-mean", checkpoint=path)
        with pytest.raises(Unavailable, match=f"{path} .*{reason}"):
            codec.encode(photo, codec.sweep[0])
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(("model", "options", "error"), [
    ("bmshj2018-hyperpior", {}, UnknownName), ("mbt2018", {"metric": "psnr"}, UnknownName),
    ("mbt2018", {"weights": "trained"}, BadOption), (UNPUBLISHED, {}, Unavailable),
    ("mbt2018", {"weights": "random", "checkpoint": "own.pth"}, BadOption),
    ("mbt2018-mean", {"weights": "matched"}, BadOption),
    (HYPERPRIOR, {"weights": "matched", "metric": "ms-ssim"}, BadOption),
    (HYPERPRIOR, {"weights": "matched", "checkpoint": "own.pth"}, BadOption),
    ("mbt2018", {"checkpoint": "nowhere.pth"}, Unavailable),
])  # fmt: skip
def test_options_that_make_no_sense_are_refused(model, options, error):
    with pytest.raises(error):
        CompressAI(model=model, **options)


@pytest.mark.parametrize(("options", "error", "match"), [
    ({}, errors.UsageError, "model"), ({"model": "mbt2019"}, UnknownName, "mean 'mbt2018'"),
    ({"model": "mbt2018", "weights": "random"}, errors.UsageError, "random"),
    ({"model": "mbt2018", "metric": "psnr"}, UnknownName, "metric"),
    ({"model": UNPUBLISHED}, BadOption, f"{UNPUBLISHED}, mse"),
])  # fmt: skip
def test_options_without_published_files_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        CompressAI.published_weights(options)


def test_what_cannot_be_coded_is_refused():
    codec = CompressAI(model="bmshj2018-factorized", weights="random")
    with pytest.raises(ImageRefused, match="8193 x 8192 pixels"):
        codec.encode(np.broadcast_to(np.uint8(0), (1 << 13, (1 << 13) + 1, 3)), codec.sweep[0])
    with pytest.raises(CorruptStream, match=" 200"):
        codec.decode(bytes([200, 1, 1, 1, 0]))


def test_networks_beyond_the_memory_for_them_are_dropped_oldest_first(tmp_path, monkeypatch, photo):
    for number in (1, 2, 3):
        save(small_network("bmshj2018-factorized"), tmp_path / f"{number}.pth")
    codec = CompressAI(model="bmshj2018-factorized", checkpoint=f"{tmp_path}/{{quality}}.pth")
    first, second, third = codec.sweep
    for setting in (first, second):
        codec.encode(photo, setting)
    monkeypatch.setattr(zoo, "MAX_CACHED_BYTES", sum(map(zoo._num_bytes, zoo._networks.values())))
    for setting in (first, third):
        codec.encode(photo, setting)
    assert [source.quality for source in zoo._networks] == [1, 3]


@pytest.fixture
def fill_fresh_memory():
    """Lets the C library fill memory that it hands out with a byte; 0 to stop."""
    perturb = -6  # M_PERTURB in glibc's malloc.h
    set_option = getattr(ctypes.CDLL(None), "mallopt", lambda option, byte: None)  # glibc only
    yield lambda byte: set_option(perturb, byte)
    set_option(perturb, 0)


@pytest.mark.parametrize("model", [HYPERPRIOR, "mbt2018"])
def test_a_damaged_payload_does_not_show_memory_after_it(model, tmp_path, fill_fresh_memory):
    rng = np.random.default_rng(0)
    codec = CompressAI(model=model, checkpoint=save(small_network(model), tmp_path / "own.pth"))
    stream = codec.encode(rng.integers(0, 256, (60, 60, 3), np.uint8), Setting("quality", 1))
    size = len(stream) - 6
    noise = [rng.integers(0, 256, size, np.uint8).tobytes() for _ in range(3)]
    damaged = [stream[:6] + payload for payload in (bytes(size), b"\xff" * size, *noise)]
    pictures = {}
    for byte in (1, 170):
        fill_fresh_memory(byte)
        streams = *damaged, bytes([1, 60, 60, 0, 0])
        pictures[byte] = [codec.decode(stream).tobytes() for stream in streams]
    assert pictures[1] == pictures[170]
    assert len({*pictures[1]}) > 3


def test_a_flat_picture_has_the_bytes_that_its_decoder_asks_for(tmp_path):
    path = save(small_network(HYPERPRIOR), tmp_path / "own.pth")
    codec = CompressAI(model=HYPERPRIOR, checkpoint=path)
    flat = np.full((600, 700, 3), 128, np.uint8)
    data = codec.encode(flat, Setting("quality", 1))
    stream = unpack(data, 2)
    longer = pack(stream._replace(strings=(*stream.strings[:-1], stream.strings[-1] + bytes(500))))
    assert codec.decode(data).shape == flat.shape
    assert (codec.decode(longer) == codec.decode(data)).all(), "zeros after a string are ignored"
    with pytest.raises(CorruptStream, match="8000 x 8000"):
        codec.decode(pack(stream._replace(width=8000, height=8000)))


SIDES = st.integers(1, 8192)


@given(st.integers(0, 255), SIDES, SIDES, st.lists(st.binary(max_size=300), max_size=3))
def test_what_is_packed_is_unpacked(quality, width, height, strings):
    stream = ZooStream(quality, width, height, tuple(strings))
    assert unpack(pack(stream), len(strings)) == stream


def test_a_photograph_pays_eight_bytes_of_header_and_one_more_for_each_longer_length():
    stream = ZooStream(8, 768, 512, (bytes(20000), bytes(127)))  # 15 and 7 bits: 3 and 1 bytes
    assert len(pack(stream)) == 1 + 2 + 2 + (3 + 1) + 20000 + 127


def test_truncation_and_additional_bytes_are_detected():
    stream = pack(ZooStream(3, 768, 512, (b"latent" * 40, b"", b"z")))
    for length in range(len(stream)):
        with pytest.raises(CorruptStream):
            unpack(stream[:length], 3)
    with pytest.raises(CorruptStream, match=r"\b\d bytes|of \d+ bytes"):
        unpack(stream + b"\0", 3)
    stream = bytearray(pack(ZooStream(1, 1, 1, (b"abc", b"d"))))
    stream[3] += 1  # the first string now reaches into the second
    with pytest.raises(CorruptStream, match=r"\b\d bytes|of \d+ bytes"):
        unpack(bytes(stream), 2)


@pytest.mark.parametrize(("width", "height"), [((1 << 26) + 1, 1), (1 << 34, 1 << 34), (0, 5)])
def test_an_impossible_image_is_refused_before_memory_is_taken(width, height):
    with pytest.raises(CorruptStream, match=f"{width} x {height}"):
        unpack(pack(ZooStream(1, width, height, (b"y",))), 1)


@pytest.mark.parametrize("strings", [(b"",), (b"abc", b""), (b"y" * 1000, b"z")])
@pytest.mark.parametrize("size", [(1, 1), (512, 512), (513, 512), (9000, 1), (8192, 8192)])
def test_a_stream_is_made_long_enough_for_its_picture_and_no_longer(strings, size):
    stream = ZooStream(1, *size, strings)
    longer = zoo.pad_blank_stream(stream)
    data = pack(longer)
    pixels = (-(-size[0] // 64) * 64) * (-(-size[1] // 64) * 64)  # as the networks see them
    assert pixels <= max_pixels(len(data))
    padding_bytes = sum(map(len, longer.strings)) - sum(map(len, strings))
    assert padding_bytes == 0 or pixels > max_pixels(sum(map(len, longer.strings)) - 1)
    assert pack(longer._replace(strings=strings)) == pack(stream)
    assert padding_bytes == 0 or longer.strings[-1].rstrip(b"\0") == strings[-1].rstrip(b"\0")


def test_file_patterns_find_the_published_names_and_no_others():
    with zoo.prepare_import():
        from compressai.zoo.image import model_urls
    lists = [(model, *entry) for model, metrics in model_urls.items() for entry in metrics.items()]
    published = {(model, metric): files for model, metric, files in lists}
    names = [url.rpartition("/")[2] for files in published.values() for url in files.values()]
    assert published.keys() == {*product(QUALITIES.keys() - {UNPUBLISHED}, zoo.METRICS)}
    for (model, metric), files in published.items():
        assert [*files] == [*range(1, QUALITIES[model] + 1)]
        for quality, url in files.items():
            pattern = zoo.file_pattern(model, metric, quality)
            assert [name for name in names if Path(name).match(pattern)] == [url.split("/")[-1]]


def test_the_files_to_fetch_are_those_of_every_quality_of_a_model_and_metric():
    files = CompressAI.published_weights({"model": "cheng2020-attn", "metric": "ms-ssim"})
    assert len(files) == QUALITIES["cheng2020-attn"] == 6
    third = CompressAI.published_weights({"model": "bmshj2018-hyperprior"})[2]
    assert third.name == "bmshj2018-hyperprior-3-6d87be32.pth.tar"
    assert third.url.endswith(f"/{third.name}")
    assert third.sha256 == "6d87be32"
    matched = CompressAI.published_weights({"model": "mbt2018", "weights": "matched"})
    assert {"hyperprior-1.safetensors", "hyperprior-1.json"} <= {file.name for file in matched}
