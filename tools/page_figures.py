"""Make screenshots of pages in Chromium: page, viewer, review and site.png of docs/figures.

    python tools/page_figures.py [--into docs/figures]

page.png shows the curves of Kodak's bundled rows; viewer.png, a point that a link opens, on
scikit-image's photographs, since Kodak's are not part of this project; review.png and site.png, a
pack of scikit-image's photographs. The measurements take minutes, in a temporary folder.
"""

import argparse
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
WINDOW = {"width": 1440, "height": 900}  # in px
COLOURS = 256  # colours of a palette, with which screenshots of photographs stay below 400 kB
MEASURED_CELLS = ("--codecs", "ours:beta=3.84,ours:beta=0,jpeg,webp,vtm", "--dataset", "sample")
SUBMITTED_CODECS, CLAIM = "ours:beta=3.84,jpeg,webp", "webp 30 % fewer bits than jpeg"
VIEWER_LINK = "sample/ours:beta=3.84/q=2/chelsea.png?beside=jpeg"


def main(into: Path) -> None:
    """Write the screenshots to a folder."""
    with TemporaryDirectory() as name:
        results = Path(name)
        shutil.copytree(ROOT / "results" / "kodak", results / "kodak")
        bench("run", *MEASURED_CELLS, "--metrics", "psnr,ms_ssim", "--no-table", "--results", name)
        pages = ("kodak", "page.png", ""), ("sample", "viewer.png", VIEWER_LINK)
        for dataset, figure, link in pages:
            bench("report", "--dataset", dataset, "--page", "--results", name)
            page = results / dataset / "report" / "page.html"
            selector = "#viewer[open] img" if link else "#chart .point"
            (into / figure).write_bytes(screenshot(page, selector, link))
        submissions = results / "submissions"
        submissions.mkdir()
        pack = str(submissions / "board.tar")
        pack_options = ("--codecs", SUBMITTED_CODECS, "--dataset", "sample", "--results", name)
        bench("pack", "export", pack, *pack_options)
        options = ("--metrics", "psnr,ms_ssim", "--out")
        claims = ("--claim", CLAIM, "--results", name)
        bench("review", pack, *claims, *options, str(results / "review"))
        folder = ("--submissions", str(submissions), "--anchor", "jpeg")
        bench("site", name, *folder, *options, str(results / "site"))
        for path, figure in (("review/review.html", "review.png"), ("site/index.html", "site.png")):
            (into / figure).write_bytes(screenshot(results / path, "main h2"))


def bench(*arguments: str) -> None:
    """Run `bench` of this checkout with these arguments; exits if it fails."""
    process = subprocess.run([sys.executable, "-m", "benchmark", *arguments], cwd=ROOT, check=False)
    if process.returncode:
        sys.exit(f"bench {' '.join(arguments)}: exit code {process.returncode}")


def screenshot(page: Path, selector: str, link: str = "") -> bytes:
    """Return a PNG of a page once an element matches; link: the part of the address after #."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        sys.exit("there is no Chromium on the PATH: install it, then run this again")
    with sync_playwright() as playwright:
        # these make colours independent of the screen, and work in containers without namespaces
        arguments = ["--no-sandbox", "--force-color-profile=srgb"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        tab = browser.new_page(viewport=WINDOW, color_scheme="light", reduced_motion="reduce")
        tab.goto(f"{page.resolve().as_uri()}#{link}" if link else page.resolve().as_uri())
        tab.wait_for_selector(selector)
        tab.wait_for_function(
            "() => [...document.querySelectorAll('#panes img[src]')].every((i) => i.naturalWidth)"
        )
        png = tab.screenshot()
        browser.close()
    palette_png = BytesIO()
    with Image.open(BytesIO(png)) as image:
        colours = image.convert("RGB")
        palette = colours.quantize(COLOURS)
        dithered_image = colours.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        dithered_image.save(palette_png, "PNG", optimize=True)
    return palette_png.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "figures")
    main(parser.parse_args().into)
