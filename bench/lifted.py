"""`python -m bench.lifted backfill …`: the command `alphaforge`, told that its sandbox allows LIFTED times the limits.

The command itself cannot be told: nobody may ask a venue for more than it grants.
"""

from dataclasses import replace

import alphaforge_assets.backfill.run as backfill
from alphaforge_assets.cli.main import main
from alphaforge_assets.resources import exchanges_of
from bench.ground import LIFTED

if __name__ == "__main__":
    backfill.exchanges_of = lambda settings: replace(exchanges_of(settings), limits_factor=LIFTED)
    main(prog_name="alphaforge")
