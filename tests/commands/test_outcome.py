"""Lines below a ranking: what failed, was refused or is unread, five at most unless asked."""

from pathlib import Path

from benchmark.commands.outcome import problem_lines, unread_lines
from benchmark.commands.output import SHOWN_LINES, print_lines
from benchmark.datasets.dataset import ImageFile, Refused
from benchmark.measure.outcome import Failure


def refused(name, why):
    return Refused(ImageFile(name, Path(name)), why)


def test_images_refused_for_one_reason_share_a_line_and_details_name_them_all():
    images = [
        refused("a.png", "is CMYK"),
        refused("b.png", "is empty"),
        refused("c.png", "is CMYK"),
    ]
    brief, details = (problem_lines((), images, (), details=on) for on in (False, True))
    assert len(brief) == len(details) == 2
    assert brief[0].split()[:2] == ["refused", "a.png"]
    assert "c.png" not in brief[0]
    assert {"a.png,", "c.png", "CMYK"} <= set(details[0].split())


def test_files_of_a_folder_that_are_no_pictures_are_counted_by_suffix_in_one_line():
    (line,) = unread_lines(("IMG_1.HEIC", "IMG_2.heic", "notes.txt"))
    assert "2 .heic, 1 .txt" in line
    assert "IMG_2" not in line
    assert "IMG_2.heic" in unread_lines(("IMG_1.HEIC", "IMG_2.heic"), details=True)[0]
    assert unread_lines(()) == []


def test_five_lines_are_shown_and_the_number_of_the_others_unless_all_are_asked_for(capsys):
    failures = [Failure(f"jpeg quality=5 {n}.png", "encode", "boom") for n in range(8)]
    lines = problem_lines(failures, (), ())
    print_lines(lines, details=False)
    shown = capsys.readouterr().out.splitlines()
    assert shown[:SHOWN_LINES] == lines[:SHOWN_LINES]
    assert shown[SHOWN_LINES:] == ["and 3 more: -v shows them"]
    print_lines(lines, details=True)
    assert capsys.readouterr().out.splitlines() == lines
