"""A codec made of two command lines: real programs, well-behaved and otherwise."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.command import Command
from benchmark.codec import Setting
from benchmark.errors import BadOption, CorruptStream, ProgramFailed, Unavailable, UsageError
from benchmark.measure.select import select
from benchmark.spec import load_codec, parse_codec, resolve
from support.bench.command import bench

COPY = "cp {in} {out}"
ONCE = Setting("q", 1)


def shell(script: str) -> str:
    return f"sh -c '{script}'"


def encoder(encode: str, **options: float) -> Command:
    return Command(encode=encode, decode=COPY, values="1", **options)


def decoder(decode: str, **options: float) -> Command:
    return Command(encode=COPY, decode=decode, values="1", **options)


def test_the_encoder_is_given_an_8_bit_rgb_png_without_metadata(photo):
    data = encoder(COPY).encode(photo, ONCE)
    with Image.open(BytesIO(data)) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), photo)
    chunks, position = set(), 8
    while position < len(data):
        chunks.add(data[position + 4 : position + 8])
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    assert chunks == {b"IHDR", b"IDAT", b"IEND"}


def test_the_value_reaches_the_encoder_as_programs_write_numbers_and_a_decoder_by_a_byte(photo):
    for values, text in (("30", b"30"), ("0.25", b"0.25"), ("1e6", b"1000000"), ("-2", b"-2")):
        codec = Command(encode=shell("printf %s {q} > {out}; : {in}"), decode=COPY, values=values)
        assert codec.encode(photo, codec.sweep[0]) == text
    encode = shell("cp {in} {out}; : {q}")
    codec = Command(encode=encode, decode=shell("test {q} = 0.5 && cp {in} {out}"), values="9/0.5")
    data = codec.encode(photo, codec.sweep[1])
    assert (data[0], data[1:5]) == (1, b"\x89PNG")
    assert np.array_equal(codec.decode(data), photo)
    with pytest.raises(CorruptStream):
        codec.decode(b"\x02" + data[1:])


def test_the_sweep_is_the_values_in_their_order_without_which_nothing_is_measured(photo):
    options = {"values": "9/0.5/3", "setting": "distance", "name": "copy"}
    codec = Command(encode=COPY + " {q}", decode=COPY, **options)
    assert codec.sweep == tuple(Setting("distance", value) for value in (9.0, 0.5, 3.0))
    info = codec.describe()
    assert info.command == "cp {in} {out} {distance}; cp {in} {out}"
    assert info.version.startswith("copy, ")
    assert (info.licence, info.caveat) == ("NOASSERTION", "")
    with pytest.raises(BadOption, match=r"distance.* q=9"):
        codec.encode(np.zeros((1, 1, 3), np.uint8), Setting("q", 9))
    codec = Command(encode=COPY, decode=COPY)
    assert np.array_equal(codec.decode(codec.encode(photo, ONCE)), photo)
    with pytest.raises(BadOption, match="values="):
        select([f"command:encode={COPY}:decode={COPY}"], {})


ENC = """import sys
import layers.quantise
open(sys.argv[2], "wb").write(open(sys.argv[1], "rb").read())
"""


@pytest.mark.parametrize(("template", "changed"), [
    ("python3 enc.py {in} {out} {q}", "enc.py"), ("python3 -m enc {in} {out} {q}", "enc.py"),
    ("./encode {in} {out} {q}", "encode"), ("python3 enc.py {in} {out} {q}", "layers/quantise.py"),
    ("python3 enc.py {in} {out} {q}", "layers/deep.py"),
    ("cp {in} {out} --weights weights --q {q}", "weights/deep/a.pth"),
    ("cp {in} {out} --weights=weights/deep/a.pth --q {q}", "weights/deep/a.pth"),
    ("./encode {in} {out} {q}", "layers/quantise.py"),
])  # fmt: skip
def test_what_runs_is_in_the_fingerprint(tmp_path, monkeypatch, template, changed):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "enc.py": ENC, "layers/__init__.py": "", "layers/quantise.py": "from .deep import x\n",
        "encode": f"#!/usr/bin/env python3\n{ENC}",
        "layers/deep.py": "x = 1\n", "weights/deep/a.pth": "1", "unrelated.py": "y = 1\n",
    }.items():  # fmt: skip
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
        Path(name).chmod(0o755)

    def fingerprint(more: str = "") -> str:
        return Command(encode=template + more, decode=COPY, values="1/2").describe().fingerprint

    first = fingerprint()
    Path("unrelated.py").write_text("y = 2\n")
    assert fingerprint() == first != fingerprint(" --fast")
    Path(changed).write_text(Path(changed).read_text() + "\n# 2")
    assert fingerprint() != first


@pytest.mark.parametrize("encode", [shell(COPY), "bash run.sh {in} {out}", "./run.sh {in} {out}"])
def test_what_cannot_be_seen_needs_a_version_to_be_resumed(tmp_path, monkeypatch, encode):
    monkeypatch.chdir(tmp_path)
    Path("run.sh").write_text('#!/usr/bin/env bash\ncp "$1" $2')
    Path("run.sh").chmod(0o755)

    def fingerprint(**stated: str) -> str:
        return Command(encode=encode, decode=COPY, values="1", **stated).describe().fingerprint

    assert fingerprint() != fingerprint()
    assert fingerprint(version="3") == fingerprint(version="3") != fingerprint(version="4")


def variants(*texts: str) -> set[tuple[str, str]]:
    return {(spec.name, spec.variant) for text in texts for spec in resolve(parse_codec(text))}


def test_a_codec_is_the_same_however_it_is_spelt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = "command:encode=cp {in} {out}:decode=cp {in} {out}"
    assert len(variants(f"{command}:values=1/2", f"{command}:values=1:timeout_seconds=9")) == 1
    assert len(variants(command, command.replace(" ", "  "), command.replace("=cp", "= cp"))) == 1
    folder = Path.cwd()
    for codec in ("ours:beta=0:checkpoint={}", "{}:Mine"):
        methods = "describe = encode = decode = lambda self: None"
        Path("a.py").write_text(f"class Mine:\n    {methods}\n")
        spellings = ("a.py", "./a.py", f"{folder}/a.py", f"../{folder.name}/a.py")
        assert len(variants(*(codec.format(name) for name in spellings))) == 1
    Path("link").symlink_to("a.py")
    assert variants("ours:checkpoint=link") == variants("ours:checkpoint=a.py")
    assert len(variants("ours:beta=3.84", "ours:beta=3.840", "ours:beta=384e-2")) == 1


def test_rates_can_be_added_and_a_limit_be_changed(tmp_path, monkeypatch, photo):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    program = "#!/usr/bin/env python3\nimport shutil, sys\nshutil.copy(*sys.argv[1:3])"
    Path("copy").write_text(program)
    Path("copy").chmod(0o755)
    Image.fromarray(photo[:40, :40]).save("photos/a.png")
    spec = "command:encode=./copy {in} {out} {q}:decode=cp {in} {out}:name=copy:setting=level"

    words = ("--dataset", "photos", "--metrics", "psnr")
    for options, count in (("1", "1 cell"), ("1:timeout_seconds=50", "0 cells"), ("1/2", "1 cell")):
        codec = f"{spec}:values={options}"
        reported = bench("run", "--codecs", codec, *words, code=0, mixed=True).stdout
        assert f"{count} measured" in reported, options


def test_a_spec_on_the_command_line_makes_one_whose_files_have_its_extension(photo):
    text = r"command:encode=sh -c 'cp {in} {out}; echo a\:b\,{q} >> {out}':decode=cp {in} {out}"
    more = "values=10/30:setting=quality:name=copy:timeout_seconds=20"
    codec = load_codec(parse_codec(f"{text}:{more}"))
    assert codec.name == "copy"
    assert codec.sweep == (Setting("quality", 10), Setting("quality", 30))
    assert codec.encode(photo, codec.sweep[1]).endswith(b"a:b,30\n")
    checked = shell("case {in}{out} in *.png*.xyz|*.xyz*.png) cp {in} {out};; esac")
    codec = Command(encode=checked, decode=checked, values="1", extension="xyz")
    assert np.array_equal(codec.decode(codec.encode(photo, ONCE)), photo)


def test_a_grey_png_comes_back_as_rgb(photo, tmp_path):
    Image.fromarray(photo[:, :, 0]).save(tmp_path / "grey.png")
    decoded = decoder(shell(f": {{in}}; cp {tmp_path}/grey.png {{out}}")).decode(b"anything")
    assert np.array_equal(decoded, photo[:, :, :1].repeat(3, axis=2))


@pytest.mark.parametrize(("options", "message"), [
    ({"encode": "cp {in} out"}, r"encode='cp {in} out' .*{out}"),
    ({"encode": "cp here {out}"}, r"encode='cp here {out}' .*{in}"),
    ({"decode": "cp {in}"}, r"decode='cp {in}' .*{out}"), ({"decode": ""}, r"decode='' .*{in}"),
    ({"encode": COPY + " 'open"}, r"encode=.* quotation"),
    ({"values": "10/many"}, "values .*'10/many'"), ({"values": "10//30"}, "values .*'10//30'"),
    ({"values": "10/10.0"}, r"values .*'10/10\.0'"), ({"values": "nan"}, "values .*'nan'"),
    ({"values": "10/30"}, "{q}"), ({"timeout_seconds": 0}, "timeout_seconds .* 0"),
    ({"timeout_seconds": -1}, "timeout_seconds .*-1"),
    ({"timeout_seconds": float("nan")}, "timeout_seconds .*nan"),
    ({"extension": "x/../../y"}, r"extension 'x/\.\./\.\./y'"),
])  # fmt: skip
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(BadOption, match=message):
        Command(**{"encode": COPY, "decode": COPY, "values": "1"} | options)


def test_programs_that_are_not_there_empty_streams_and_unescaped_commas_are_refused():
    for make in (encoder, decoder):
        with pytest.raises(Unavailable, match="'no-such-codec'"):
            make("no-such-codec {in} {out}")
    with pytest.raises(CorruptStream, match="command"):
        decoder(COPY).decode(b"")
    for text in ("20", "c;echo"):
        with pytest.raises(UsageError, match=r"`\\,`"):
            parse_codec(text)
    with pytest.raises(BadOption, match=r"`\\:`"):
        load_codec(parse_codec(f"command:encode={COPY}:out_range=3:decode={COPY}:values=1"))


@pytest.mark.parametrize(("template", "seconds", "message"), [
    (shell(": {in} {out}"), 60, "^sh .* stream$"),
    (shell(": {in} > {out}"), 60, "^sh .* stream$"),
    (shell("(sleep 300; cp {in} {out}) & :"), 60, "^sh .* stream$"),  # not waited for
    (shell("ln -s /dev/zero {out}; : {in}"), 60, r"^sh .*stream\.bin.* regular"),
    (COPY + "; true $HOME", 60, "cp .* exit code 1"),  # no shell reads it
    (shell("echo cannot do {q} >&2; exit 7; : {in} {out}"), 60, "^sh .* 7; .* cannot do 1$"),
    (shell("sleep 300; : {in} {out}"), 0.3, r"^sh .* 0\.3 s$"),
])  # fmt: skip
def test_an_encoder_that_fails_is_quoted(template, seconds, message, photo):
    with pytest.raises(ProgramFailed, match=message):
        encoder(template, timeout_seconds=seconds).encode(photo, ONCE)


@pytest.mark.parametrize(("script", "reason"), [
    (": {in} {out}", ".* PNG$"), ("head -c 3000 {in} > {out}", ".* whole PNG: "),
    (": {in}; cp DEEP {out}", ".* 16 bits per sample"),
])  # fmt: skip
def test_a_decoder_that_writes_no_png_is_told(script, reason, photo, tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep.png")
    data = encoder(COPY).encode(photo, ONCE)
    with pytest.raises(ProgramFailed, match=f"^sh {reason}"):
        decoder(shell(script.replace("DEEP", str(tmp_path / "deep.png")))).decode(data)
