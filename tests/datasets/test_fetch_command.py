"""`bench fetch`: weights for torch and for learned codecs, progress, unknown names."""

import pytest

from benchmark.commands import fetch as command
from benchmark.errors import Unavailable, UnknownName, UsageError
from benchmark.registry import CODECS
from benchmark.system.settings import NETWORKS, PublishedFile
from support.files.file_server import BODY, SHA256, left_in


def test_weights_go_where_torch_looks_for_them(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    weights = PublishedFile(f"{server.url}/file.bin", "net.pth", SHA256[:8], len(BODY))
    monkeypatch.setitem(NETWORKS, "alexnet", (weights,))
    command.fetch("alexnet")
    path = tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    assert path.read_bytes() == BODY
    assert capsys.readouterr().out == f"net.pth: {path}\n"
    monkeypatch.setenv("BENCH_WEIGHTS", str(path.parent))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "elsewhere"))
    command.fetch("alexnet")
    assert len(server.asked) == 1


class Learned:
    """A codec with two published files, whose address is that of the test's server."""

    url, sha256 = "", SHA256[:8]

    @classmethod
    def published_weights(cls, options):
        stem = f"{options['model']}-{options['metric']}"
        return [PublishedFile(cls.url, f"{stem}-{quality}.pth", cls.sha256) for quality in (1, 2)]


def test_a_learned_codec_names_the_files_that_are_fetched_for_its_options(
    server, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(Learned, "url", f"{server.url}/file.bin")
    monkeypatch.setitem(CODECS, "learned", f"{__name__}:Learned")
    command.fetch("learned:model=tiny:metric=ms-ssim")
    assert left_in(tmp_path / "hub/checkpoints") == ["tiny-ms-ssim-1.pth", "tiny-ms-ssim-2.pth"]
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.raises(UsageError, match=r"jpeg .*weights"):
        command.fetch("jpeg")


def test_where_authors_publish_no_digest_that_of_the_first_download_is_recorded_and_required(
    server, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(Learned, "url", f"{server.url}/file.bin")
    monkeypatch.setattr(Learned, "sha256", "")
    monkeypatch.setitem(CODECS, "learned", f"{__name__}:Learned")
    folder = tmp_path / "hub/checkpoints"
    command.fetch("learned:model=tiny:metric=mse")
    files = ["tiny-mse-1.pth", "tiny-mse-2.pth"]
    assert left_in(folder) == sorted(files + [f"{name}.sha256" for name in files])
    reported = capsys.readouterr().out
    assert reported.count(f"sha256 {SHA256}, recorded here") == 2
    record = folder / "tiny-mse-1.pth.sha256"
    assert record.read_text() == f"{SHA256}  tiny-mse-1.pth\n"
    record.write_text(record.read_text().replace(SHA256, "0" * 64))
    with pytest.raises(Unavailable, match=r"tiny-mse-1\.pth .* 0000"):
        command.fetch("learned:model=tiny:metric=mse")
    (folder / "tiny-mse-1.pth").unlink()
    with pytest.raises(Unavailable, match=r"file\.bin now .* 0000"):
        command.fetch("learned:model=tiny:metric=mse")


def test_what_needs_no_fetch_says_so_and_what_is_unknown_is_guessed(capsys):
    command.fetch("sample")
    assert "nothing to fetch" in capsys.readouterr().out
    with pytest.raises(UnknownName, match="Did you mean 'kodak'"):
        command.fetch("kodac")
