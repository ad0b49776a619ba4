"""Selection of codecs and settings, and refusals before anything is measured."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmark.api.codec import run
from benchmark.codec import Setting
from benchmark.errors import BadOption, DamagedResults, Unavailable, UnknownName, UsageError
from benchmark.measure.request import Request, parse_points
from benchmark.measure.select import every_codec, find_sources, may_have_rows, open_matrix, select
from benchmark.registry import ALIASES
from benchmark.spec import load_codec, parse_codec
from support.bench.command import bench
from support.codecs.files import FAKES
from support.files.noise import noise_images
from support.rows.stable_rows import only_store

HONEST, MISSING = f"{FAKES}:Honest", f"{FAKES}:Missing"


def odd_codec(file, declaration):
    """Write a file with the class of a codec that declares something; return its spec."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"""
import sys; sys.path.insert(0, {str(FAKES.parents[2])!r})
from dataclasses import replace
from benchmark.codec import Setting
from benchmark.facts import Facts, Work
from support.codecs.fakes import Honest
class Odd(Honest):
    {declaration}
""")
    return f"{file}:Odd"


OUT_OF_RANGE = [
    ("jpeg", "jpeg.quality=300", "jpeg takes a whole quality from 1 to 100, not quality=300"),
    ("jpeg", "jpeg.quality=30.5", "not quality=30.5"),
    ("jpeg", "jpeg.quality=10,0", "not quality=0"),
    ("webp", "webp.quality=-1", "webp takes a quality from 0 to 100, not quality=-1"),
    ("avif", "avif.crf=99", "avif takes a whole crf from 0 to 63, not crf=99"),
    ("ours:beta=0", "ours.q=9", "ours:beta=0 takes a q from 0 to 4, not q=9"),
    ("jpeg2000:control=psnr", "jpeg2000.psnr=0", "takes a psnr from 1 to 100, not psnr=0"),
    ("raw", "raw.bits=7", "raw takes bits=8, not bits=7"),
]


@pytest.mark.parametrize(("codec", "points", "message"), OUT_OF_RANGE)
def test_a_setting_out_of_range_is_refused_with_the_range(codec, points, message):
    with pytest.raises(BadOption) as error:
        select([codec], parse_points([points]))
    assert message in str(error.value)


@pytest.mark.parametrize("text", [
    *("quality=3", "jpeg.=3", "jpeg.quality", "jpeg.quality=1,x", "=", "jpeg", ".q=1"),
    *(f"jpeg.quality={value}" for value in ("nan", "inf", "-inf", "1e999")),
])  # fmt: skip
def test_points_that_name_no_codec_setting_or_number_are_refused(text):
    with pytest.raises(UsageError, match="--points"):
        parse_points([text])


def test_settings_within_the_range_are_taken(tmp_path):
    points = parse_points(["jpeg.quality=1,100", "webp.quality=.5"])
    jpeg, webp = select(["jpeg", "webp"], points).contenders
    assert jpeg.sweep == (Setting("quality", 1), Setting("quality", 100))
    assert webp.sweep == (Setting("quality", 0.5),)
    # A codec that declares nothing, or something of another type, takes any setting.
    for spec in (HONEST, odd_codec(tmp_path / "mine.py", "accepts = 'image/png'")):
        (honest,) = select([spec], parse_points([f"{spec}.step=-7"])).contenders
        assert (honest.accepts, honest.sweep) == (None, (Setting("step", -7),))


def test_two_codecs_that_figures_could_not_tell_apart_are_refused(tmp_path):
    specs = [f"{HONEST}:pause=0.1:caveat={caveat}" for caveat in "ab"]
    assert len(select(specs, {}).contenders) == 2
    commands = r"command:encode=cp {in} {out}:decode=cp {in} {out}:values=1:name=copy"
    with pytest.raises(UsageError, match="label 'copy'"):
        select([commands, commands.replace("cp {in} {out}:decode", "cat {in} {out}:decode")], {})
    # Classes take no name.
    classes = [odd_codec(file, "pass") for file in (tmp_path / "a" / "one.py", tmp_path / "one.py")]
    with pytest.raises(UsageError, match="another class"):
        select(classes, {})


def test_all_are_codecs_without_options_and_a_missing_one_is_a_skip_with_its_reason(monkeypatch):
    assert set(ALIASES) < set(every_codec()) - {"command"} == set(every_codec())
    monkeypatch.setattr("benchmark.measure.select.every_codec", lambda: [MISSING, HONEST])
    selection = select(["all"], {})
    assert [c.spec.name for c in selection.contenders] == [parse_codec(HONEST).name]
    assert [(what, "'nonesuch'" in why) for what, why, _ in selection.skipped] == [(MISSING, True)]


def test_a_missing_codec_of_a_list_is_an_error_or_skipped_with_its_points():
    names, points = [MISSING, HONEST], parse_points([f"{MISSING}.step=8"])
    with pytest.raises(Unavailable, match=r"'nonesuch'.*--skip-missing"):
        select(names, {})
    with pytest.raises(Unavailable, match=r"'nonesuch'.*install it$"):
        select([MISSING], {})
    selection = select(names, points, skip_missing=True)
    assert [c.spec.name for c in selection.contenders] == [parse_codec(HONEST).name]
    assert [absent.what for absent in selection.skipped] == [MISSING]
    with pytest.raises(UnknownName, match="Did you mean 'step'"):
        select(names, parse_points([f"{HONEST}.steps=8"]), skip_missing=True)
    with pytest.raises(UnknownName, match="No codec 'jpgeg'"):
        select(["jpgeg"], {}, skip_missing=True)


def test_points_replace_the_sweep_of_every_variant_of_their_codec():
    points = parse_points([f"{HONEST}.step=8,4"])
    selection = select([HONEST, f"{HONEST}:caveat=x"], points)
    values = [[setting.value for setting in c.sweep] for c in selection.contenders]
    assert values == [[8, 4], [8, 4]]
    with pytest.raises(UnknownName, match="--codecs 'webp'"):
        select([HONEST], parse_points(["webp.quality=8"]))
    # Points of options are those of every variant with them.
    points = parse_points(["ours:size=micro.q=1"])
    contenders = select(["ours:size=micro", "ours"], points).contenders
    assert [c.sweep for c in contenders if "micro" in c.spec.text] == [(Setting("q", 1),)] * 2
    assert all(len(c.sweep) > 1 for c in contenders if "micro" not in c.spec.text)
    with pytest.raises(UnknownName, match="jpeg:optimize=1 'q'"):
        select(["jpeg:optimize=1"], parse_points(["jpeg:optimize=1.q=1"]))


def test_photographs_are_found_again_by_a_name_or_a_folder_or_the_reason_is_given(tmp_path):
    results = tmp_path / "none"
    folder = noise_images(tmp_path / "photos", [(20, 16), (16, 20)])
    Image.new("RGBA", (8, 8), (9, 9, 9, 9)).save(folder / "alpha.png")
    sources = find_sources(str(folder), None, results)
    assert {source.file.name for source in sources.values()} == {"0.png", "1.png", "alpha.png"}
    assert all(sha256 == source.sha256 for sha256, source in sources.items())
    for name in ("sample", "sample:some"):
        assert len(find_sources(name, None, results)) == 4
    assert "clic2020 was not found" in find_sources("clic2020", tmp_path, results)


def test_photographs_of_a_folder_are_found_by_its_results_while_they_are_there(tmp_path):
    folder = noise_images(tmp_path / "photos", [(20, 16), (16, 20)])
    options = {"metrics": "psnr", "jobs": 1, "results": tmp_path / "results"}
    (name,) = {run("raw", dataset=str(folder), **options).matrix.sources.dataset.name}
    sources = find_sources(name, None, tmp_path / "results")
    assert {source.file.path.parent for source in sources.values()} == {folder}
    folder.rename(tmp_path / "elsewhere")
    assert "--dataset path/" in find_sources(name, None, tmp_path / "results")


def test_cells_whose_stream_is_lost_are_measured_again_unless_streams_are_not_kept(tmp_path):
    options = {"dataset": "sample", "metrics": "psnr", "limit": 1, "results": tmp_path}
    request = Request(**{**options, "codecs": ("raw",), "metrics": ("psnr",)})
    assert not may_have_rows(request)
    assert len(open_matrix(request).to_do) == len(open_matrix(request).cells) == 1
    run("raw", jobs=1, **options)
    assert may_have_rows(request)
    assert open_matrix(request).to_do == ()
    for stream in tmp_path.glob("sample/streams/??/*"):
        stream.unlink()
    with pytest.warns(DamagedResults, match=r"1 cells .*sample") as caught:
        assert len(open_matrix(request).to_do) == 1
    assert len(caught) == 1
    assert open_matrix(replace(request, keep=False)).to_do == ()
    both_codecs = replace(request, codecs=("raw", "jpeg"), keep=False)
    assert {cell.codec.name for cell in open_matrix(both_codecs).to_do} == {"jpeg"}
    for shard in tmp_path.glob("sample/per_image/*.parquet"):
        shard.rename(shard.with_name("shipped-field.parquet"))
    assert not may_have_rows(request)
    with pytest.raises(UsageError, match="--timing"):
        open_matrix(replace(request, timing=True, packs=(tmp_path,)))


REFUSED = {
    "facts = Facts(work=Work(10**20))": "parameters 100000000000000000000",
    "facts = Facts(work=Work(None, float('nan'), 1))": "encode_kmac nan",
    "facts = Facts(work=Work(None, 1, -3))": "decode_kmac -3",
    "facts = Facts(work=Work('many'))": "parameters 'many'",
    "facts = Facts(work=Work('many' * 99))": f"parameters '{('many' * 20)[:79]}, which",
    "sweep = (Setting('q', 1), Setting('q', float('inf')))": "setting_value inf",
    "sweep = (Setting('q', 1e300),)": "setting_value 1e+300",
    "def describe(self): return replace(super().describe(), revision=1 << 60)": "revision 115292",
}


@pytest.mark.parametrize("declaration", REFUSED)
def test_a_declared_value_that_no_row_can_have_is_refused_before_the_run(declaration, tmp_path):
    with pytest.raises(UsageError, match=r"mine\.py:Odd has the ") as error:
        select([odd_codec(tmp_path / "mine.py", declaration)], {})
    assert REFUSED[declaration] in str(error.value)


def test_half_of_a_surrogate_pair_in_a_codec_s_error_costs_that_row_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    declaration = 'def encode(self, pixels, setting): raise ValueError("bad \\udcff file")'
    codecs = f"./{odd_codec(Path('mine.py'), declaration)},raw"
    noise_images(tmp_path / "photos", [(32, 24)])
    command = "run", "--codecs", codecs, "--dataset", "photos", "--metrics", "psnr"
    assert "Traceback" not in bench(*command, "--results", "results", code=1).stderr
    rows = only_store(Path("results")).versions().rows(named=True)
    assert {row["codec"] for row in rows if row["status"] == "ok"} == {"raw"}
    assert all(r"bad \xff file" in row["reason"] for row in rows if row["status"] == "failed")


def test_points_with_options_precede_those_of_the_plain_name():
    """The codec with options may have no network for the others."""
    points = parse_points(["pqmim.level=4", "pqmim:perceptual=1.level=2,3"])
    plain, perceptual = select(["pqmim", "pqmim:perceptual=1"], points).contenders
    assert [setting.value for setting in plain.sweep] == [4]
    assert [setting.value for setting in perceptual.sweep] == [2, 3]
    with pytest.raises(BadOption, match=r"perceptual=1 .*1, 2 or 3, not level=4"):
        select(["pqmim:perceptual=1"], parse_points(["pqmim.level=4"]))


def test_a_setting_given_as_an_option_is_the_point_that_is_measured():
    texts = ["jpeg:optimize=1:quality=30", "jpeg:quality=50:optimize=1", "ours:q=2", "webp"]
    result = {contender.spec.text: contender.sweep for contender in select(texts, {}).contenders}
    assert result["jpeg:optimize=1"] == (Setting("quality", 30), Setting("quality", 50))
    ours = {text: result[text] for text in result if text.startswith("ours")}
    assert ours == dict.fromkeys(("ours:beta=0", "ours:beta=3.84"), (Setting("q", 2),))
    assert len(result["webp"]) > 1
    for text, reason in (("quality=300", "from 1 to 100"), ("qualty=30", "'qualty'")):
        with pytest.raises(BadOption, match=reason):
            select([f"jpeg:{text}"], {})
    with pytest.raises(BadOption, match=r"--points jpeg\.quality"):
        load_codec(parse_codec("jpeg:quality=30"))
