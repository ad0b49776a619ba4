"""Checkpoints over time: a planted fault is named where it is, with the numbers of a check."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmark.check.history import compare_states, draw_history, history_headline, sort_checkpoints
from benchmark.check.pairing import RowSet
from benchmark.check.verdict import check
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UsageError
from support.bench.command import output_of
from support.files.noise import noise_images
from support.rows.measured import row, table

GAINS = (0.0, 1.0, 1.5, 0.6, 1.7, 1.9)  # dB of six states; a fault enters with the fourth
IMAGES = [f"image-{n}" for n in range(8)]
NOISE = np.random.default_rng(0).normal(0, 0.02, (len(GAINS), len(IMAGES)))
CODEC = """
from io import BytesIO
from pathlib import Path
import numpy as np
from PIL import Image
from benchmark.codec import CodecInfo, Setting

class Mine:
    "JPEG with as much noise as its checkpoint says."
    name, sweep = "mine", tuple(Setting("quality", q) for q in (10, 30, 60, 90))

    def __init__(self, checkpoint: str = "") -> None:
        self.noise = int(Path(checkpoint).read_text())

    def describe(self):
        return CodecInfo(version="1", command="call", timed="call", fingerprint=f"{self.noise:064}",
                         licence="MIT")

    def encode(self, pixels, setting):
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=int(setting.value))
        return stream.getvalue()

    def decode(self, data):
        pixels = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
        noise = np.random.default_rng(len(data)).normal(0, self.noise, pixels.shape)
        return np.clip(pixels + noise, 0, 255).astype(np.uint8)
