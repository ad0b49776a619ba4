"""Audits of packs: true ones, and ones with changed streams, metrics and pixels."""

from benchmark.review.audit.pack_audit import audit_pack
from benchmark.rows.packs.pack import open_pack
from support.packs.honest_pack import conditions, rewrite


def audited(path, sources, **changes):
    known = {(source.sha256, source.width_px): source for source in sources}
    return audit_pack(open_pack(path), known, conditions(**changes), lambda progress: None)


def test_an_audit_of_a_true_pack_finds_nothing(pack_path, sources):
    verdict = audited(pack_path, sources)
    assert verdict == (6, 6, {"psnr_db": 6, "psnr_y_db": 6}, ())


def test_without_the_sources_an_audit_decodes_and_compares_no_metric(pack_path, sources):
    assert audited(pack_path, []) == (6, 6, {"psnr_db": 0, "psnr_y_db": 0}, ())
    assert audited(pack_path, sources[:1]).compared == {"psnr_db": 3, "psnr_y_db": 3}


def test_an_audit_finds_a_changed_stream_a_changed_metric_and_changed_pixels(folder_pack, sources):
    pack = open_pack(folder_pack)
    first, second, third, fourth, *_ = pack.streams.values()
    rows = folder_pack / "rows.csv"
    psnr = second.fields["psnr_db"]
    rewrite(rows, psnr, repr(float(psnr) + 1e-5))
    rewrite(rows, third.fields["decoded_sha256"], "0" * 64)
    rewrite(rows, f",{fourth.fields['bpp']},", ",0.5,")
    (folder_pack / "streams" / first.sha256).write_bytes(b"")
    result = {contradiction.what for contradiction in audited(folder_pack, sources).contradictions}
    assert len(result) == 4
    for words in ("is damaged", "psnr_db is ", "decodes to pixels that differ", "its bpp is "):
        assert sum(words in what for what in result) == 1
