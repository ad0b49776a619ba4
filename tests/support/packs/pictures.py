"""Pictures of declared sizes as their authors have them: a folder of PNG files and a list."""

from PIL import Image

from benchmark.measure.cells import plan
from benchmark.measure.select import select
from benchmark.measure.workbench import Workbench
from support.codecs.files import conditions, sources_in


def pictures_of(photos, folder, settings=(2, 3, 5, 6)):
    """Write the photographs with fewer bits, and their sizes; return the spec of their codec."""
    lines = ["image,setting,num_bytes"]
    for bits in settings:
        (folder / str(bits)).mkdir(parents=True)
        for photo in sorted(photos.iterdir()):
            with Image.open(photo) as image:
                coarse = image.convert("RGB").point(
                    lambda value, bits=bits: value >> 8 - bits << 8 - bits
                )
            coarse.save(folder / str(bits) / f"{photo.stem}.png")
            lines.append(f"{photo.stem},{bits},{100 * bits}")
    (folder / "sizes.csv").write_text("\n".join(lines))
    return f"folder:path={folder}:name=Theirs"


def measure_declared(store, photos, spec, dataset="photos"):
    """Score the pictures of a spec and store their rows; return the variant that rows have."""
    bench = Workbench(conditions(metrics=("psnr",)))
    (contender,) = select([spec], {}).contenders
    store.write_record("r", {"codecs": {}})
    cells = plan([contender], dataset, sources_in(photos))
    store.append([bench.carry_out(cell).row for cell in cells])
    return contender.spec
