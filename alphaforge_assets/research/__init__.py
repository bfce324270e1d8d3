"""Reading for people: what a notebook imports. No Dagster below here, so reading costs nothing but the client."""

from alphaforge_assets.errors import CoverageError
from alphaforge_assets.research.client import Research, connect
from alphaforge_assets.research.completeness import IncompleteWarning
from alphaforge_assets.research.identity import IdentityWarning
from alphaforge_assets.research.proofs import SnapshotVerification, Verification
from alphaforge_assets.research.receipts import Receipt, content_hash, to_parquet
from alphaforge_assets.research.snapshots import Snapshot

__all__ = [
    "CoverageError", "IdentityWarning", "IncompleteWarning", "Receipt", "Research", "Snapshot", "SnapshotVerification",
    "Verification", "connect", "content_hash", "to_parquet",
]  # fmt: skip
