"""Import published numbers from two csv files to the registry, a file for each paper.

    tools/import_published.py published.csv published_more.csv results/published

The first csv has free text instead of protocol ids (docs/protocol.md); the tables below map each
text to an id, and a row without an entry ends the program. If a text is ambiguous, the code that
computed the number decides:

- CompressAI's results/Readme.md: metrics of learned models refer to floating-point pictures, those
  of variable-rate models (added after 8-bit metrics) and of programs to 8-bit pictures.
- CRDR and DC-VIC, src/utils/img_utils.py: pictures are truncated to 8 bits before all metrics.
- NeuralCompression, projects/illm/eval_folder_example.py: PSNR and MS-SSIM of rounded pictures,
  LPIPS of floating-point ones; its MS-SSIM pads odd sides as TensorFlow's does.
"""

import csv
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmark.published.points import PublishedPoint, slug
from benchmark.published.registry import Paper, group_series, write_paper

Row = Mapping[str, str]

# Start of a source's title -> its file in the registry; other files are named after repositories.
FILES = {
    "HiFiC official": "hific",
    "CompressAI results: ": "compressai",
    "CompressAI results (values": "compressai-papers",
    "CompressAI results": "compressai-clic",
    "TFC results": "tfc-tecnick",
    "tensorflow/compression": "tfc",
    "LIC_TCM authors": "vtm-of-tcm",
    "a reader in an issue of STF": "stf-reader",
    "Yiozolm": "yiozolm", "GLLMM": "gllmm", "Cheng2020": "cheng2020", "FTIC": "ftic",
    "LALIC": "lalic", "QVRF": "qvrf", "EVC": "evc", "LIC-HPCM": "hpcm", "SGA": "sga",
    "LIC_TCM official": "tcm", "ChWDTA": "chwdta", "SegPIC": "segpic", "C3": "c3",
    "Coarse2Fine": "coarse2fine",
}  # fmt: skip
DOIS = {
    "crdr": "10.1109/WACV57701.2024.00288",
    **{
        name: f"10.48550/arXiv.{number}"
        for name, number in {
            "hific": "2006.09965", "neuralcompression": "2301.11189", "elic": "2203.10886",
            "compressai": "2011.03029", "mric-figure": "2212.13824", "tcm": "2303.14978",
            "mlic": "2211.07273", "stf": "2203.08450", "c3": "2312.02753",
            "cool-chic": "2212.05458", "lossy-vae": "2302.08899", "coin": "2103.03123",
            "coinpp": "2201.12904", "entroformer": "2202.05492", "invcompress": "2108.03690",
        }.items()
    },
}  # fmt: skip

PROGRAMS = ("JPEG", "JPEG2000", "WebP", "AV1", "BPG", "HM", "VTM")  # codecs with 8-bit output

DATASETS = {
    "kodak": "kodak",
    "tecnick": "tecnick",
    "clic2020_test": "clic2020",
    "clic2020_professional": "clic2020:professional",
    "clic2020_mobile": "clic2020:mobile",
    "clic2020_test (DiffEIC preprocessing)": "clic2020-diffeic",
    "clic2021_test": "clic2021",
    "div2k_val": "div2k",
}
# DiffEIC's table names a dataset Tecnick, but its PSNR of BPG is 1.4 dB below that on Tecnick at
# equal rates (on Kodak, 0.05 dB): its pictures must differ, as those of its CLIC2020 do.
DIFFEIC_DATASETS = {**DATASETS, "tecnick": "tecnick-diffeic"}
EVEN_DATASETS = ("kodak", "tecnick")  # datasets with sides that are multiples of 16

METRICS = {"psnr": "psnr_db", "lpips": "lpips_alex"}  # other metrics keep their names

