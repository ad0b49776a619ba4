"""Compare the harness with CompressAI's scripts on Kodak: JPEG at five qualities, a hyperprior.

    python tests/speed/kodak.py [--kodak FOLDER]

Run by hand on two idle cores. The peers are `compressai.utils.bench` and `eval_model`, in their
best form: one thread per process where that is faster than the default; medians of as many runs of
them as of ours. All options of ours but the number of jobs have their defaults. The weights of
the hyperprior have the shape of quality 3 and are random, seeded, and scaled so that latents take
about as many bits as trained ones (half a bit per pixel) and pictures use the range of grey levels:
the work is that of trained weights, the quality is not. Exit code 1 where a target is missed.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from harness import (
    KODAK,
    ROUNDS,
    Clocked,
    kodak_folder,
    mean,
    middle,
    options,
    run,
    run_bench,
    run_peer,
    verdict,
)
from PIL import Image

QUALITIES, JOBS = (10, 30, 50, 70, 90), 2
METRICS = ("psnr", "ms_ssim")
COLUMNS = {"bpp": "bpp", "psnr-rgb": "psnr_db", "ms-ssim-rgb": "ms_ssim"}  # by the peer's names
# The peer computes in float32; the hyperprior's transforms, summed in another order, now and then
# round a latent the other way.
ROUNDING = {
    "jpeg": {"bpp": 1e-9, "psnr-rgb": 1e-4, "ms-ssim-rgb": 1e-5},
    "hyperprior": {"bpp": 2e-5, "psnr-rgb": 1e-4, "ms-ssim-rgb": 1e-5},
}
MODEL, SEED = "bmshj2018-hyperprior", 0
LATENT_DEVIATION, PICTURE_DEVIATION, PICTURE_MEAN = 0.25, 0.2, 0.45


def main() -> None:
    """Print both comparisons and whether their targets are met."""
    kodak = kodak_folder(options(__doc__, kodak=str(KODAK)).kodak)
    compare_jpeg(kodak)
    compare_hyperprior(kodak)


def compare_jpeg(kodak: Path) -> None:
    points = ",".join(map(str, QUALITIES))
    script = ("compressai.utils.bench", "jpeg", kodak, "-q", points, "-j", str(JOBS))
    words = ("--codecs", "jpeg", "--metrics", ",".join(METRICS), "--jobs", str(JOBS))
    peers, runs = [], []
    for _ in range(ROUNDS):
        peers.append(run_peer(*script, one_thread=True))
        runs.append(bench(kodak, *words, "--points", f"jpeg.quality={points}"))
    peer, ours = middle(peers), middle(runs)
    print_seconds(peer, ours)
    rows = [ours.result.filter([value == quality for value in ours.result["setting_value"]])
            for quality in QUALITIES]  # fmt: skip
    means = {name: [mean(row_set, column) for row_set in rows] for name, column in COLUMNS.items()}
    verdict("JPEG, ours / peer, processor time", ours.cpu_seconds / peer.cpu_seconds, 0.2)
    verdict("JPEG, ours / peer, wall clock", ours.seconds / peer.seconds, 0.2)
    verdict("JPEG, largest difference of a mean, in roundings", worst("jpeg", peer, means), 1)


def compare_hyperprior(kodak: Path) -> None:
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "hyperprior-3.pth.tar"
        write_checkpoint(checkpoint, kodak)
        script = ("compressai.utils.eval_model", "checkpoint", kodak, "-a", MODEL, "-p", checkpoint)
        forms = {single: run_peer(*script, one_thread=single) for single in (True, False)}
        best_form = min(forms, key=lambda single: forms[single].seconds)
        peers, runs = [forms[best_form]], list[Clocked]()
        for round_number in range(ROUNDS):
            peers += [run_peer(*script, one_thread=best_form)] * (round_number > 0)
            codec = f"compressai:model={MODEL}:checkpoint={checkpoint}"
            words = ("--codecs", codec, "--metrics", ",".join(METRICS), "--jobs", str(JOBS))
            results = Path(folder) / f"results-{round_number}"
            runs.append(run_bench(kodak, results, *words, "--device", "cpu"))
        peer, ours = middle(peers), middle(runs)
        header = header_bits_per_pixel(ours, Path(folder) / "results-0")
    print_seconds(peer, ours)
    print(f"our bpp without the header, which is {header:.6f} bpp and which the peer lacks")
    means = {name: [mean(ours.result, column) - header * (name == "bpp")]
             for name, column in COLUMNS.items()}  # fmt: skip
    verdict("hyperprior, ours / peer, wall clock", ours.seconds / peer.seconds, 0.4)
    difference = worst("hyperprior", peer, means)
    verdict("hyperprior, largest difference of a mean, in roundings", difference, 1)


def print_seconds(peer: Clocked, ours: Clocked) -> None:
    for name, took in (("peer", peer), ("ours", ours)):
        print(f"{name} {took.seconds:8.2f} s, {took.cpu_seconds:.2f} s of CPU")


def worst(codec: str, peer: Clocked, means: dict[str, list[float]]) -> float:
    """Return the largest difference of a mean from the peer's, in its roundings."""
    return max(
        abs(theirs - value) / ROUNDING[codec][name]
        for name, values in means.items()
        for theirs, value in zip(peer.result[name], values, strict=True)
    )


def bench(kodak: Path, *words: str) -> Clocked:
    """Return a run into an empty folder."""
    with TemporaryDirectory() as folder:
        return run_bench(kodak, Path(folder), *words)


def header_bits_per_pixel(ours: Clocked, results: Path) -> float:
    """Return the mean bits per pixel of the streams without the entropy-coded strings."""
    from baselines.compressai.codec import unpack
    from benchmark.rows.store import Store

    (stored,) = results.iterdir()
    shares = []
    for row in ours.result.rows(named=True):
        data = Store(stored).stream(row["stream_sha256"])
        header = len(data) - sum(map(len, unpack(data, num_strings=2).strings))
        shares.append(8 * header / (row["width_px"] * row["height_px"]))
    return float(np.mean(shares))


def write_checkpoint(path: Path, kodak: Path) -> None:
    """Write a state dict, as CompressAI's training saves it, of the network described above."""
    import torch
    from compressai.zoo import image_models

    torch.manual_seed(SEED)
    network = image_models[MODEL](quality=3, pretrained=False).eval()
    with Image.open(kodak / "kodim05.png") as image:
        levels = np.array(image.convert("RGB"), np.float32) / 255
    pixels = torch.from_numpy(levels).permute(2, 0, 1)[None]
    with torch.no_grad():
        gain = LATENT_DEVIATION / network.g_a(pixels).std()
        network.g_a[6].weight.mul_(gain)
        network.g_a[6].bias.mul_(gain)
        network.h_s[4].bias.fill_(LATENT_DEVIATION)
        decoded = network.g_s(network.g_a(pixels).round())
        network.g_s[6].weight.mul_(PICTURE_DEVIATION / decoded.std())
        network.g_s[6].bias.fill_(PICTURE_MEAN)
    torch.save(network.state_dict(), path)


if __name__ == "__main__":
    run(main)
