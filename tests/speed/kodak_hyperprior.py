"""Compare the harness with CompressAI's `eval_model`: Kodak x bmshj2018-hyperprior, same weights.

    python tests/speed/kodak_hyperprior.py [--kodak FOLDER]

Run by hand on two idle cores. The weights have the shape of quality 3 and are random, seeded, and
scaled so that the latents take about as many bits as trained ones (half a bit per pixel) and the
pictures use the range of grey levels: the work is that of trained weights, the quality is not. The
peer's best form is that of the two which was faster, as it comes and with one thread; medians of as
many runs of it as of ours.
Exit code 1 where a target is missed.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from harness import (
    COLUMNS,
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

MODEL, QUALITY = "bmshj2018-hyperprior", 3
SEED = 0
LATENT_DEVIATION, PICTURE_DEVIATION, PICTURE_MEAN = 0.25, 0.2, 0.45
# Summed in another order, the transforms differ in their last bits, and now and then a latent
# that lies between two integers is rounded the other way.
ROUNDING = {"bpp": 2e-5, "psnr-rgb": 1e-4, "ms-ssim-rgb": 1e-5}


def main() -> None:
    """Print both runs and their means, then whether the targets are met."""
    kodak = kodak_folder(options(__doc__, kodak=str(KODAK)).kodak)
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "hyperprior-3.pth.tar"
        write_checkpoint(checkpoint, kodak)
        script = ("compressai.utils.eval_model", "checkpoint", kodak, "-a", MODEL, "-p", checkpoint)
        forms = {
            one_thread: run_peer(*script, one_thread=one_thread) for one_thread in (True, False)
        }
        best_form = min(forms, key=lambda one_thread: forms[one_thread].seconds)
        peers, runs = [forms[best_form]], list[Clocked]()
        for at in range(ROUNDS):
            peers += [run_peer(*script, one_thread=best_form)] * (at > 0)
            codec = f"compressai:model={MODEL}:checkpoint={checkpoint}"
            words = ("--codecs", codec, "--metrics", "psnr,ms_ssim", "--jobs", "2")
            results = Path(folder) / f"results-{at}"
            runs.append(run_bench(kodak, results, *words, "--device", "cpu"))
        peer, ours = map(middle, (peers, runs))
        header = header_bits_per_pixel(ours, Path(folder) / "results-0")
    times = ("encoding_time", "decoding_time")
    seconds = {
        "peer": (peer, *(peer.result[name][0] for name in times)),
        "ours": (ours, *(mean(ours.result, way) for way in ("encode_seconds", "decode_seconds"))),
    }
    print(
        f"            wall s   encode s   decode s   (per image; peer on one thread: {best_form})"
    )
    for name, (took, encode, decode) in seconds.items():
        print(f"{name:8}{took.seconds:10.2f}{encode:11.3f}{decode:11.3f}")
    worst = 0.0
    for name, column in COLUMNS.items():
        theirs, own = peer.result[name][0], mean(ours.result, column)
        own -= header if name == "bpp" else 0
        worst = max(worst, abs(theirs - own) / ROUNDING[name])
        print(f"{name:12}{theirs:14.6f}{own:14.6f}")
    print(f"our bpp without the header, which is {header:.6f} bpp and which the peer has not")
    verdict("ours / peer, wall clock", ours.seconds / peer.seconds, 0.4)
    verdict("largest difference of a mean, in roundings", worst, 1)


def header_bits_per_pixel(ours: Clocked, results: Path) -> float:
    """Return the mean bits per pixel of the streams beside the entropy-coded strings."""
    from baselines.compressai.codec import unpack
    from benchmark.rows.store import Store

    (stored,) = results.iterdir()
    shares = []
    for row in ours.result.rows(named=True):
        data = Store(stored).stream(row["stream_sha256"])
        strings = unpack(data, num_strings=2).strings
        shares.append(
            8 * (len(data) - sum(map(len, strings))) / (row["width_px"] * row["height_px"])
        )
    return float(np.mean(shares))


def write_checkpoint(path: Path, kodak: Path) -> None:
    """Write a state dict, as CompressAI's training saves it, of the network described above."""
    import torch
    from compressai.zoo import image_models

    torch.manual_seed(SEED)
    network = image_models[MODEL](quality=QUALITY, pretrained=False).eval()
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