# (text, metric) -> protocol id; or (text, metric, kind of codec) -> protocol id, see `_codec_kind`.
PROTOCOLS: dict[tuple[str, ...], str] = {
    ("rgb8_imgavg", "psnr"): "psnr-rgb8/1",
    ("rgb8_imgavg_png", "psnr"): "psnr-rgb8-truncated/1",
    ("rgb_imgavg_compressai", "psnr", "program"): "psnr-rgb8/1",
    ("rgb_imgavg_compressai", "psnr", "variable-rate model"): "psnr-rgb8/1",
    ("rgb_imgavg_compressai", "psnr", "model"): "psnr-rgb-unrounded/1",
    ("rgb_imgavg_compressai", "psnr", "table"): "psnr-rgb/reported",
    ("rgb_imgavg_constlambda", "psnr", "program"): "psnr-rgb8/1",
    ("rgb_imgavg_constlambda", "psnr", "model"): "psnr-rgb/reported",
    ("as in csv (columns ms_ssim,psnr,bpp)", "psnr"): "psnr-rgb/reported",
    ("psnr_diffeic", "psnr"): "psnr-rgb/diffeic",
    ("unknown", "psnr"): "psnr-rgb/stablecodec",
    ("pytorch_msssim_rgb", "ms_ssim", "program"): "ms-ssim-rgb8/1",
    ("pytorch_msssim_rgb", "ms_ssim", "variable-rate model"): "ms-ssim-rgb8/1",
    ("pytorch_msssim_rgb", "ms_ssim", "model"): "ms-ssim-rgb-unrounded/1",
    ("ms_ssim_rgb", "ms_ssim", "program"): "ms-ssim-rgb8-padded/1",
    ("ms_ssim_rgb", "ms_ssim", "model"): "ms-ssim-rgb/reported",
    ("ms_ssim_torchmetrics", "ms_ssim"): "ms-ssim-rgb8-padded/1",
    ("tf_ms_ssim", "ms_ssim"): "ms-ssim-rgb8-padded/1",
    ("as in csv (columns ms_ssim,psnr,bpp)", "ms_ssim"): "ms-ssim-rgb/reported",
    ("-10log10(1-msssim)", "ms_ssim_db"): "ms-ssim-db-rgb/reported",
    ("ms_ssim_diffeic", "ms_ssim"): "ms-ssim-rgb/diffeic",
    ("unknown", "ms_ssim"): "ms-ssim-rgb/stablecodec",
    ("lpips_alex_v0.1", "lpips"): "lpips-alex-truncated/0.1.4",
    ("lpips_alex_neuralcompression", "lpips"): "lpips-alex-unrounded/torchmetrics",
    ("lpips_alex_hific (TF port)", "lpips"): "lpips-alex/hific",
    ("lpips_diffeic (values match author LPIPS-alex on Kodak)", "lpips"): "lpips-alex/diffeic",
    # StableCodec's src/evaluate.py uses the default network of torchmetrics, AlexNet
    ("lpips_stablecodec (net unknown here)", "lpips"): "lpips-alex/stablecodec",
    ("DISTS_pytorch_0_1", "dists"): "dists-truncated/0.1",
    ("dists_neuralcompression", "dists"): "dists/neuralcompression",
    ("dists_diffeic", "dists"): "dists/diffeic",
    ("dists_stablecodec", "dists"): "dists/stablecodec",
    ("fid256_crdr (HiFiC patches 256 + 128-shift, pytorch_fid 2048)", "fid"):
        "fid256-truncated/pytorch-fid-0.3.0",
    ("fid256_crdr (same author script)", "fid"): "fid256-truncated/pytorch-fid-0.3.0",
    ("fid256_neuralcompression (HiFiC patches, torch-fidelity/torchmetrics Inception)", "fid"):
        "fid256/torch-fidelity",
    ("fid256_hific", "fid"): "fid256/hific",
    ("fid_diffeic (own crops; not comparable to fid256_crdr: MS-ILLM q3 = 7.10 here vs 2.65 "
     "author)", "fid"): "fid/diffeic",
    ("fid_stablecodec (unverified patch protocol)", "fid"): "fid/stablecodec",
    ("fid_swav256_neuralcompression", "fid_swav"): "fid-swav256/neuralcompression",
    ("kid256_neuralcompression", "kid"): "kid256/torch-fidelity",
    ("kid256_hific", "kid"): "kid256/hific",
    ("kid_diffeic", "kid"): "kid/diffeic",
    ("kid_stablecodec", "kid"): "kid/stablecodec",
    ("niqe_hific", "niqe"): "niqe/hific",
    ("niqe_diffeic", "niqe"): "niqe/diffeic",
    ("ssim_diffeic", "ssim"): "ssim/diffeic",
}  # fmt: skip
REPORTED = {
    "psnr": "psnr-rgb/reported", "fid": "fid256/reported", "lpips": "lpips-alex/reported",
}  # fmt: skip

