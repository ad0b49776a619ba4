"""The session of docs/paper.sh turns a list of checkpoints into a paper's table and figures."""

import csv
import os
import re
import shutil

import pytest
import torch
from PIL import Image

from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.network_codec import BUNDLED
from conftest import ROOT
from support.console import Session
from support.quick import quick

SCRIPT = ROOT / "docs" / "paper.sh"
LINES = SCRIPT.read_text()
CHECKPOINTS = re.search("^mine=(.*)$", LINES, re.MULTILINE)[1]
LIGHT = "webp:name=Mine", "mozjpeg"  # the same session, without programs and networks
MAX_COMMANDS = 9


@pytest.mark.parametrize(("mine", "anchor"), quick([(CHECKPOINTS, "vvenc"), LIGHT], LIGHT))
def test_checkpoints_become_the_table_and_figures_of_a_paper(tmp_path, coffee, mine, anchor):
    session = Session(tmp_path)
    paper, commands = session.folder / "paper", re.findall("^bench .*$", LINES, re.MULTILINE)
    for number in (1, 2, 3, 4) if mine == CHECKPOINTS else ():  # as CompressAI saves them
        trained = load_checkpoint(BUNDLED / f"hyperprior-{number}.safetensors.xz").network.codec
        torch.save(trained.state_dict(), session.folder / f"{number}.pth")
    shutil.rmtree(session.folder / "photos")
    for folder, pixels in (("photos", coffee[:164, :176]), ("holiday", coffee[200:364, :176])):
        (session.folder / folder).mkdir()
        Image.fromarray(pixels).save(session.folder / folder / "one.png")

    words = [command.replace("$mine", mine).replace("vvenc", anchor) for command in commands]
    printed = "".join(map(session.run, words))

    assert len(commands) <= MAX_COMMANDS
    assert session.run(f"bash -n {SCRIPT}") == ""
    assert re.search("^Mine .*%", printed, re.MULTILINE)
    assert printed.count("0 cells measured, 0 failed") == 2
    figures = {"rd.pdf", "bd-photos.pdf", "bd-holiday.pdf"}
    assert figures | {"table.tex", "table.md"} <= {*os.listdir(paper)}
    tex = (paper / "table.tex").read_text()
    assert all(words in tex for words in (r"\toprule", "on photos", "on holiday", "Mine"))
    with (paper / "rd.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["system"] == "Mine"]
    for folder in ("photos", "holiday"):
        psnr_rows = [row for row in rows if (row["dataset"], row["metric"]) == (folder, "psnr_db")]
        rates = [float(row["bpp"]) for row in psnr_rows]
        assert len(rates) >= 4
        assert rates == sorted(rates)
        assert printed.endswith(f"streams.tar: {2 * len(rates)} streams\n"), printed
