"""Charts: what is summed, what is said, and what a browser and an image reader make of the files."""

import datetime as dt
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alphaforge_assets.errors import BadInput
from alphaforge_assets.exports import chart

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DAY = pd.Timestamp("2025-05-01", tz="UTC")


def bars(count: int, interval: str = "1min") -> pd.DataFrame:
    index = pd.date_range(DAY, periods=count, freq=interval, name="timestamp").as_unit("ms")
    close = 94000 + np.cumsum(np.sin(np.arange(count) / 9.0) * 20)
    frame = pd.DataFrame({"open": np.roll(close, 1), "close": close, "volume": 1.5}, index=index)
    frame["open"] = frame["open"].where(np.arange(count) > 0, 94000.0)
    return frame.assign(high=frame[["open", "close"]].max(axis=1) + 5, low=frame[["open", "close"]].min(axis=1) - 5)


def test_more_bars_than_there_is_room_for_are_summed_and_the_chart_says_so() -> None:
    frame = bars(3 * 1440)
    drawn = chart.chart("k", "1m", frame, [], 300)
    assert drawn.step_ms == 15 * 60_000
    assert drawn.caption == "4,320 bars of 1m, summed into 288 candles of 15m"
    first = frame.iloc[:15]
    candle = drawn.candles.iloc[0]
    assert candle["open"] == first["open"].iloc[0]
    assert candle["close"] == first["close"].iloc[-1]
    assert candle["high"] == first["high"].max()
    assert candle["low"] == first["low"].min()
    assert candle["volume"] == pytest.approx(first["volume"].sum())
    assert chart.chart("k", "1m", frame, [], 5000).caption == "4,320 bars of 1m"


def test_a_year_of_minutes_is_a_small_page(tmp_path: Path) -> None:
    drawn = chart.chart("k", "1m", bars(365 * 1440), [], chart.HTML_CANDLES_MAX)
    chart.write_html(drawn, tmp_path / "year.html")
    assert len(drawn.candles) <= chart.HTML_CANDLES_MAX
    assert (tmp_path / "year.html").stat().st_size < 2_000_000


def test_missing_bars_are_a_gap_with_its_verdict() -> None:
    frame = bars(120).drop(bars(120).index[30:40])
    start, end = (DAY + pd.Timedelta(minutes=m) for m in (30, 40))
    known = {"gap_start": start, "gap_end": end, "verdict": "venue_outage", "evidence": "all silent", "is_open": True}
    (gap,) = chart.chart("k", "1m", frame, [known], 500).gaps
    assert (gap.start, gap.end, gap.verdict) == (start, end, "venue_outage")
    (unjudged,) = chart.chart("k", "1m", frame, [], 500).gaps
    assert unjudged.verdict == ""


def test_a_page_needs_no_network_and_a_title_is_no_markup(tmp_path: Path) -> None:
    drawn = chart.chart("</script><b>x", "1m", bars(60), [], 500)
    chart.write_html(drawn, tmp_path / "c.html")
    text = (tmp_path / "c.html").read_text()
    assert not re.search(r"(src|href)=|https?://|@import", text)
    data = re.search(r'type="application/json">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert json.loads(data.group(1))["title"] == "</script><b>x"


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(BadInput, match="nothing to draw"):
        chart.chart("k", "1m", bars(0), [], 10)


def test_a_png_is_drawn_with_gaps_and_flat_bars(tmp_path: Path) -> None:
    frame = bars(600).drop(bars(600).index[100:200])
    frame.iloc[-50:, :] = 94000.0
    chart.write_png(chart.chart("k  1m", "1m", frame, [], chart.PNG_CANDLES_MAX), tmp_path / "c.png")
    data = (tmp_path / "c.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (2400, 1350)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_browser_draws_the_page_zooms_and_tells_of_a_gap(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    frame = bars(1440).drop(bars(1440).index[600:900])
    known = {
        "gap_start": DAY + dt.timedelta(minutes=600), "gap_end": DAY + dt.timedelta(minutes=900),
        "verdict": "venue_outage", "evidence": "all silent", "is_open": True,
    }  # fmt: skip
    chart.write_html(chart.chart("key 1m", "1m", frame, [known], 5000), tmp_path / "c.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 700})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto((tmp_path / "c.html").as_uri())
        assert "drawn summed into candles of 10m" in page.inner_text("#what")
        assert "1 gap, never filled" in page.inner_text("#what")
        page.mouse.move(20 + 1096 * 0.52, 300)
        page.wait_for_function("document.getElementById('card').textContent.includes('venue_outage')")
        for _ in range(8):
            page.mouse.wheel(0, -300)
        page.wait_for_function("!document.getElementById('what').textContent.includes('summed')")
        page.mouse.dblclick(600, 300)
        page.wait_for_function("document.getElementById('what').textContent.includes('candles of 10m')")
        assert faults == []
        browser.close()