# Repository -> protocol of its rates; CompressAI's learned models have another.
RATES = {
    "iwa-shi/CRDR": "coding/1",
    "iwa-shi/DC_VIC": "coding/1",
    "InterDigitalInc/CompressAI": "coding/1",
}
STRINGS, RATE_REPORTED = "bpp-strings/1", "bpp/reported"


class Reading(NamedTuple):
    """How a number was read from a figure, and its errors."""

    kind: str  # "point": a marker; "sample": of a line at a chosen rate
    value_error: str  # ±, in units of the metric
    bpp_error: str = ""  # ±
    note: str = ""


RATIO = "bpp = 0.094 x printed ratio (rounded)"
READINGS = {
    "as reported; read +-0.02 dB, bpp +-0.0005 (calibrated on HiFiC: 30.874 vs 30.870)":
        Reading("point", "0.02", "0.0005"),
    "fid256 HiFiC protocol as reported by each paper; read +-0.02 (calibrated on HiFiC: 4.197 vs "
    "4.197)": Reading("point", "0.02"),
    "lpips (alex presumed) as plotted; read +-0.0003":
        Reading("point", "0.0003", note="alex presumed"),
    "fid256 (HiFiC patches), read +-0.1": Reading("point", "0.1"),
    "read +-0.03 dB, bpp +-0.001": Reading("point", "0.03", "0.001"),
    "fid256 (HiFiC patches), line sampled at given bpp (not author points), read +-0.3":
        Reading("sample", "0.3"),
    "line sampled at given bpp (not author points), read +-0.04 dB": Reading("sample", "0.04"),
    "fid256 HiFiC protocol, read +-0.05 (markers 6,7 partly hidden +-0.08)":
        Reading("point", "0.05"),
    "fid256 HiFiC protocol, read +-0.05 (marker partly hidden)":
        Reading("point", "0.05", note="marker partly hidden"),
    "fid256, read +-0.05; bpp = 0.094 x printed ratio (rounded)":
        Reading("point", "0.05", note=RATIO),
    "read +-0.01 dB; bpp = 0.094 x printed ratio (rounded)": Reading("point", "0.01", note=RATIO),
    "line sampled (not author points); read +-0.08 dB, 600x450 JPEG figure":
        Reading("sample", "0.08"),
}  # fmt: skip
MISLABELLED = "another series of the same panel bears the wrong name; no second source"
HIDDEN_MARKER, HIDDEN_ERROR = re.compile(r"marker [67] from low realism"), "0.08"

SYSTEMS = {
    "HiFiC-arch No-GAN (MSE+LPIPS)": "HiFiC without GAN",
    "JointAutoregressive(mbt2018)": "JointAutoregressive",
}

