"""The session of docs/paper.sh turns a list of checkpoints into a paper's table and figures."""

import csv
import re
import shutil

import torch
from PIL import Image

from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.network_codec import BUNDLED
from conftest import ROOT
from support.console import Session
from support.files.noise import effect_noise

SCRIPT = ROOT / "docs" / "paper.sh"
MAX_COMMANDS = 9


def test_checkpoints_become_the_table_and_figures_of_a_paper(tmp_path):
    session = Session(tmp_path)
    work_folder = session.folder
    for number in (1, 2, 3, 4):  # state dicts as CompressAI saves them
        trained = load_checkpoint(BUNDLED / f"hyperprior-{number}.safetensors.xz").network.codec
        torch.save(trained.state_dict(), work_folder / f"{number}.pth")
    shutil.copytree(work_folder / "photos", work_folder / "holiday")
    for folder, name in (("photos", "coffee.png"), ("holiday", "chelsea.png")):
        for path in (work_folder / folder).iterdir():
            if path.name != name:
                path.unlink()
            else:
                with Image.open(path) as picture:
                    picture.crop((0, 0, 192, 176)).save(path)
    effect_noise((96, 80), 9).convert("RGB").save(work_folder / "holiday" / "flat.png")
    script = SCRIPT.read_text()
    checkpoints = re.search("^mine=(.*)$", script, re.MULTILINE)[1]
    commands = re.findall("^bench .*$", script, re.MULTILINE)

    printed = "".join(session.run(command.replace("$mine", checkpoints)) for command in commands)

    assert len(commands) <= MAX_COMMANDS
    assert session.run(f"bash -n {SCRIPT}") == ""
    assert printed.endswith("streams.tar: 12 streams\n"), printed
    assert "Mine needs" in printed
    assert printed.count("0 cells measured, 0 failed") == 2
    file_names = {path.name for path in (work_folder / "paper").iterdir()}
    assert {"rd.pdf", "bd-photos.pdf", "bd-holiday.pdf", "table.tex", "table.md"} <= file_names
    tex = (work_folder / "paper" / "table.tex").read_text()
    assert all(words in tex for words in (r"\toprule", "on photos", "on holiday", "Mine"))
    with (work_folder / "paper" / "rd.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["system"] == "Mine"]
    for folder in ("photos", "holiday"):
        psnr_rows = [row for row in rows if (row["dataset"], row["metric"]) == (folder, "psnr_db")]
        rates = [float(row["bpp"]) for row in psnr_rows]
        assert len(rates) == 4
        assert rates == sorted(rates)
