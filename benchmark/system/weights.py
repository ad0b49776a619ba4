"""Weight files: located in the folders that settings name, or where authors publish them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import Reason, Unavailable
from benchmark.system.settings import weight_folders

SEARCHED = "--weights-dir or torch's cache"  # in sentences for the user


class PublishedFile(NamedTuple):
    """A weight file on the network."""

    url: str
    name: str  # under which it is stored and looked for
    sha256: str  # or its first hexadecimal digits; empty where its authors publish none
    size_bytes: int | None = None


def _published(
    url: str, sha256: str, size_bytes: int | None = None, name: str = ""
) -> tuple[PublishedFile]:
    """Return a file, the only entry, with the name that it has there unless it gets another."""
    name = name or url.rpartition("/")[2]
    return (PublishedFile(f"https://{url}", name, sha256, size_bytes),)


_VGG16 = _published(
    "download.pytorch.org/models/vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    553_433_881,
)
# Networks of metrics, by the name that `bench fetch` takes.
NETWORKS: dict[str, tuple[PublishedFile, ...]] = {
    "alexnet": _published(
        "download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        244_408_911,
    ),
    "squeezenet": _published(
        "download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        4_958_839,
    ),
    "vgg": _VGG16,
    "dists": _VGG16
    + _published(
        "raw.githubusercontent.com/dingkeyan93/DISTS/"
        "1267d8cb626c98706db3697422701c56a85ebf2e/DISTS_pytorch/weights.pt",
        "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        12_288,
        "dists_weights.pt",
    ),
    "niqe": _published(
        "raw.githubusercontent.com/csjunxu/Bovik_NIQE_SPL2013/"
        "f6f96d0d41ecb793297e53ef6719783c33fe467e/modelparameters.mat",
        "fa2aa4d12dd9595c3fb6bf8b4e1a15c79d5d1469238d0901c88dead195be578d",
        8_347,
        "niqe_modelparameters.mat",
    ),
    "musiq": _published(
        "huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/musiq_koniq_ckpt-e95806b9.pth",
        "e95806b9",
    ),
    "clip_iqa": _published(
        "openaipublic.azureedge.net/clip/models/"
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762/RN50.pt",
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    ),
    "maniqa": _published(
        "github.com/IIGROUP/MANIQA/releases/download/Koniq10k/ckpt_koniq10k.pt",
        "a207f8ab57322e6be38ff5c8d019301dc032b454bef21c3c9f9dbf7974eebff6",
        543_335_435,
    ),
    "inception": _published(
        "github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        95_628_359,
    ),
}


def find_fetched(patterns: Sequence[str], name: str, file: str) -> Path:
    """Return a weight file that `bench fetch` brings by a name; file: what `Unavailable` says."""
    command = f"bench fetch {name}"
    return find_weights(patterns, f"run `{command}`, or put {file} into one of them", command)


def find_weights(patterns: Sequence[str], remedy: str, command: str = "") -> Path:
    """Return the first file of the patterns, folder by folder; `Unavailable` with the command."""
    for folder in weight_folders():
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                return path
    raise Unavailable(
        f"no weight file {' or '.join(patterns)} in {SEARCHED}: {remedy}",
        Reason("weights", patterns[0], command),
    )
