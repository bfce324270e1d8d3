"""What it means that a frame or a snapshot holds: the two records that `Research.verify` answers with."""

from dataclasses import dataclass

from alphaforge_assets.research.hashes import Difference
from alphaforge_assets.research.receipts import Receipt
from alphaforge_assets.research.snapshots import Snapshot


@dataclass(frozen=True)
class Verification:
    """Whether a frame is what its receipt says, and whether the warehouse still gives it. True if both."""

    receipt: Receipt
    frame_hash: str
    warehouse_hash: str

    @property
    def is_untouched(self) -> bool:
        """The content of the frame is the one that was read."""
        return self.frame_hash == self.receipt.content_hash

    @property
    def is_reproduced(self) -> bool:
        """The warehouse, read as of the receipt's instant, gives the content that was read."""
        return self.warehouse_hash == self.receipt.content_hash

    def __bool__(self) -> bool:
        return self.is_untouched and self.is_reproduced

    def __str__(self) -> str:
        frame = "is what was read" if self.is_untouched else "was changed since it was read"
        warehouse = "still gives it" if self.is_reproduced else f"gives something else as of {self.receipt.as_of}"
        return f"the frame {frame}; the warehouse {warehouse}"


@dataclass(frozen=True)
class SnapshotVerification:
    """Whether a snapshot still is what was pinned: where it is not, by instrument and month. True if nowhere."""

    snapshot: Snapshot
    differences: tuple[Difference, ...]

    def __bool__(self) -> bool:
        return not self.differences

    def __str__(self) -> str:
        its = f"snapshot {self.snapshot.name}: "
        if not self.differences:
            return (
                its
                + f"all {self.snapshot.rows:,} rows are as pinned at {self.snapshot.pinned_at:%Y-%m-%d %H:%M:%S} UTC"
            )
        first = self.differences[0]
        return its + (
            f"{len(self.differences)} months are not what was pinned, the first {first.dataset} of {first.instrument}"
            f" {first.interval} in {first.month:%Y-%m}"
        )
