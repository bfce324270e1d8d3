"""Others that fetch the same year: freqtrade, and what one writes with ccxt in an afternoon. Neither checks anything.

They have a virtual environment of their own, made by `make bench-peers`; without it the loop runs in ours.
"""

import datetime as dt
import json
import os
import sys
import uuid
from pathlib import Path

from bench.ground import ROOT, run

PYTHON = ROOT / ".peers" / "bin" / "python"
FREQTRADE = PYTHON.with_name("freqtrade")


def urls(url: str) -> dict[str, str]:
    """ccxt's Binance, all of it at the sandbox."""
    paths = {"public": "/api/v3", "fapiPublic": "/fapi/v1", "dapiPublic": "/dapi/v1", "fapiData": "/futures/data"}
    return {section: url + path for section, path in paths.items()}


def environment() -> dict[str, str]:
    """Nothing of ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("ALPHAFORGE_", "PYTHONPATH"))}


def ccxt_loop(url: str, start: dt.date, days: int, folder: Path, *, limited: bool) -> Path:
    """BTC/USDT by ccxt_loop.py; returns its Parquet file."""
    order = {
        "urls": urls(url),
        "limited": limited,
        "start_ms": int(dt.datetime(start.year, start.month, start.day, tzinfo=dt.UTC).timestamp() * 1000),
        "days": days,
        "file": str(folder / f"{uuid.uuid4()}.parquet"),
    }
    python = PYTHON if PYTHON.exists() else Path(sys.executable)
    run([str(python), str(Path(__file__).with_name("ccxt_loop.py")), json.dumps(order)], environment())
    return Path(order["file"])


def freqtrade(url: str, start: dt.date, days: int, folder: Path, *, limited: bool) -> Path:
    """BTC/USDT by `freqtrade download-data`; returns its file."""
    home = folder / f"freqtrade-{uuid.uuid4()}"
    (home / "user").mkdir(parents=True)
    only_spot = {"fetchMarkets": {"types": ["spot"]}}  # else also coin-margined futures, which the sandbox has none of
    exchange = {"urls": {"api": urls(url)}, "enableRateLimit": limited, "options": only_spot}
    price = {"price_side": "same", "use_order_book": True, "order_book_top": 1}
    settings = {
        "dry_run": True,
        "stake_currency": "USDT",
        "stake_amount": 10,
        "entry_pricing": price,
        "exit_pricing": price,
        "pairlists": [{"method": "StaticPairList"}],
        "exchange": {
            "name": "binance",
            "key": "",
            "secret": "",
            "ccxt_config": exchange,
            "ccxt_async_config": exchange,
            "pair_whitelist": ["BTC/USDT"],
            "only_from_ccxt": True,  # else it takes whole days from Binance's archive, which is not here
        },
    }
    (home / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    span = f"{start:%Y%m%d}-{start + dt.timedelta(days=days):%Y%m%d}"
    words = ["download-data", "-c", "config.json", "--userdir", "user", "--datadir", "data"]
    words += ["--pairs", "BTC/USDT", "--timeframes", "1m", "--timerange", span]
    run([str(FREQTRADE), *words], environment(), home)
    (file,) = (home / "data").rglob("*.feather")
    return file
