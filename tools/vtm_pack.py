"""Make a pack without metrics from a folder of VTM streams and its points.csv.

    tools/vtm_pack.py ANCHORS DRAFT.tar
    bench run --codecs vtm --pack DRAFT.tar --dataset sample --metrics all   # and kodak
    bench pack export results/packs/vtm-23.13.tar --codecs vtm --dataset kodak,sample --note ...

These commands made the project's pack: the run decodes the streams of the draft and measures the
metrics, and the export contains the rows. points.csv has the columns dataset, image, width, height,
qp, stream (a file), stream_sha256, pixels_sha256, bytes and encode_seconds.
"""

import csv
import hashlib
import sys
from pathlib import Path

from baselines.vtm import VTM
from benchmark.codec import CODING, CodecInfo, Setting, bits_per_pixel
from benchmark.rows.packs.contents import write_pack
from benchmark.rows.schema import cell_key, info_columns
from benchmark.rows.shard import table_of
from benchmark.spec import CodecSpec

VERSION = "VTM 23.13"


def recorded_info() -> CodecInfo:
    """Describe VTM by its version and command, since its sha256 was not recorded."""
    command = VTM().command_text()
    return CodecInfo(
        version=VERSION,
        command=command,
        licence="BSD-3-Clause",
        fingerprint=hashlib.sha256(f"{VERSION}\n{command}".encode()).hexdigest(),
        revision=1,
        timed="the encoder's program, two at a time on a shared 2-core machine",
    )


def main(anchors: Path, out: Path) -> None:
    """Write the draft pack to `out`; exits if a stream differs from points.csv."""
    rows, streams, spec, info = [], {}, CodecSpec("vtm", ()), recorded_info()
    with (anchors / "points.csv").open(newline="") as file:
        for point in csv.DictReader(file):
            data = (anchors / point["stream"]).read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            if (digest, str(len(data))) != (point["stream_sha256"], point["bytes"]):
                raise SystemExit(f"{point['stream']}: sha256 or bytes differ from points.csv")
            width, height = int(point["width"]), int(point["height"])
            streams[digest] = data
            setting = Setting("qp", float(point["qp"]))
            image_key = point["pixels_sha256"], width
            rows.append(
                {
                    "cell": cell_key(spec, info, setting, *image_key, CODING),
                    "codec": "vtm",
                    "variant": "",
                    "setting_name": "qp",
                    "setting_value": setting.value,
                    "dataset": point["dataset"],
                    "image": f"{point['image']}.png",
                    "image_sha256": point["pixels_sha256"],
                    "width_px": width,
                    "height_px": height,
                    "source_lossy": False,
                    "num_bytes": len(data),
                    "bpp": bits_per_pixel(len(data), width * height),
                    "stream_sha256": digest,
                    "encode_seconds": float(point["encode_seconds"]),
                    "coding_protocol": CODING,
                    **info_columns(info),
                }
            )
    write_pack(out, table_of(rows), streams, {"vtm": info.licence}, ())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
