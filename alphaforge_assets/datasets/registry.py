"""The datasets we keep: adding one is its file, its tables in sql/migrations, and its line here."""

from collections import ChainMap
from collections.abc import Mapping

from alphaforge_assets.datasets.bars import BARS, DERIVED_BARS
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.fear_greed_index import FEAR_GREED_INDEX
from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.datasets.liquidations import LIQUIDATIONS
from alphaforge_assets.datasets.price_bars import PRICE_BARS
from alphaforge_assets.datasets.trades import TRADES

_KNOWN = (BARS, FUNDING_RATES, FEAR_GREED_INDEX, TRADES, PRICE_BARS, LIQUIDATIONS)
DATASETS: dict[str, Dataset] = {d.name: d for d in _KNOWN}
# What frames are read from: those, and what we make of them ourselves.
READABLE: Mapping[str, Dataset] = ChainMap({DERIVED_BARS.name: DERIVED_BARS}, DATASETS)
