"""Settings of about one rate."""

from benchmark.analysis.match import nearest


def test_each_codec_is_at_its_nearest_setting_and_too_far_ones_are_named():
    rows = {
        "near": [{"bpp": 0.2}, {"bpp": 0.3}, {"bpp": 0.5}],
        "far": [{"bpp": 1.0}, {"bpp": 0.9}],
    }
    chosen, far = nearest(rows, 0.27)
    assert chosen == {"near": {"bpp": 0.3}}
    assert far == ["far"]
    assert nearest(rows, 0.24)[0]["near"] == {"bpp": 0.2}  # by ratio: .3 is 1.25 times off
