"""Published ratings in small files of their layout become votes; scores are those of the raters."""

import numpy as np
import pytest

from benchmark.compare.study.published import read_ratings
from benchmark.compare.study.scores import equal_preference, scores_of
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.show.paper.request import FigureRequest
from benchmark.show.study.report import read_study

ELO = {
    "AVIF": {"q30": 1500, "q60": 1700, "q90": 1900},
    "JPEG": {"q30": 1400, "q60": 1600, "q90": 1800},
}
BPP = {"q30": 0.25, "q60": 0.5, "q90": 1.0}


def cid22(path):
    lines = ["reference_img,distorted_img,encoder,setting,bpp,MCOS,RMOS,Elo,nb_pc_opinions"]
    for image in range(3):
        name = f"original/{image}.png"
        lines.append(f"{name},{name},Reference,,24,100,,2500,0")
        lines += [
            f"{name},compressed/{image}/{codec}-{setting}.png,{codec},{setting},{BPP[setting]},60,0,{elo},99"
            for codec, of in ELO.items()
            for setting, elo in of.items()
        ]
    path.write_text("\n".join(lines))
    return path


def test_cid22_gives_its_own_elo_scores_and_bits_back(tmp_path):
    votes = read_ratings(cid22(tmp_path / "cid22.csv"))
    assert (len(votes.won), len(votes.images), len(votes.stimuli)) == (3 * 15, 3, 6)
    scores = scores_of(votes, draws=10)
    elo = np.array([ELO[s.system][s.level] for s in votes.stimuli])
    expected = np.log(10) * (elo - elo.mean()) / 400
    assert scores.values == pytest.approx(expected, rel=0.25)
    assert np.corrcoef(scores.values, expected)[0, 1] > 0.999
    (bits,) = equal_preference(votes, scores, "JPEG")
    # 100 points of Elo are half a doubling of the rate.
    assert bits.change == pytest.approx(100 * (2**-0.5 - 1), abs=1)


def test_aic3_names_the_side_that_is_more_distorted_and_its_traps_are_no_votes(tmp_path):
    names = "worker,img_num,img_left,img_right,is_trap,response"
    rows = [
        "7,2,BTC_00002_JPEG-AI_01.png,BTC_00002_AVIF_04.png,0,right",
        "7,2,BTC_00002_AVIF_04.png,BTC_00002_JPEG-AI_01.png,0,left",
        "8,2,BTC_00002_JPEG-AI_01.png,BTC_00002_AVIF_04.png,0,notsure",
        "8,2,BTC_00002_JPEG-AI_01.png,BTC_00002_AVIF_04.png,0,skip",
        "8,2,BTC_00002_0ref_00.png,BTC_00002_JPEG-AI_10.png,1,right",
        "8,2,BTC_00002_AVIF_04.png,BTC_00002_AVIF_04.png,0,left",
    ]
    path = tmp_path / "aic3.csv"
    path.write_text("\n".join([names, *rows]))
    votes = read_ratings(path)
    assert [(s.system, s.level) for s in votes.stimuli] == [("JPEG-AI", "01"), ("AVIF", "04")]
    won = [(w if f == 0 else 1 - w) for f, w in zip(votes.first, votes.won, strict=True)]
    assert won == [1, 1, 0.5]
    assert votes.raters == ("7", "8")


def test_pairs_of_clic_are_of_the_codecs_that_folders_name_and_checks_are_left_out(tmp_path):
    path = tmp_path / "clic.csv"
    path.write_text(
        "a.png,one/a.png,two/a.png,0\na.png,two/a.png,one/a.png,0\na.png,a.png,two/a.png,0\n"
    )
    votes = read_ratings(path)
    assert [s.system for s in votes.stimuli] == ["one", "two"]
    assert votes.images == ("a.png",)
    assert [*zip(votes.first, votes.second, votes.won, strict=True)] == [(0, 1, 1.0), (1, 0, 1.0)]


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2", "a.png,b.png,c.png,2", "\x00", "img_left,img_right,response\n,,left"]
)
def test_any_other_file_is_refused_in_a_sentence(tmp_path, text):
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"other\.csv (is no csv of ratings|has no answer)"):
        read_ratings(path)


def test_published_ratings_are_read_as_a_study_is(tmp_path):
    report = read_study(cid22(tmp_path / "mine.csv"), [], FigureRequest(anchor="JPEG"))
    assert [title for title, _ in report.tables] == ["Scores", "Bits against JPEG"]
    assert report.lines[0] == "45 answers of 1 rater on 3 images of mine."
    assert Metric.named("psnr").label not in str(report.tables)
