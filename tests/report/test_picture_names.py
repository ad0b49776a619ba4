"""Names of exported pictures."""

import re

from benchmark.report.chosen_pictures import StoredPicture
from benchmark.report.exported_pictures import picture_names
from support.rows.measured import row


def stored(label, image, quality=10.0, **columns):
    return StoredPicture(label, row(label, quality, image, **columns))


def test_names_are_valid_on_every_system_and_distinct_where_case_is_ignored():
    made = [
        stored("ours:beta=3.84", "mobile/IMG 1.jpg", bpp=0.38412),
        stored('a<b>c"d|e?f*g\\h', "x:y.png"),
        stored("jpeg", "a/b.png"), stored("jpeg", "a_B.png"),
        stored("mine.py:" + "long" * 80, "ä" * 200 + ".png"),
    ]  # fmt: skip
    names = picture_names(made)
    assert names[0] == "mobile_IMG 1__ours_beta=3.84__quality=10__0.384bpp.png"
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert not re.search(r'[<>:"/\\|?*\x00-\x1f]', name)
        assert len(name.encode()) <= 255
        assert name.endswith(".png")
