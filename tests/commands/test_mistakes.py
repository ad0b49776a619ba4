"""A mistake of the user is one sentence on standard error and exit code 2 in every verb."""

import re
from pathlib import Path

import pytest

from support.bench.command import bench
from support.bench.verbs import every_verb
from support.files.noise import effect_noise

PAGE = Path(__file__).parents[2] / "docs" / "README.md"
# Mistakes, and the commands that can be given them. `photos` are two images with rows of jpeg in
# `results`; `empty` has no files, `texts` no images; `notes.txt` is text; `nowhere` is not there.
MISTAKES = {
    "unknown codec": """
        run --codecs jpg --dataset ./photos
        report --codecs jpg
        match jpg jpeg --dataset ./photos
        rank --codecs jpg --dataset ./photos
        table --codecs jpg --dataset ./photos
        bd jpg jpg
        tradeoff jpg jpeg --dataset ./photos --realism ms_ssim
        check --codec jpg --against results --dataset ./photos
        baseline save v1 --codecs jpg
        pack export out.tar --codecs jpg
        export images --to out --dataset ./photos --codecs jpg
        encode in.png out.jpg --codec jpg
        study new --codecs jpg --dataset ./photos
        fetch jpg
    """,
    "bad option of a codec": """
        run --codecs jpeg:subsampling=1 --dataset ./photos
        check --codec jpeg:speed=1 --against results --dataset ./photos
        fetch compressai:model=x:metric=mse
    """,
    "codec file that is not there": """
        run --codecs ./mine.py:Mine --dataset ./photos
        plan --codecs ./mine.py:Mine --dataset ./photos
        check --codec ./mine.py:Mine --against results --dataset ./photos
        run --codecs worker:mine.py.toml --dataset ./photos
        worker setup mine.py.toml
        worker check mine.py.toml
        worker new ./mine.py
    """,
    "unknown dataset": """
        run --codecs jpeg --dataset kodac
        rescore --dataset kodac
        report --dataset kodac
        figures rd --dataset kodac
        table --dataset kodac
        figures new new.toml --dataset kodac
        match jpeg jpeg --dataset kodac
        check --codec jpeg --against results --dataset kodac
        baseline save v1 --dataset kodac
        published list --dataset kodac
        published show tcm --dataset kodac
        study new --dataset kodac
        pack export out.tar --codecs jpeg --dataset kodac
        export images --to out --dataset kodac
        audit decode results --dataset kodac
        audit pack jpeg.tar --dataset kodac
        fetch kodac
        train --recipe smoke --data kodac --out out
    """,
    "missing folder": """
        run --codecs jpeg --dataset ./nowhere
        rescore --dataset ./nowhere
        report --dataset ./nowhere
        plan --dataset ./nowhere
        match jpeg raw --dataset ./nowhere
        tradeoff jpeg raw --dataset nowhere
        check --codec jpeg --against results --dataset ./nowhere
        check --codec jpeg --against ./nowhere
        check ./nowhere results
        check results ./nowhere
        audit pack jpeg.tar --dataset ./nowhere
        train --recipe smoke --data ./nowhere --out out
        merge nowhere --into out
    """,
    "folder without images": """
        run --codecs jpeg --dataset ./empty
        rescore --dataset ./empty
        audit pack jpeg.tar --dataset ./texts
        train --recipe smoke --data ./texts --out out
    """,
    "unknown metric": """
        run --codecs jpeg --dataset ./photos --metrics psnrr
        report --metrics psnrr
        match jpeg jpeg --dataset ./photos --metric psnrr
        tradeoff jpeg raw --dataset ./photos --distortion psnrr
        check --codec jpeg --against results --metrics psnrr
        audit pack jpeg.tar --metrics psnrr
        audit rows results --metrics psnrr
    """,
    "unknown device": """
        run --codecs jpeg --dataset ./photos --device gpu
        rescore --dataset ./photos --device gpu
        audit decode results --device gpu
        train --recipe smoke --data sample --out out --device gpu
        encode photo.png out.crdr --device gpu
        decode notes.txt out.png --device gpu
    """,
    "number that is none, or out of range": """
        run --jobs 0
        rescore --limit -1
        report --up-to-bpp 0 --metrics psnr
        report --page --page-images x --metrics psnr
        check results results --margin psnr=x
        train --recipe smoke --data sample --out out --device cuda:
        train --recipe smoke --data sample --out out --max-minutes -1
        check results results --require psnr>=30at0bpp
        check results results --require psnrr>=30at1bpp
        check results results --require encoding<=3ms
        check results results --require psnr=30
        match jpeg jpeg --dataset ./photos --tolerance x
        figures realism --dataset ./photos --bpp -1
        study new --dataset ./photos --bpp 0
        study new --dataset ./photos --each 1
        figures crops --dataset ./photos --box=-1,2,3,4
        figures maps --dataset ./photos --box=-1,2,3,4
        train --recipe smoke --data sample --out out --seed -1
        encode photo.png out.crdr --point q=9
        encode photo.png out.crdr --codec ours:beta=9
        checkpoint info notes.txt
        run --codecs ours:beta=0:effort=9 --dataset ./photos
        checkpoint import notes.txt --steps -1
    """,
    "unknown word for an option or argument": """
        run --engine cloud
        run --codecs jpeg --dataset ./photos --points jpeg
        run --codecs jpeg --dataset ./photos --points jpeg.quality=x
        run --codecs jpeg --dataset ./photos --points webp.quality=5
        run --codecs jpeg --dataset ./photos --part 4/3
        audit rows results --codecs avif --dataset ./photos
        report --style loud --metrics psnr
        report --width wide --metrics psnr
        report --label jpg=J --metrics psnr
        report --published nobody --metrics psnr
        published show nobody
        published compare nobody
        figures crdr --only curves
        figures complexity --dataset ./photos --cost money
        figures rd --dataset ./photos --images none
        figures bd --dataset ./photos --codecs jpeg --anchor vtm
        figures bd broken.toml
        study new --dataset ./photos --post ftp://here
        check results v9
        check results results --limit 2
        check results results --points jpeg.quality=50
        history notes.txt --codec ours
        history results --codec ours
        history photo.png notes.txt --codec ours
        tradeoff jpeg raw --dataset ./photos --realism ms_ssim --build zz
        train --recipe dawn --data sample --out out
        train --recipe smoke --data sample --out out --suite pairs
        train --recipe smoke --data sample --out out --suite matched --members hyperprior-9
        encode photo.png out.jpg --codec jpeg:effort=1
        decode notes.txt out.jpg
        fetch alexnet --from photo.png
    """,
    "several where one is taken": """
        check results results --against results
        check --codec jpeg,webp --against results
        check results results --codec jpeg --reference-codec jpeg,webp
    """,
    "results folder that is not there": """
        rescore --dataset ./photos --results nowhere
        report --results nowhere
        check nowhere nowhere
        history nowhere nowhere.pth --codec ours
        baseline list --results nowhere
        pack export out.tar --codecs jpeg --results nowhere
        export images --to out --dataset ./photos --results nowhere
        audit decode nowhere
        figures crdr --results nowhere
        site --submissions nowhere --out out
        study new --results nowhere
    """,
    "file that is not there": """
        explain nowhere.csv
        study read nowhere photo.png
        review nowhere.tar
        published add nowhere.csv --system A --reference here
        run --codecs jpeg --dataset ./photos --pack nowhere.tar
        run --codecs ours:beta=0:checkpoint=nowhere.safetensors --dataset ./photos
        check --codec ours --checkpoint nowhere.safetensors --against results --dataset ./photos \
            --reference-codec jpeg
        pack import nowhere.tar
        encode nowhere.png out.crdr
        encode photo.png out.crdr --q-map nowhere.png
        encode photo.png out.crdr --codec ours:beta=0:checkpoint=nowhere.safetensors
        decode nowhere.crdr out.png
        checkpoint import nowhere.pth.tar
        checkpoint info nowhere.safetensors
        fetch kodak --from nowhere.zip --data-dir data
        train --recipe nowhere.toml --data sample --out out
        train --recipe smoke --data sample --out out --start nowhere.safetensors
    """,
    "file of another kind": """
        run --codecs jpeg --dataset notes.txt
        run --codecs ours:beta=0:checkpoint=notes.txt --dataset ./photos
        check --codec ours --checkpoint notes.txt --against results --dataset ./photos \
            --reference-codec jpeg
        check notes.txt results
        pack import notes.txt
        audit pack notes.txt
        encode notes.txt out.crdr
        encode photo.png out.crdr --codec ours:beta=0:checkpoint=notes.txt
        decode notes.txt out.png
        checkpoint import notes.txt
        train --recipe notes.txt --data sample --out out
        train --recipe broken.toml --data sample --out out
        train --recipe smoke --data sample --out out --start notes.txt
        merge notes.txt --into out
    """,
    "target that cannot be written": """
        run --codecs jpeg --dataset ./photos --metrics psnr --results notes.txt
        report --metrics psnr --results notes.txt
        match jpeg jpeg:optimize=1 --dataset ./photos --pairs photos
        check results results --markdown notes.txt/out.md
        pack export jpeg.tar --codecs jpeg
        figures crdr --out notes.txt
        figures new notes.txt
        merge results --into notes.txt
        train --recipe smoke --data sample --out notes.txt
        encode photo.png nowhere/out.crdr
        checkpoint import notes.txt --out out.bin
    """,
    "option that is not there": """
        run --codcs jpeg
        report --csv out.csv
        --verson
    """,
    "argument or value that is missing": """
        run --codecs
        match jpeg
        check
        check results
        check --against results
        check --codec jpeg
        fetch
        merge --into out
        pack export out.tar
        export images
        train --recipe smoke --data sample
        decode
        checkpoint import
        study read
    """,
    "argument too many": """
        run jpeg
        list codecs
        doctor all
        match a b c
    """,
    "verb that is not there": """
        rn
        pack exprt
        figures ppr
    """,
}
MISTAKES = {
    kind: [" ".join(line.split()) for line in lines.strip().splitlines()]
    for kind, lines in MISTAKES.items()
}
LONG = 300 * "x"  # the longest name of Linux' file systems has 255 bytes
MISTAKES["name that is too long for a file"] = [
    words.replace("nowhere", LONG)
    for kind in ("missing folder", "results folder that is not there", "file that is not there")
    for words in MISTAKES[kind]
    if "nowhere" in words
]
# What the sentence has to name.
NAMED = {
    "unknown codec": "jpg",
    "codec file that is not there": "mine.py",
    "unknown dataset": "kodac",
    "missing folder": "nowhere",
    "unknown metric": "psnrr",
    "unknown device": "gpu",
    "results folder that is not there": "nowhere",
    "file that is not there": "nowhere",
    "name that is too long for a file": LONG,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("photos", "empty", "texts"):
        (folder / name).mkdir()
    for seed in range(2):
        noise = effect_noise((180, 164), 40 + seed).convert("RGB")
        noise.save(folder / "photos" / f"{seed}.png")
    noise.save(folder / "photo.png")
    (folder / "texts" / "notes.txt").write_text("no image\n")
    (folder / "notes.txt").write_text("neither a checkpoint nor a stream nor a pack\n")
    (folder / "broken.toml").write_text("architecture = \n")
    results = folder / "results"
    words = ("--dataset", folder / "photos", "--metrics", "psnr,ms_ssim", "--results", results)
    bench("run", "--codecs", "jpeg,jpeg:optimize=1", *words, "--jobs", "1", code=0)
    bench(
        *("pack", "export", folder / "jpeg.tar", "--codecs", "jpeg", "--results", results), code=0
    )
    return folder


def test_every_verb_is_in_the_table():
    table = [words for cases in MISTAKES.values() for words in cases]
    assert not {
        verb for verb, _ in every_verb() if not any(words.startswith(f"{verb} ") for words in table)
    }


def test_a_group_without_a_verb_shows_its_help():
    for group in ("", "audit", "pack", "baseline"):
        done = bench(*group.split())
        assert (done.returncode, done.stderr) == (2, "")
        assert "Usage: bench" in done.stdout


def test_a_list_given_twice_is_refused():
    done = bench("figures", "rd", "--published", "hific", "--published", "mine.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--published is given twice: name all in one, with commas" in done.stderr


def test_what_is_mistyped_is_answered_with_what_is_near():
    assert "Did you mean 'run'" in bench("rn").stderr
    assert "Did you mean 'export'?" in bench("pack", "exprt").stderr
    assert "Did you mean '--codecs'?" in bench("run", "--codcs", "jpeg").stderr
    assert "that is an argument" in bench("audit", "rows", "--results", "r").stderr
    assert bench("run", "--codecs").stderr.endswith("; see `bench run --help`\n")


def test_the_page_on_commands_shows_real_sentences():
    command_line = PAGE.read_text().partition("\n## The command line\n")[2].partition("\n## ")[0]
    shown = re.findall(r"^\$ bench (.*)\n(.*)$", command_line, re.MULTILINE)
    assert shown
    for words, sentence in shown:
        assert bench(*words.split()).stderr.strip().startswith(sentence.removesuffix(" ..."))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(place, monkeypatch, mistake):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    for words in MISTAKES[mistake]:
        done = bench(*words.split())
        assert done.returncode == 2, f"{words}: {done.stdout}{done.stderr}"
        assert done.stdout == "", words
        assert done.stderr.startswith("bench: "), words
        assert done.stderr.count("\n") == 1, f"{words}: {done.stderr}"
        assert NAMED.get(mistake, "") in done.stderr, words
        assert sorted(place.rglob("*")) == before, words