# (prefix of a repository, pattern of a row's variant, our variant, our setting); first match wins.
VARIANTS = [
    ("iwa-shi/CRDR", r"q=([\d.]+) beta=([\d.]+)", r"beta=\2", r"q=\1"),
    ("iwa-shi/CRDR", r"reproduced stage-3; q=(.*) beta=(.*)", r"beta=\2, trained again", r"q=\1"),
    ("", r"beta=([\d.]+)", r"beta=\1", ""),
    ("iwa-shi/CRDR", r"intermediate beta \(unlabelled (.*)\)", "beta sweep", r"\1"),
    ("Nikolai10/EGIC", r"intermediate beta \(unlabelled (.*)\)", "beta sweep", r"\1"),
    ("Nikolai10/EGIC", r"alpha step 0/6 .*", "alpha=0", ""),
    ("Nikolai10/EGIC", r"alpha step 6/6 .*", "alpha=1", ""),
    ("Nikolai10/EGIC", r"alpha step (.)/6 .*", "alpha sweep", r"step \1 of 6"),
    ("", r"DIRAC-(100|1)( \(.*\))?", "", ""),
    ("", r"HFD \(.*\)", "", ""),
    ("", r"HFD/DDPM", "", "DDPM"),
    ("", r"perceptual", "", ""),
    ("", r"VTM-(.*)|BPG-(.*)", r"version \1\2", ""),
    ("iwa-shi/DC_VIC", r"dc_vic_(.*) (q=.)", r"\1", r"\2"),
    ("tinyvision/IPCodec", r"MSE, with U-Net.*", "with U-Net", ""),
    ("tinyvision/IPCodec", r"MSE, no U-Net.*", "without U-Net", ""),
    ("JiangWeibeta/ELIC", r"ELIC official mse.*", "mse", ""),
    ("JiangWeibeta/ELIC", r"ELIC-sm official mse.*", "small, mse", ""),
    ("JiangWeibeta/ELIC", r"ELIC MS-SSIM-optimised.*", "ms-ssim", ""),
    ("facebookresearch/NeuralCompression", r"row(.) of csv", "", r"row \1"),
    ("LuizScarlet/StableCodec", r".*", "", ""),
    ("tensorflow/compression", r"(..) \(row order\)", "", r"\1"),
    ("tensorflow/compression", r"opt MSE", "mse", ""),
    ("tensorflow/compression", r"opt MS-SSIM", "ms-ssim", ""),
    ("tensorflow/compression", r"tfc", "", ""),
    ("tensorflow/compression", r"(.*)", r"\1", ""),
    ("InterDigitalInc/CompressAI", r"CompressAI (run|vbr)|", "CompressAI", ""),
    ("InterDigitalInc/CompressAI", r"444 x265", "4:4:4 x265", ""),
    ("InterDigitalInc/CompressAI", r"paper( cc10)?", "paper's table", ""),
    ("InterDigitalInc/CompressAI", r"paper (.*)", r"\1, paper's table", ""),
    ("InterDigitalInc/CompressAI", r"(.*)", r"\1", ""),
    ("Nikolai10/EGIC", r"", "", ""),
]
DIFFEIC_SYSTEMS = ("DiffEIC", "RDEIC-2", "RDEIC-5")  # by DiffEIC's authors, who ran others too


def convert_row(row: Row) -> dict[str, str]:
    """Convert a row of the first csv to fields of a published point; raises `ValueError`."""
    repository = row["source_ref"].removeprefix("github:").partition(":")[0]
    system = SYSTEMS.get(row["codec"], row["codec"])
    if system == "DIRAC":
        system = row["variant"].partition(" ")[0]
    variant, setting = _variant(row, repository)
    is_diffeic = repository == "huai-chang/DiffEIC"
    dataset = (DIFFEIC_DATASETS if is_diffeic else DATASETS)[row["dataset"]]
    is_digitised = row["how"] == "digitised"
    reading = READINGS[row["metric_protocol"]] if is_digitised else Reading("point", "")
    kind = "step" if variant.endswith(" sweep") else reading.kind
    is_hidden = HIDDEN_MARKER.fullmatch(setting)
    return {
        "system": system,
        "variant": variant,
        "setting": setting,
        "kind": kind,
        "dataset": dataset,
        "bpp": repr(float(row["bpp"])),
        "metric": METRICS.get(row["metric"], row["metric"]),
        "value": repr(float(row["value"])),
        "protocol": _protocol(row, dataset),
        "rate_protocol": _rate_protocol(row, repository),
        "how": row["how"],
        "value_error": HIDDEN_ERROR if is_hidden else reading.value_error,
        "bpp_error": reading.bpp_error,
        "note": _note(row, repository, "marker partly hidden" if is_hidden else reading.note),
        "source": row["source_title"],
        "reference": row["source_ref"],
    }


