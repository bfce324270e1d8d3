"""A worked backtest: a moving-average cross-over on hourly bars, costs included, long or flat.

    python docs/backtest.py binance_spot BTC/USDT 2025-05-01 2025-06-01 [SNAPSHOT]

The data come through the AlphaForge plugin, so what is read is one dictionary. With a snapshot in it the same numbers
come out on every machine; without one, the same as long as nothing below was revised: the last line, a hash of the
bars, tells which.

No look-ahead: the signal of an hour is made of closes up to its end and held from the next hour on (`shift(1)`).
Everything is float64 in a fixed order, nothing is summed in parallel, and results are rounded to six digits, which
hides what processors may disagree on in the last bit. Gaps are not filled: a return over a gap spans it.
"""

import hashlib
import sys
from dataclasses import dataclass

import pandas as pd

from alphaforge_assets.errors import AlphaForgeError
from alphaforge_assets.research.plugin import warehouse_clickhouse

FAST, SLOW = 20, 50  # hours
COST = 0.0010  # of what is traded: 0.10 % each way, fee and slippage together
HOURS_A_YEAR = 24 * 365


@dataclass(frozen=True)
class Result:
    """Returns are fractions of the capital; `sharpe` is a year's, without a riskless rate."""

    bars: int
    trades: int
    total_return: float
    buy_and_hold: float
    costs: float
    sharpe: float
    drawdown_max: float
    bars_hash: str


def backtest(bars: pd.DataFrame) -> Result:
    """`bars`: columns timestamp and close, hourly, ascending."""
    close = bars["close"]
    wants = (close.rolling(FAST).mean() > close.rolling(SLOW).mean()).astype("float64")
    position = wants.shift(1, fill_value=0.0)  # known at the end of the hour before
    traded = position.diff().fillna(position).abs()
    returns = position * close.pct_change(fill_method=None).fillna(0.0) - traded * COST
    equity = (1.0 + returns).cumprod()
    spread = returns.std()
    return Result(
        bars=len(bars),
        trades=int((traded > 0).sum()),
        total_return=round(float(equity.iloc[-1] - 1.0), 6),
        buy_and_hold=round(float(close.iloc[-1] / close.iloc[0] - 1.0), 6),
        costs=round(float((traded * COST).sum()), 6),
        sharpe=round(float(returns.mean() / spread * HOURS_A_YEAR**0.5), 6) if spread > 0 else 0.0,
        drawdown_max=round(float((1.0 - equity / equity.cummax()).max()), 6),
        bars_hash=hashlib.sha256(bars[["timestamp", "close"]].to_csv(index=False).encode()).hexdigest(),
    )


def main(venue: str, symbol: str, start: str, end: str, snapshot: str | None = None) -> None:
    bars = warehouse_clickhouse(
        {
            "venues": [venue],
            "symbols": [symbol],
            "interval": "1h",
            "start": start,
            "end": end,
            "columns": ["close"],
            "snapshot": snapshot,
        }
    )
    if len(bars) <= SLOW:
        sys.exit(f"{len(bars)} bars are too few for an average of {SLOW}: backfill more, or ask for a longer range")
    result = backtest(bars)
    print(f"{venue} {symbol} 1h, {result.bars:,} bars, averages of {FAST} and {SLOW} hours")
    print(f"total return   {result.total_return:>12.4%}   buy and hold {result.buy_and_hold:.4%}")
    print(f"trades         {result.trades:>12,}   costs {result.costs:.4%}")
    print(f"Sharpe (year)  {result.sharpe:>12.3f}   deepest fall {result.drawdown_max:.4%}")
    print(f"bars           {result.bars_hash}")


if __name__ == "__main__":
    if not 5 <= len(sys.argv) <= 6:
        sys.exit(f"usage: python {sys.argv[0]} VENUE SYMBOL FROM TO [SNAPSHOT]")
    try:
        main(*sys.argv[1:])
    except AlphaForgeError as error:
        sys.exit(f"backtest: {error}")
