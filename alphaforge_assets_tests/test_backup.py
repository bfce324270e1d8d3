"""Backup and restore as users do it: what comes back is what was there, and what is not whole is never taken for it."""

import dataclasses
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow.fs as pafs
import pytest
from click.testing import CliRunner, Result

from alphaforge_assets.backup import manifest, place
from alphaforge_assets.backup.take import fingerprints, take
from alphaforge_assets.cli.main import main
from alphaforge_assets.errors import Permanent
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.local import restoring
from alphaforge_assets.warehouse.schema import open_current
from alphaforge_assets_tests.installed import Installed, requests_of
from alphaforge_assets_tests.test_report import s3

__all__ = ["s3"]
ASKED = ("--instruments", "binance_spot.BTC-USDT,okx_perp.BTC-USDT", "--from", "2025-05-01", "--to", "2025-05-04")
ASSETS = ("landing_bars", "staging_bars", "bars", "coverage")


@pytest.fixture(scope="module")
def original(template: Path, tmp_path_factory: pytest.TempPathFactory, exchange: Exchanges) -> Iterator[Installed]:
    """Three days of two instruments, one snapshot of them, and a backup of it all in the folder `backup`."""
    with Installed(tmp_path_factory.mktemp("original"), exchange.base_url).furnished(template).served() as installed:
        installed.well("backfill", *ASKED)
        installed.well("pin", "study1", *ASKED, "--interval", "1m")
        installed.well("backup", str(installed.root / "backup"))
        yield installed


def held(home: Path) -> list[manifest.Piece]:
    """What every table of a home holds."""
    with open_warehouse(home) as client:
        tables = statements.rows(client, "backup/tables")
        return [p for t in tables for p in fingerprints(client, t["name"], t["cut_by"])]


