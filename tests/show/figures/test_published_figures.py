from itertools import product

import numpy as np
import pytest

from benchmark.errors import UsageError
from benchmark.rows.means import summarise
from benchmark.rows.store import Store
from benchmark.show.figures.style import families, use_look
from support.bench.command import output_of
from support.figures.published import FID, MS_SSIM, POINTS, PSNR, drawn, from_registry, overlaid
from support.figures.text_boxes import words_in
from support.rows.measured import row, table

IMAGES = [f"{n}" for n in range(24)]


def rows(codec="jpeg", images=IMAGES, **columns):
    cells = product((5, 20, 40, 80), images)
    return [row(codec, q, image, num_bytes=20 * q + 100, **columns) for q, image in cells]


def draw(names, measures=(PSNR,), dataset="kodak", measured=True, mix=False, **columns):
    summary = summarise(table(rows(**columns))) if measured else None
    panels, curve_styles = overlaid(summary, names, measures, dataset, mix)
    with use_look(every_curve=True):
        return drawn(panels, curve_styles, dataset)


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_published_points_are_open_markers_on_thin_lines_where_the_csv_has_them():
    drawing = draw(["hific:"])
    (axes,) = drawing.figure.axes
    lines = lines_of(axes)
    line, points = lines["HiFiC (published)"], from_registry("HiFiC", "", "kodak", "psnr_db")
    assert list(zip(*line.get_data(), strict=True)) == points
    assert line.get_markerfacecolor() == "white"
    assert line.get_linewidth() < lines["JPEG"].get_linewidth()
    assert (line.get_color(), line.get_marker()) == families()["hific"][:2]
    assert lines["JPEG"].get_markerfacecolor() != "white"
    assert line.get_zorder() < lines["JPEG"].get_zorder()
    assert words_in(drawing.figure).count("(published)") == 1, "in the legend alone"
    (cells,) = [cells for cells in drawing.sources.rows if cells[0] == "HiFiC (published)"]
    assert cells[3].startswith("HiFiC official data.csv (NeurIPS 2020")
    assert "bpp/reported" in cells


def test_a_codec_of_ours_and_its_published_curve_look_alike():
    lines = lines_of(draw(["jpeg:Pillow 7.1.2"]).figure.axes[0])
    measured, published = lines["JPEG"], lines["JPEG (Pillow 7.1.2, published)"]
    assert measured.get_color() == published.get_color()
    assert measured.get_marker() == published.get_marker()


def test_digitised_points_have_bars_as_long_as_their_reading_error():
    drawing = draw(["dirac-100"], mix=True)
    (axes,) = drawing.figure.axes
    expected = from_registry("DIRAC-100", "", "kodak", "psnr_db", ("bpp_error", "value_error"))
    assert {point[2:] for point in expected} == {(0.0005, 0.02)}
    segments = [segment for bars in axes.collections for segment in bars.get_segments()]
    ends = {tuple(np.round(segment, 9).ravel()) for segment in segments}
    for x, y, dx, dy in expected:
        assert tuple(np.round((x, y - dy, x, y + dy), 9)) in ends
        assert tuple(np.round((x - dx, y, x + dx, y), 9)) in ends
    place = drawing.sources.headers.index("reading error")
    errors = {cells[0]: cells[place] for cells in drawing.sources.rows}
    assert errors == {"JPEG": "", "DIRAC-100 (published)": "0.02"}
    assert not draw(["hific:"]).figure.axes[0].collections


def test_samples_of_a_drawn_line_are_a_band_without_markers():
    (axes,) = draw(["ivr:with U-Net"], mix=True).figure.axes
    assert lines_of(axes)["IVR (with U-Net, published)"].get_marker() == ""
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    bpp, value = from_registry("IVR", "with U-Net", "kodak", "psnr_db")[0]
    band = corners[np.isclose(corners[:, 0], bpp), 1]
    assert (band.min(), band.max()) == pytest.approx((value - 0.08, value + 0.08), abs=1e-9)


def test_a_reported_psnr_is_beside_a_measured_one_and_the_sources_have_who_follows_which():
    drawing = draw(["crdr:beta=0", "hific:", "elic:mse"], (PSNR, MS_SSIM))
    assert "mixed" not in words_in(drawing.figure) + drawing.caption
    place = drawing.sources.headers.index("protocol")
    elic = "ELIC (mse, published)"
    assert {(cells[0], cells[place]) for cells in drawing.sources.rows} >= {
        ("JPEG", "psnr-rgb8/1"), ("HiFiC (published)", "psnr-rgb8/1"),
        ("CRDR β=0 (published)", "psnr-rgb8-truncated/1"),
        (elic, "psnr-rgb/reported"), (elic, "ms-ssim-rgb/reported"),
    }  # fmt: skip


def test_published_curves_stand_alone_where_nothing_is_measured():
    names = ["crdr:beta=3.84", "multi-realism", "pq-mim", "vtm:version 20.0"]
    drawing = draw(names, (PSNR, FID), "clic2020", measured=False, mix=True)
    psnr, fid = drawing.figure.axes
    assert psnr.get_title(loc="left") == "clic2020, 428 images"
    assert fid.get_ylabel() == "FID/256 ↓"
    assert "PQ-MIM (published)" in lines_of(fid)
    assert "PQ-MIM (published)" not in lines_of(psnr)
    sweeps = [p.value for p in POINTS if p.kind == "step" and p.metric == "fid"]
    values = np.concatenate([line.get_ydata() for line in fid.get_lines()])
    assert not set(sweeps) & set(values) - {5.21}  # beta=2.56 itself
    assert drawing.caption.startswith("PSNR and FID/256 ")


def test_a_lone_point_of_a_curve_is_not_drawn():
    names = ["crdr:beta=0", "crdr:beta=3.84"]
    (psnr, fid), curve_styles = overlaid(None, names, (PSNR, FID), "clic2020", True)
    first, second = fid
    fid = [first._replace(points=first.points[:1]), second]
    drawing = drawn([psnr, fid], curve_styles, "clic2020")
    assert [len(axes.get_lines()) for axes in drawing.figure.axes] == [2, 1]
    assert "not reported" not in words_in(drawing.figure)


def test_fid_is_on_a_logarithmic_axis_where_it_spans_more_than_a_decade():
    wide = draw(["crdr"], (PSNR, FID), "clic2020", measured=False, mix=True).figure
    assert [axes.get_yscale() for axes in wide.axes] == ["linear", "log"]
    (fid,) = draw(["hific:"], (FID,), "clic2020", measured=False, mix=True).figure.axes
    assert fid.get_yscale() == "linear"


def test_a_report_lays_published_points_over_and_mixes_rules_only_if_asked_for(tmp_path):
    Store(tmp_path / "kodak").append(rows())
    words = "report", "--results", tmp_path, "--metrics", "psnr", "--published"
    details = tmp_path / "kodak" / "report" / "details.md"
    with pytest.raises(UsageError, match="--mix-protocols"):
        output_of(*words, "perco,hific")
    assert not details.exists()
    message = output_of(*words, "hific,hific:run by DiffEIC,hfd")
    assert " psnr_db of HiFiC (run by DiffEIC)" in message
    assert ": HFD" in message
    assert "HiFiC (published)" in details.read_text()
    output_of(*words, "perco,hific", "--mix-protocols")
    assert all(f"| {rule} |" in details.read_text() for rule in ("psnr-rgb/diffeic", "psnr-rgb8/1"))