def _variant(row: Row, repository: str) -> tuple[str, str]:
    if repository == "huai-chang/DiffEIC":
        return "" if row["codec"] in DIFFEIC_SYSTEMS else "run by DiffEIC", row["variant"]
    for prefix, pattern, variant, setting in VARIANTS:
        match = re.fullmatch(pattern, row["variant"])
        if match and repository.startswith(prefix):
            return _plain(match.expand(variant)), _plain(match.expand(setting))
    raise ValueError(f"no entry of VARIANTS for {row['codec']} {row['variant']!r} of {repository}")


def _note(row: Row, repository: str, note: str) -> str:
    panel = repository, row["how"], row["dataset"]
    is_mislabelled = panel == ("iwa-shi/DC_VIC", "digitised", "kodak")
    return "; ".join(filter(None, [note, MISLABELLED if is_mislabelled else ""]))


def _plain(text: str) -> str:
    # changes beta=0.0 to beta=0
    return re.sub(r"=([\d.]+)", lambda match: f"={float(match[1]):g}", text)


def _protocol(row: Row, dataset: str) -> str:
    if row["how"] == "digitised":
        return REPORTED[row["metric"]]
    key = row["metric_protocol"], row["metric"]
    protocol = PROTOCOLS.get(key) or PROTOCOLS.get((*key, _codec_kind(row)))
    if protocol is None:
        raise ValueError(f"no entry of PROTOCOLS for {key}, {_codec_kind(row)}")
    # images without odd sides are not padded, so both protocols give the same values
    return "ms-ssim-rgb8/1" if "-padded" in protocol and dataset in EVEN_DATASETS else protocol


def _codec_kind(row: Row) -> str:
    if row["how"] == "table":
        return "table"
    if row["codec"] in PROGRAMS:
        return "program"
    return "variable-rate model" if row["codec"].endswith("-VBR") else "model"


def _rate_protocol(row: Row, repository: str) -> str:
    if row["how"] != "author_csv":
        return RATE_REPORTED
    if repository == "InterDigitalInc/CompressAI" and _codec_kind(row) != "program":
        return STRINGS
    return RATES.get(repository, RATE_REPORTED)


def complete_row(row: Row) -> dict[str, str]:
    """Convert a row of the second csv, which has our ids, to fields of a published point."""
    # a number is doubtful if its source does not state the rule
    fields = {
        name: value for name, value in row.items() if name in PublishedPoint.__struct_fields__
    }
    rule_doubt = "" if row["rule"] else "the source does not state its rule"
    return {**fields, "doubt": "; ".join(filter(None, [row["doubt"], rule_doubt]))}


def file_name(point: PublishedPoint) -> str:
    """Return the name, without suffix, of a point's file in the registry."""
    for title, name in FILES.items():
        if point.source.startswith(title):
            return name
    repository = point.reference.removeprefix("github:").partition(":")[0].rpartition("/")[2]
    return slug(repository) + "-figure" * (point.how == "digitised")


def write(first_rows: Iterable[Row], second_rows: Iterable[Row], folder: Path) -> int:
    """Write a file for each source in `folder`; return the number of points."""
    second_rows = list(second_rows)
    records = [*map(convert_row, first_rows), *map(complete_row, second_rows)]
    points = [
        msgspec.convert({k: v for k, v in row.items() if v}, PublishedPoint, strict=False)
        for row in records
    ]
    licences = {row["reference"]: row["licence_of_repository"] for row in second_rows}
    files: dict[str, list[PublishedPoint]] = {}
    for point in points:
        files.setdefault(file_name(point), []).append(point)
    for position, (name, paper_points) in enumerate(files.items()):
        title = (
            paper_points[0].source
            if len({p.source for p in paper_points}) == 1
            else "CompressAI results"
        )
        write_paper(
            Paper(
                title=title,
                doi=DOIS.get(name, ""),
                licence=licences.get(paper_points[0].reference, "").replace("none stated", ""),
                place=position,
                series=group_series(paper_points, title),
            ),
            folder / f"{name}.json",
        )
    return len(points)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(f"usage: {sys.argv[0]} published.csv published_more.csv results/published")
    first_rows, second_rows = (
        csv.DictReader(Path(name).read_text(encoding="utf-8").splitlines(keepends=True))
        for name in sys.argv[1:3]
    )
    write(first_rows, second_rows, Path(sys.argv[3]))