def done(home: Path) -> dict[str, set[str]]:
    """Materialized partitions of each asset."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return {name: instance.get_materialized_partitions(dg.AssetKey(name)) for name in ASSETS}


def test_what_is_restored_is_what_was_there_and_a_rerun_asks_nothing(original: Installed, tmp_path: Path) -> None:
    restored = dataclasses.replace(original, root=tmp_path / "restored")
    said = restored.well("restore", str(original.root / "backup"))
    assert "1 snapshots" in said
    assert held(restored.home) == held(original.home)
    assert sum(p.row_count for p in held(restored.home) if p.table == "bars_history") >= 2 * 3 * 1440
    assert restored.well("verify", "study1") == original.well("verify", "study1")
    assert done(restored.home) == done(original.home)
    assert len(done(restored.home)["bars"]) == 6
    assert original.venues is not None
    asked = len(requests_of(original.venues))
    assert "nothing to do" in restored.well("backfill", *ASKED)
    assert len(requests_of(original.venues)) == asked
    refused = restored.run("restore", str(original.root / "backup"))
    assert refused.returncode == 2
    assert "not empty: rows in" in refused.stderr


def test_the_second_backup_writes_what_changed(original: Installed, tmp_path: Path) -> None:
    there = place.place(str(tmp_path), None)
    with open_current(original.home) as client:
        first = take(client, original.home / "dagster", there)
        again = take(client, original.home / "dagster", there)
        assert first.written > 10
        assert again.written == 0
        client.command("INSERT INTO analytics.venues_history (venue, observed_at) VALUES ('v', '2025-05-01')")
        third = take(client, original.home / "dagster", there)
        client.command("ALTER TABLE analytics.venues_history DELETE WHERE venue = 'v' SETTINGS mutations_sync = 2")
    assert third.written == 1
    assert manifest.names(there) == sorted({first.name, again.name, third.name})


def verified(home: Path, *words: str) -> Result:
    """`alphaforge backup --verify`, in this process and with a home that is not there and must not be made."""
    done = CliRunner().invoke(main, ["backup", "--verify", *words], env={"ALPHAFORGE_HOME": str(home)})
    assert not home.exists()
    return done


def test_a_backup_is_verified_without_being_restored(original: Installed, tmp_path: Path) -> None:
    copy, home = tmp_path / "copy", tmp_path / "nowhere"
    shutil.copytree(original.root / "backup", copy)
    name, whole = manifest.read(place.place(str(copy), None))
    assert verified(home, str(copy)).exit_code == 0
    assert f"backup {name} is whole" in verified(home, str(copy), "--backup", name).output
    flipped, missing, short = (
        copy / next(p.file.path for p in whole.pieces if p.table == table) for table in ("bars", "coverage", "runs")
    )
    content = bytearray(flipped.read_bytes())
    content[-1] ^= 1
    flipped.write_bytes(content)
    missing.unlink()
    short.write_bytes(short.read_bytes()[:-1])
    failed = verified(home, str(copy))
    assert failed.exit_code == 1
    for file, said in ((flipped, "its hash differs"), (missing, "is missing"), (short, "its hash differs")):
        assert re.search(rf"{file.relative_to(copy)} \((bars|coverage|runs) .*\) .*{said}", failed.output)
    assert f"damaged, 3 of {len({p.file for p in whole.pieces} | set(whole.databases.values()))} files" in failed.output
    flipped.unlink()
    with open_current(original.home) as client:
        take(client, original.home / "dagster", place.place(str(copy), None))
    assert verified(home, str(copy)).exit_code == 0
    assert verified(home, str(copy), "--backup", "none").exit_code == 2
    assert verified(home, str(tmp_path / "empty")).exit_code == 2
    manifest_file = copy / "manifests" / f"{name}.json"
    manifest_file.write_bytes(manifest_file.read_bytes()[:-1])
    assert verified(home, str(copy), "--backup", name).exit_code == 1


def test_a_flipped_byte_is_found_and_the_home_is_not_taken_for_whole(original: Installed, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with open_current(original.home) as client:
        take(client, original.home / "dagster", place.place(str(copy), None))
    _, whole = manifest.read(place.place(str(copy), None))
    file = copy / next(p.file.path for p in whole.pieces if p.table == "staging_bars")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    restored = dataclasses.replace(original, root=tmp_path / "restored")
    failed = restored.run("restore", str(copy))
    assert failed.returncode == 1
    assert "its hash differs" in failed.stderr
    assert "half restored" in restored.run("status").stderr
    (manifest_file,) = (copy / "manifests").iterdir()
    manifest_file.write_bytes(manifest_file.read_bytes().replace(b'"format":1', b'"format":2'))
    with pytest.raises(Permanent, match="its manifest is not what was written"):
        manifest.read(place.place(str(copy), None))


def killed(installed: Installed, sign: Path, *words: str) -> None:
    """Run a command and kill it with -9 as soon as a file below `sign` is there."""
    with installed.started(*words) as process:
        while process.poll() is None and not (sign.is_file() or any(sign.rglob("*.piece"))):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL, installed.said(words[0])


def test_killed_in_the_middle_neither_is_taken_for_one(original: Installed, tmp_path: Path) -> None:
    there = tmp_path / "backup"
    killed(original, there, "backup", str(there))
    assert manifest.names(place.place(str(there), None)) == []
    restored = dataclasses.replace(original, root=tmp_path / "restored")
    refused = restored.run("restore", str(there))
    assert refused.returncode == 2
    assert "no finished backup" in refused.stderr
    original.well("backup", str(there))
    killed(restored, restoring(restored.home), "restore", str(there))
    assert "half restored" in restored.run("status").stderr
    restored.well("restore", str(there))
    assert held(restored.home) == held(original.home)


def test_a_bucket_does_as_a_folder(original: Installed, s3: str, tmp_path: Path) -> None:
    pafs.S3FileSystem(endpoint_override=s3, allow_bucket_creation=True).create_dir("backups")
    original.well("backup", "s3://backups/a", AWS_ENDPOINT_URL=s3)
    restored = dataclasses.replace(original, root=tmp_path / "restored")
    restored.well("restore", "s3://backups/a", AWS_ENDPOINT_URL=s3)
    assert held(restored.home) == held(original.home)
