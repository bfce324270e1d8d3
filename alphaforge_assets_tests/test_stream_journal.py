"""Journal and segments of streams: what was synced is there word for word, whatever becomes of process or disk."""

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.backup.place import Folder
from alphaforge_assets.errors import Permanent
from alphaforge_assets.stream import journal, segments
from alphaforge_assets.stream.journal import HOUR_NS, Journal

HOUR = 490_000
AT = HOUR * HOUR_NS


INDENTED = st.lists(st.text() | st.integers(0, 9)).map(lambda v: orjson.dumps(v, option=orjson.OPT_INDENT_2))


@given(st.one_of(st.binary(), st.text().map(str.encode), INDENTED))
def test_every_message_is_one_line_of_json(message: bytes) -> None:
    text = journal.line(7, AT, message)
    assert text.count(b"\n") == 1
    record = orjson.loads(text)
    assert (record["n"], record["at"]) == (7, AT)
    assert isinstance(record["m"], str) or record["m"] == orjson.loads(message)


def test_what_was_said_is_read_word_for_word(tmp_path: Path) -> None:
    its = Journal(tmp_path, "binance_spot", "c1")
    said = [b'{"a": 1}', b"pong", b'{"e":"\xc3\xa9"}', b'{\n"b":2}', b"[1,2]"]
    for n, message in enumerate(said):
        its.add(message, AT + n)
    assert its.sync() == len(said)
    (file,) = its.close()
    assert [one.message for one in journal.read(file)] == said
    assert journal.named(file) == ("binance_spot", "c1", HOUR)


@given(st.integers(0, 200))
def test_a_torn_tail_is_cut_and_kept(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("torn")
    its = Journal(folder, "v", "c")
    for n in range(5):
        its.add(b'{"x":%d}' % n, AT + n)
    its.sync()
    (file,) = its.close()
    whole = file.read_bytes()
    file.write_bytes(whole[: max(0, len(whole) - cut)])
    (found,) = journal.left_over(folder)
    kept = found.read_bytes()
    torn = file.with_suffix(".torn").read_bytes() if file.with_suffix(".torn").exists() else b""
    assert kept + torn == whole[: max(0, len(whole) - cut)]
    assert kept == b"" or kept.endswith(b"\n")
    assert len(list(journal.read(found))) == kept.count(b"\n")


WRITER = """
import sys, time
from pathlib import Path
from alphaforge_assets.stream.journal import Journal
its = Journal(Path(sys.argv[1]), "v", "c")
n = 0
while True:
    for _ in range(500):
        n += 1
        its.add(b'{"x":%d,"pad":"' % n + b"y" * (n % 300) + b'"}', time.time_ns())
    print(its.sync(), flush=True)
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_was_synced_survives_a_kill(tmp_path: Path, seed: int) -> None:
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as writer:
        assert writer.stdout is not None
        acknowledged = 0
        for _ in range(random.Random(seed).randrange(5, 30)):  # noqa: S311
            acknowledged = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
    numbers = [one.n for file in journal.left_over(tmp_path) for one in journal.read(file)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= acknowledged > 0


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """The limit on a file's size writes a part, then refuses, as a full disk does."""
    its = Journal(tmp_path, "v", "c")
    its.add(b'{"x":1}', AT)
    its.sync()
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        for n in range(200):
            its.add(b'{"y":"%d"}' % n, AT)
        with pytest.raises(Permanent, match="free some room"):
            its.sync()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (its.synced, its.lost) == (1, 0)
    (file,) = tmp_path.glob("*.jsonl")
    assert [one.message for one in journal.read(file)] == [b'{"x":1}']
    its.add(b'{"z":3}', AT)
    its.sync()
    (file,) = its.close()
    waited = [b'{"y":"%d"}' % n for n in range(200)]
    assert [one.message for one in journal.read(file)] == [b'{"x":1}', *waited, b'{"z":3}']
    assert its.synced == its.added == 202


def test_segments_hold_every_line_under_its_hash(tmp_path: Path) -> None:
    its = Journal(tmp_path / "journal", "binance_spot", "c1")
    for n in range(300):
        its.add(b'{"s":"%b","n":%d}' % ((b"A-B", b"C-D", b"")[n % 3], n), AT + n)
    its.sync()
    assert its.over(HOUR) == []
    (file,) = its.over(HOUR + 1)

    def concerns(message: bytes) -> list[tuple[str, str]]:
        symbol = orjson.loads(message)["s"]
        return [("bars", symbol)] if symbol else []

    place = Folder(tmp_path / "place")
    found = segments.pack(file, "binance_spot", concerns, place)
    assert {one.symbol: one.messages for one in found} == {"A-B": 100, "C-D": 100, "_connection": 100}
    assert segments.pack(file, "binance_spot", concerns, place) == found  # done again, nothing changes
    lines = []
    for one in found:
        content = (tmp_path / "place" / one.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == one.sha256 == Path(one.path).name.split(".")[0]
        lines += zstandard.ZstdDecompressor().decompressobj().decompress(content).splitlines(keepends=True)
        assert "/interval=1m/day=" in one.path
        assert "/hour=" in one.path
    assert sorted(lines) == sorted(file.read_bytes().splitlines(keepends=True))
