"""Submissions of packs: which are read, what their authors state, and when an audit agrees."""

import shutil
from types import SimpleNamespace

import pytest

from benchmark.errors import StoreError
from benchmark.measure.request import Request
from benchmark.review import submission
from benchmark.review.again import Again
from benchmark.review.streams import Sent
from benchmark.review.submission import Audit, Statement, _audited, audit, read_statement
from benchmark.rows.codecs import NamedCodecs
from benchmark.rows.packs.pack import open_pack
from support.packs.honest_pack import rewrite
from support.rows.measured import row


def again(state="equal", psnr=30.0, sent=30.0, **changes):
    values = {} if psnr is None else {"psnr_db": psnr}
    made = row("webp", 30, "a", psnr_db=sent)
    return Again(made, state, **{"twice": True, "values": values, **changes})


@pytest.mark.parametrize(
    ("streams", "reason"),
    [
        ([again(), again()], ""),
        ([again(), again("rounded", 30.0005)], ""),
        ([again(), again(psnr=30.0005)], "1 value differ: psnr_db of a at quality=30 is 30.0005"),
        ([again(), again("other", 29.0)], "1 stream with other pixels; 1 value differ"),
        ([again(), again(twice=False)], "1 stream with other pixels the second time"),
        ([again(), again("blind", None)], "1 stream with other pixels"),
        ([again(), again("not run", None)], "1 stream not run: no decoder here"),
        ([again("damaged", None)] * 2, "2 streams damaged"),
        ([again(), again("failed", None)], "1 stream failed"),
        ([again(), again(wrong_size="too short")], "1 size differ: too short"),
        ([again(), again(label="other", encoded="q")] * 2, "of another setting: q"),
        ([again(), again(label="near", encoded="q")], ""),
        ([again(), again(psnr=None)], "1 stream not scored: no photos"),
        ([again(sent=None), again()], "no metric was sent for every stream"),
    ],
)
def test_an_audit_takes_what_is_reproduced_and_names_the_first_difference(streams, reason):
    verdict = _audited(streams, ["psnr"], "no photos")
    assert verdict.reason.startswith(reason)
    assert verdict.audited == (reason == "")
    assert (verdict.streams, "; no" in verdict.reason) == (len(streams), False)
    lacking = _audited(streams, ["psnr"], "", "b is missing at quality=30")
    assert (lacking.audited, "b is missing at quality=30" in lacking.reason) == (False, True)
    assert verdict.columns == (() if any(not s.values or not s.row["psnr_db"] for s in streams)
                               else ("psnr_db",))  # fmt: skip


WRONG = ("x", "decode_kmac = -1", 'doi = "<b>"', 'url = "javascript:1"', "authors = 3", "rank = 1",
         "#" * 65_537)  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=range(7))
def test_a_wrong_statement_is_one_sentence(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(StoreError, match=r"mine\.toml cannot be read"):
        read_statement(tmp_path / "mine.toml")
    (tmp_path / "long.toml").write_text("#" * 65_536)
    for name in ("none", "long"):
        assert read_statement(tmp_path / f"{name}.toml") == Statement()
    (tmp_path / "link.toml").symlink_to("/etc/hostname")
    with pytest.raises(StoreError, match="a link that leads out"):
        read_statement(tmp_path / "link.toml")


def test_an_audit_is_of_each_system_and_names_what_its_points_lack(monkeypatch):
    sources = [SimpleNamespace(sha256=name, file=SimpleNamespace(name=f"{name}.png"))
               for name in "ab"]  # fmt: skip
    monkeypatch.setattr(submission, "open_photographs", lambda own, *place: (
        dict.fromkeys(own, sources), {"sample": "the dataset sample is not here"}
    ))  # fmt: skip
    rows = [row(codec, q, image, image_sha256=image, dataset="kodak", psnr_db=30.0)
            for codec, images in (("webp", "ab"), ("jpeg", "b"), ("avif", "ab"))
            for q in (30, 60) for image in images][:-1]  # fmt: skip
    monkeypatch.setattr(submission, "decode_again", lambda sent, photos, metrics, *more: [
        Again(of.row, "equal", twice=True, values={"psnr_db": 30.0}) for of in sent
    ])  # fmt: skip
    request = Request.of(metrics="psnr", jobs=1)
    result = audit([Sent(of, None) for of in rows], request, NamedCodecs("all"), None)
    assert {label: (of.audited, of.reason, of.streams) for label, of in result.items()} == {
        "webp": (True, "", 4), "jpeg": (False, "a.png is missing at quality=30", 2),
        "avif": (False, "b.png is missing at quality=60", 3),
    }  # fmt: skip


@pytest.fixture
def listed(author, tmp_path, monkeypatch):
    """A folder of submissions; what is audited without decoding is counted; and its reader."""
    audited, folder = [], tmp_path / "sent"

    def agrees(sent, *asked):
        audited.append(len(sent))
        return {"webp": Audit(True, "", len(sent), (), None, "here")}

    monkeypatch.setattr(submission, "audit", agrees)
    folder.mkdir()
    shutil.copy(author / "mine.tar", folder / "b.tar")
    (folder / "b.toml").write_text('title = "B"')

    def read(audits=None, metrics="psnr"):
        place = folder, audits, Request.of(metrics=metrics), NamedCodecs("all"), None
        return {one.name: one for one in submission.submissions(*place)}

    return folder, audited, read


def test_packs_of_a_folder_are_read_and_others_are_refused_by_name(listed, author):
    folder, audited, read = listed
    shutil.unpack_archive(author / "mine.tar", folder, filter="data")
    (folder / "mine").rename(folder / "a")
    for name, old, new in (("c", ",set,", ",../set,"), ("d", ",quality,30.0,", ",quality,inf,")):
        shutil.copytree(folder / "a", folder / name)
        rewrite(folder / name / "rows.csv", old, new, -1)
    (folder / "e.tar").symlink_to(folder / "b.tar")
    for name in ("f.tar", "notes.txt"):
        (folder / name).write_text("no pack")
    done = read()
    assert [*done] == ["a", "b", "c", "d", "e.tar", "f.tar"]
    assert [(one.wrong, one.statement.title, len(one.sent)) for one in (done["a"], done["b"])] == [
        ("", "", 16), ("", "B", 16)
    ]  # fmt: skip
    assert (audited, done["b"].audits["webp"].streams) == ([16, 16], 16)
    assert done["b"].pack.sha256 == open_pack(folder / "b.tar").sha256
    for name, why in (("c", "'../set' is no name of a dataset"), ("e.tar", "it is a link"),
                      ("d", "of no size"), ("f.tar", "f.tar")):  # fmt: skip
        assert why in done[name].wrong
        assert (done[name].pack, done[name].sent) == (None, ())


def test_an_audit_is_kept_for_its_pack_and_its_metrics_and_made_again_for_others(listed, tmp_path):
    _, audited, read = listed
    first = read(tmp_path / "kept")["b"]
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.name == f"{first.pack.sha256}.json"
    assert read(tmp_path / "kept")["b"].audits == first.audits
    assert len(audited) == 1
    read(tmp_path / "kept", "psnr,ssim")
    kept.write_text("{")
    for _ in range(2):
        read(tmp_path / "kept", "psnr,ssim")
    assert len(audited) == 3
    assert [*submission.submissions(None, None, Request.of(), NamedCodecs("all"), None)] == []