"""


def rows_of_state(number, codec="ours", variant=None, **columns):
    variant = f"beta=0:checkpoint=/runs/{number}.safetensors" if variant is None else variant
    return [
        row(codec, q, image, variant=variant, num_bytes=100 * q, fingerprint=f"{number}" * 64,
            **columns,
            psnr_db=20 + 6 * np.log2(q / 5) + place / 3 + GAINS[number] + NOISE[number, place])
        for q in (5, 10, 20, 40, 80) for place, image in enumerate(IMAGES)
    ]  # fmt: skip


def state(number, name, rows):
    return number, RowSet(name, Path("nowhere"), table(rows))


def states():
    return [state(100 * n, f"step {n}00", rows_of_state(n)) for n in range(len(GAINS))]


def change_state(number, change, images=IMAGES):
    rows = [row | change(row) for row in rows_of_state(number) if row["image"] in images]
    return state(100 * number, f"step {number}00", rows)


def test_changes_are_those_of_a_check_and_the_fault_is_the_one_that_is_worse():
    result = compare_states(states(), ["psnr"], USUAL_RULE)
    by_name = {state.name: state for _, state in states()}
    records = result.records
    assert [record["state"] for record in records] == [f"step {n}00" for n in range(1, 6)]
    assert [record["first"] for record in records] == ["step 000"] * 5
    assert [record["best"] for record in records] == [f"step {n}00" for n in (0, 1, 2, 2, 4)]
    for record in records:
        for side in ("first", "best"):
            one_check = check(by_name[record[side]], by_name[record["state"]], ["psnr"]).records[0]
            ends = [record[f"{side}_change_percent{end}"] for end in ("", "_low", "_high")]
            assert ends == [one_check[f"{name}_percent"] for name in ("change", "lower", "upper")]
    regressed = [record["verdict"] == "regressed" for record in records]
    assert regressed == [False, False, True, False, False]
    low, high = (records[2][f"best_change_percent_{end}"] for end in ("low", "high"))
    assert low < 100 * (2 ** (0.9 / 6) - 1) < high
    assert compare_states(states(), ["psnr"], USUAL_RULE, "bd_rate=20%").code == 0
    assert result.code == 1
    assert result.title.startswith("regressed at step 300 against step 200: PSNR +1")
    assert result.title.endswith(f", image {records[2]['worst_image']}")


@pytest.mark.parametrize(("images", "subject"), [
    (IMAGES, "8 images (image-0, ...) the new curve"), (["image-5"], "image-5"),
])  # fmt: skip
def test_a_state_with_an_image_out_of_reach_has_no_number_and_a_cross(images, subject):
    far = change_state(3, lambda row: {"psnr_db": row["psnr_db"] - 60 * (row["image"] in images)})
    result = compare_states([*states()[:3], far], ["psnr"], USUAL_RULE)
    assert result.title.startswith(f"regressed at step 300 against step 200: PSNR on {subject}")
    assert {result.records[2][f"{side}_change_percent"] for side in ("first", "best")} == {None}
    (axes,) = draw_history(result.records, "ours", "set").figure.axes
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "x"] == [300]


@pytest.mark.parametrize("metric", ["psnr", "lpips"])
def test_a_state_without_curves_has_no_change_and_the_fault_after_it_is_found(metric):
    absent = {"lpips_alex": None, "lpips_alex_protocol": None, "lpips_alex_reason": "no weights"}

    def lose(row):  # in PSNR two of five points lie below the others
        return absent | {"psnr_db": row["psnr_db"] - 20 * (row["setting_value"] > 20)}

    later = change_state(3, lambda row: {"lpips_alex": 1.5 * row["lpips_alex"]})
    result = compare_states([states()[1], change_state(2, lose), later], [metric], USUAL_RULE)
    first = "undecided" if metric == "psnr" else "nothing measured"
    assert [record["verdict"] for record in result.records] == [first, "regressed"]
    assert [record["best"] for record in result.records] == ["step 100", "step 100"]


def test_an_undecided_change_is_reported():
    state_pair = [change_state(n, dict, IMAGES[:1]) for n in (2, 3)]
    assert "; 1 of 1 comparison" in compare_states(state_pair, ["psnr"], USUAL_RULE).title
    assert "comparison" not in history_headline(())


def test_a_variant_is_compared_where_it_has_two_states():
    places = enumerate((("beta=0", "beta=0"), ("beta=1", "beta=1"), ("again", "beta=0")))
    named_states = [state(n, name, rows_of_state(n, "ours", text)) for n, (name, text) in places]
    with pytest.raises(UsageError, match="two"):
        compare_states(named_states[:2], ["psnr"], USUAL_RULE)
    result = compare_states(named_states, ["psnr"], USUAL_RULE)
    (record,) = result.records
    assert (record["state"], record["codec"]) == ("again", "ours:beta=0")
    lacking = {"beta=1": "beta=0", "beta=0": "beta=1", "again": "beta=1"}
    lines = {f"{name} has no ours:{variant}" for name, variant in lacking.items()}
    assert set(result.summary.splitlines()[1:]) == lines


def test_checkpoints_are_in_the_order_of_their_numbers_or_as_named():
    def order(*texts):
        return [checkpoint[:2] for checkpoint in sort_checkpoints(texts)]

    numbered = order("r/crdr-10000.safetensors", "r/crdr-2000.safetensors.xz")
    assert numbered == [("crdr-2000", 2000), ("crdr-10000", 10000)]
    assert order("b-3aecb589.pth", "a.pth") == [("b-3aecb589", 1), ("a", 2)]
    assert order("new/1.pth", "old/1.pth") == [("new/1.pth", 1), ("old/1.pth", 2)]
    assert order("1.pth.tar,2.pth.tar", "b.pth")[1] == ("b", 2)


def test_checkpoints_of_any_codec_become_figure_table_and_one_line_with_exit_code_1(tmp_path):
    photos = noise_images(tmp_path / "photos", [(48, 40 + number) for number in range(4)])
    (tmp_path / "mine.py").write_text(CODEC)
    for step, noise in ((100, 6), (200, 4), (1000, 12)):
        (tmp_path / f"mine-{step}.pth").write_text(str(noise))
    files = sorted(tmp_path.glob("mine-*.pth"))
    options = ("--codec", f"{tmp_path / 'mine.py'}:Mine", "--dataset", photos)
    words = ("history", *files, *options, "--metrics", "psnr", "--jobs", 1, "--results", tmp_path)
    message = output_of(*words, code=1)
    headline = r"^regressed at mine-1000 against mine-200: PSNR .*, image \d.png$"
    assert re.search(headline, message, re.MULTILINE)
    folder = tmp_path / "history"
    assert all((folder / f"history.{kind}").exists() for kind in ("png", "pdf", "details.md"))
    assert (folder / "history.csv").read_text().count("mine-1000") == 1
    output = output_of(*words, "--json", code=1)
    assert "16 to do" in message
    assert "16 to do" not in output, "none is measured twice"
    records = json.loads(output[output.index("{\n") :])["records"]
    assert [record["verdict"] for record in records] == ["improved", "regressed"]


def test_anything_but_a_list_of_checkpoints_is_refused(tmp_path):
    with pytest.raises(UsageError, match="folder"):
        output_of("history", tmp_path, "--codec", "ours")
    with pytest.raises(UsageError, match="two"):
        output_of("history", tmp_path / "a.pth", "--codec", "ours")
