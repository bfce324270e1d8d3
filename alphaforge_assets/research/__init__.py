"""Reading for people: what a notebook imports. No Dagster below here, so reading costs nothing but the client."""

from alphaforge_assets.research.client import Research, connect

__all__ = ["Research", "connect"]
