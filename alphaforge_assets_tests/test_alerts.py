"""Alerts over a real HTTP server as receiver: told once, grouped, resolved, told later where the receiver was down."""

import datetime as dt
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.alerts import messages
from alphaforge_assets.alerts.messages import Told, after, lasting, news, read_memory, tell
from alphaforge_assets.alerts.sensor import send_alerts
from alphaforge_assets.alerts.troubles import KINDS, Look, Trouble, look
from alphaforge_assets.cli.main import main
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.errors import BadInput
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import load_universe
from alphaforge_assets.venues.governor import Budget, Governor, held
from alphaforge_assets.webhooks import Webhook, post, read_webhooks
from alphaforge_assets_tests.test_freshness import ask

UNIVERSE = load_universe()
BTC, ETH = (UNIVERSE.instrument(f"binance_spot.{base}-USDT") for base in ("BTC", "ETH"))
NOW = dt.datetime(2026, 3, 2, 12, 0, tzinfo=dt.UTC)
MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)
SECRET = "T0SECRET"


@dataclass
class Receiver:
    """A webhook on a real socket. `status` is what it answers, `got` what it was sent."""

    url: str = ""
    status: int = 200
    answer: bytes = b"ok"
    location: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [str(body["text"]) for body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    it = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if it.status == 200:
                it.got.append(body)
            self.send_response(it.status)
            if it.location:
                self.send_header("location", it.location)
            self.end_headers()
            self.wfile.write(it.answer)

        def log_message(self, format: str, *args: object) -> None:
            """The test's output stays clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        it.url = f"http://127.0.0.1:{server.server_port}/hook/{SECRET}"
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        yield it
        server.shutdown()
        serving.join()


def webhook(url: str) -> Webhook:
    (one,) = read_webhooks(url)
    return one


# The setting.


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("", []),
        ("https://hooks.slack.com/services/T0/B0/XX", ["slack"]),
        ("slack+https://chat.example/hooks/x", ["slack"]),
        ("https://example.org", ["json"]),
        ("https://a.example/x, http://127.0.0.1:8/y  https://a.example/x", ["json", "json"]),
    ],
)
def test_the_kind_of_a_receiver_follows_from_its_url(text: str, kinds: list[str]) -> None:
    assert [w.kind for w in read_webhooks(text)] == kinds


@pytest.mark.parametrize(
    "text",
    [
        f"hooks.slack.com/services/{SECRET}",
        f"xoxb-{SECRET}",
        "https://hooks.slack.com/",
        "slack+https://chat.example",
        f"ftp://example.org/{SECRET}",
        f"https:///{SECRET}",
        f"https://user:{SECRET}@example.org:99999/{SECRET}?k={SECRET}",
        f"https://[::1/{SECRET}",
        f"https://example.org/ok https://münchen.example/{SECRET}",
    ],
)
def test_a_malformed_one_is_refused_without_telling_the_secret(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHAFORGE_ALERTS", text)
    with pytest.raises(BadInput, match=r"ALPHAFORGE_ALERTS.*write https://hooks\.slack\.com") as refusal:
        settings_from_environment()
    assert SECRET not in str(refusal.value)
    for command in ("up", "status", "alerts"):
        ended = CliRunner().invoke(main, [command])
        assert ended.exit_code == 2


@pytest.mark.parametrize("text", ["good", "-1", "101", "nan"])
def test_a_score_that_cannot_be_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHAFORGE_ALERT_SCORE", text)
    with pytest.raises(BadInput, match=f"ALPHAFORGE_ALERT_SCORE '{text}'"):
        settings_from_environment()


# Sending.


def test_slack_is_sent_text_alone_and_others_the_details(receiver: Receiver) -> None:
    for prefix in ("slack+", ""):
        assert post(webhook(prefix + receiver.url), "a <b> & c", {"new": [NOW]}).is_taken
    assert receiver.got == [
        {"text": "a &lt;b&gt; &amp; c"},
        {"source": "alphaforge", "text": "a <b> & c", "new": ["2026-03-02 12:00:00+00:00"]},
    ]


@pytest.mark.parametrize("status", [302, 404, 429, 500])
def test_what_is_not_taken_is_said_and_no_secret_with_it(receiver: Receiver, status: int) -> None:
    receiver.status, receiver.location = status, receiver.url
    receiver.answer = f"no such hook: /hook/{SECRET}\n".encode()
    receipt = post(webhook(receiver.url), "text", {})
    assert not receipt.is_taken
    assert receipt.answer.startswith(f"HTTP {status} no such hook")
    assert SECRET not in repr(receipt)


def test_a_receiver_that_is_not_there_is_an_answer_too() -> None:
    receipt = post(webhook(f"http://127.0.0.1:9/{SECRET}"), "text", {})
    assert not receipt.is_taken
    assert "refused" in receipt.answer
    assert SECRET not in repr(receipt)


# Who is told what.


def trouble(subject: str, kind: str = "gaps", since: dt.datetime = NOW) -> Trouble:
    return Trouble(kind, subject, since, f"about {subject}")


@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abcd")), st.booleans(), st.booleans()), max_size=12).map(
        lambda looks: [*looks, (looks[-1][0] if looks else set(), True, False)]
    )
)
def test_each_trouble_is_told_once_and_once_that_it_is_over(looks: list[tuple[set[str], bool, bool]]) -> None:
    """Whatever comes and goes, with a receiver that is down now and then and looks that see nothing."""
    told: Told = {}
    heard: list[tuple[str, str]] = []
    for present, takes, blind in looks:
        seen = () if blind else tuple(trouble(s) for s in sorted(present))
        its = news(told, Look(NOW, seen, frozenset({"gaps"} if blind else ())))
        if takes:
            heard += [("new", t.subject) for t in its.new] + [("over", subject) for _, subject, _ in its.over]
            told = json.loads(json.dumps(after(told, its)))  # by way of the cursor
    for subject in "abcd":
        words = [word for word, about in heard if about == subject]
        assert words == [("new", "over")[n % 2] for n in range(len(words))]
        assert (len(words) % 2 == 1) == (f"gaps|{subject}" in told)
    assert {key.removeprefix("gaps|") for key in told} == looks[-1][0]


def test_all_news_of_a_look_are_one_message(receiver: Receiver) -> None:
    hooks = [webhook(receiver.url)]
    many = tuple(trouble(f"bars a.{n:02d}", "stale_instruments") for n in range(25))
    told, receipts = tell(hooks, {}, Look(NOW, (*many, trouble("bars a.00"))), "http://ui")
    assert [r.is_taken for r in receipts] == [True]
    (said,) = receiver.texts
    assert "26 new" in said
    assert "Instruments that are late (25)" in said
    assert "… and 15 more" in said
    assert said.count("→") == 2
    assert len(receiver.got[0]["new"]) == 26
    told, receipts = tell(hooks, told, Look(NOW + MINUTE, (*many, trouble("bars a.00"))), None)
    assert receipts == []  # nothing new: nobody is disturbed
    tell(hooks, told, Look(NOW + 90 * MINUTE, many[:24]), None)
    assert "2 over, 24 go on" in receiver.texts[1]
    assert "✓ Gaps that nothing explains: bars a.00, after 90 min: filled, or explained by now" in receiver.texts[1]


def test_one_receiver_down_is_told_later_and_the_other_not_twice(receiver: Receiver) -> None:
    hooks = [webhook(receiver.url), webhook(f"slack+{receiver.url}")]
    down = [hooks[0], webhook("http://127.0.0.1:9/x")]
    told, receipts = tell(down, {}, Look(NOW, (trouble("a"),)), None)
    assert sorted(r.is_taken for r in receipts) == [False, True]
    told = told | {messages.identity(hooks[1]): told[messages.identity(down[1])]}
    tell(hooks, told, Look(NOW + MINUTE, (trouble("a"),)), None)
    assert ["source" in body for body in receiver.got] == [True, False]


def test_what_is_late_only_until_the_tail_has_caught_up_is_not_told() -> None:
    late, gap = trouble("a", "stale_instruments"), trouble("a")
    now, seen = lasting({}, Look(NOW, (late, gap)))
    assert now.troubles == (gap,)
    now, seen = lasting(seen, Look(NOW + 5 * MINUTE, (), frozenset({"stale_instruments"})))  # could not look: no matter
    now, seen = lasting(seen, Look(NOW + 10 * MINUTE, (late,)))
    assert now.troubles == (late,)
    now, seen = lasting(seen, Look(NOW + 11 * MINUTE, ()))
    assert seen == {}
    assert lasting(seen, Look(NOW + 12 * MINUTE, (late,)))[0].troubles == ()


# What is looked at.


@pytest.fixture
def home(emptied: Client, schema_home: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("ALPHAFORGE_HOME", str(schema_home))
    return emptied


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as it:
        yield it


def seen(instance: dg.DagsterInstance, now: dt.datetime | None = None) -> dict[str, str]:
    found = look(instance, settings_from_environment(), UNIVERSE, now or dt.datetime.now(dt.UTC))
    return {t.key: t.about for t in found.troubles}


def run(
    instance: dg.DagsterInstance, *, fails: bool, name: str = "nightly", tags: dict[str, str] | None = None
) -> None:
    @dg.op
    def work() -> None:
        if fails:
            raise dg.Failure("the venue was asleep")

    @dg.job(name=name)
    def job() -> None:
        work()

    job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)


def test_nothing_wrong_is_nothing_to_tell(home: Client, instance: dg.DagsterInstance) -> None:
    run(instance, fails=False)
    assert seen(instance) == {}


def test_failed_runs_are_grouped_and_over_once_a_later_one_succeeds(home: Client, instance: dg.DagsterInstance) -> None:
    now = dt.datetime.now(dt.UTC)
    run(instance, fails=True, tags={"dagster/will_retry": "true"})
    assert seen(instance, now) == {}
    run(instance, fails=True)
    run(instance, fails=True)
    assert seen(instance, now) == {"failed_runs|nightly": "2 runs, the last: the venue was asleep"}
    run(instance, fails=False)
    assert "failed_runs|nightly" in seen(instance, now)  # it did fail, and somebody is told so
    run(instance, fails=False, name="another")
    assert seen(instance, now + 40 * MINUTE) == {}
    run(instance, fails=True, name="another")
    assert set(seen(instance, now + 40 * MINUTE)) == {"failed_runs|another"}


def test_a_stale_asset_is_told_of(home: Client, instance: dg.DagsterInstance) -> None:
    for state, told in ((FreshnessState.FAIL, True), (FreshnessState.PASS, False)):
        change = FreshnessStateChange(
            key=dg.AssetKey("bars"), new_state=state, previous_state=FreshnessState.UNKNOWN,
            state_change_timestamp=NOW.timestamp(),
        )  # fmt: skip
        instance._report_runless_asset_event(change)
        assert ("stale_assets|bars" in seen(instance)) == told


def test_a_venue_that_refuses_is_told_of_until_it_answers(home: Client, instance: dg.DagsterInstance) -> None:
    ask(home, BARS, BTC, "1m", NOW - 5 * MINUTE, NOW - 5 * MINUTE)
    fail(home, "VenueRefused: binance: HTTP 451: restricted location", NOW - 2 * MINUTE)
    fail(home, "VenueRefused: binance: HTTP 451: restricted location", NOW - MINUTE)
    found = {key: about for key, about in seen(instance, NOW).items() if key.startswith("venues")}
    assert found == {"venues|binance_spot bars": "2 windows: VenueRefused: binance: HTTP 451: restricted location"}
    ask(home, BARS, BTC, "1m", NOW, NOW)
    fail(home, "UnknownSymbol: binance_spot does not list BTC/USDT", NOW + MINUTE)
    assert not any(key.startswith("venues") for key in seen(instance, NOW + 2 * MINUTE))


def fail(client: Client, error: str, at: dt.datetime) -> None:
    row = {
        "batch_id": "00000000-0000-0000-0000-000000000002", "dataset": "bars", "venue": BTC.venue, "symbol": BTC.symbol,
        "interval": "1m", "window_start": at - DAY, "window_end": at, "status": "failed", "error": error,
        "recorded_at": at,
    }  # fmt: skip
    client.insert("analytics.ingest_batches", [list(row.values())], column_names=list(row))


def test_a_ban_is_told_of_and_a_short_pause_is_not(home: Client, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    file = settings_from_environment().governor_file
    assert held(file, "live") == []
    governor = Governor(file, "live")
    governor.hold(Budget("okx", 10, 1, 1), 30, "HTTP 429")
    assert seen(instance) == {}
    governor.hold(Budget("binance_spot", 10, 1, 1), 7_200, "HTTP 418: banned")
    governor.close()
    (about,) = seen(instance).values()
    assert "HTTP 418: banned" in about
    assert seen(instance, dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)) == {}


def test_late_instruments_gaps_and_low_scores_are_told_of(home: Client, instance: dg.DagsterInstance) -> None:
    ask(home, BARS, BTC, "1m", NOW)
    rows = {
        "gaps": {
            "gap_start": NOW - DAY, "gap_end": NOW - DAY + 5 * MINUTE, "missing": 5, "verdict": "unknown",
            "attempts": 3, "first_seen": NOW - DAY, "is_open": True, "version": 1,
        },
        "coverage": {"day": NOW.date() - DAY, "is_settled": True, "score": 71.26, "computed_at": NOW},
    }  # fmt: skip
    for table, values in rows.items():
        row = {"dataset": "bars", "instrument_id": BTC.instrument_id, "venue": BTC.venue, "symbol": BTC.symbol}
        row |= {"interval": "1m", **values}
        home.insert(f"analytics.{table}", [list(row.values())], column_names=list(row))
    # One that looks like our own doing is told of before healing has asked.
    gap = rows["gaps"] | {"verdict": "suspicious", "attempts": 0, "gap_start": NOW - 2 * DAY, "gap_end": NOW - DAY}
    gap |= {"dataset": "bars", "instrument_id": ETH.instrument_id, "venue": ETH.venue, "symbol": ETH.symbol}
    gap |= {"interval": "1m", "next_attempt_at": NOW}
    home.insert("analytics.gaps", [list(gap.values())], column_names=list(gap))
    assert seen(instance, NOW + 30 * MINUTE) == {
        "gaps|bars binance_spot.ETH-USDT": "5 missing in 1 gaps from 2026-02-28 12:00 on (suspicious)",
        "stale_instruments|bars binance_spot.BTC-USDT": "1m not asked, or no answer",
        "gaps|bars binance_spot.BTC-USDT": "5 missing in 1 gaps from 2026-03-01 12:00 on (unknown)",
        "low_scores|bars binance_spot.BTC-USDT 1m": "1 days below 90, the worst 71.3 on 2026-03-01",
    }


def test_a_warehouse_that_is_down_is_told_of_and_ends_nothing(
    home: Client, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"gaps|a": {"since": NOW.isoformat(), "about": ""}, "failed_runs|b": {"since": NOW.isoformat(), "about": ""}}
    monkeypatch.setenv("CLICKHOUSE_URL", "http://127.0.0.1:9")
    its = news(told, look(instance, settings_from_environment(), UNIVERSE, NOW))
    assert [t.kind for t in its.new] == ["warehouse"]
    assert "WarehouseDown" in its.new[0].about
    assert [kind for kind, _, _ in its.over] == ["failed_runs"]


def test_every_kind_has_words() -> None:
    for kind in KINDS:
        said = messages.text(news({}, Look(NOW, (trouble("x", kind),))), NOW, None)
        assert KINDS[kind].title in said
        assert KINDS[kind].to_do in said
        told = {f"{kind}|x": {"since": NOW.isoformat(), "about": ""}}
        assert KINDS[kind].ended in messages.text(news(told, Look(NOW, ())), NOW, None)


# The sensor.


def tick(instance: dg.DagsterInstance, cursor: str | None) -> tuple[str, str | None]:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        said = send_alerts(UNIVERSE)(context)
        assert isinstance(said, dg.SkipReason)
        return said.skip_message, context.cursor


def test_the_sensor_is_silent_and_opens_nothing_where_nobody_is_to_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    monkeypatch.setenv("ALPHAFORGE_HOME", str(tmp_path / "untouched"))
    assert tick(instance, None) == ("ALPHAFORGE_ALERTS names nobody to tell", None)
    assert not (tmp_path / "untouched").exists()


def test_the_sensor_tells_once_survives_a_restart_and_tells_that_it_is_over(
    home: Client, receiver: Receiver, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHAFORGE_ALERTS", receiver.url)
    fail(home, "VenueRefused: HTTP 403", dt.datetime.now(dt.UTC))
    receiver.status = 500
    said, cursor = tick(instance, None)
    assert "NOT told, again next time: HTTP 500 ok" in said
    receiver.status = 200
    said, cursor = tick(instance, cursor)
    assert "was told: HTTP 200 ok" in said
    said, cursor = tick(instance, cursor)  # each tick is a new process's: all it knows is the cursor
    assert "nothing new" in said
    assert len(receiver.texts) == 1
    assert "Venues that ban, refuse or do not answer (1)" in receiver.texts[0]
    ask(home, BARS, BTC, "1m", dt.datetime.now(dt.UTC), dt.datetime.now(dt.UTC))
    said, cursor = tick(instance, cursor)
    assert "✓ Venues that ban, refuse or do not answer: binance_spot bars" in receiver.texts[1]
    assert SECRET not in said + str(cursor)
    assert all("venues|" not in key for known in read_memory(cursor).told.values() for key in known)


def test_the_command_tests_and_shows(home: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = CliRunner().invoke(main, ["alerts", "--test"])
    assert (ended.exit_code, receiver.got) == (2, [])
    monkeypatch.setenv("ALPHAFORGE_ALERTS", receiver.url)
    ended = CliRunner().invoke(main, ["alerts", "--test"])
    assert ended.exit_code == 0
    assert "this is a test message" in receiver.texts[0]
    receiver.status = 404
    assert CliRunner().invoke(main, ["alerts", "--test"]).exit_code == 1
    fail(home, "VenueRefused: HTTP 403", dt.datetime.now(dt.UTC))
    ended = CliRunner().invoke(main, ["alerts", "--json"])
    shown = json.loads(ended.output)
    assert [(t["kind"], t["told"]) for t in shown["troubles"]] == [("venues", [])]
    assert SECRET not in ended.output


def test_who_was_told_is_known_in_a_shell_that_names_nobody(
    home: Client, receiver: Receiver, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(home, "VenueRefused: HTTP 403", dt.datetime.now(dt.UTC))
    assert "nobody that is known of here" in CliRunner().invoke(main, ["alerts"]).output
    monkeypatch.setenv("ALPHAFORGE_ALERTS", receiver.url)
    _, cursor = tick(instance, None)
    known = read_memory(cursor).told
    monkeypatch.delenv("ALPHAFORGE_ALERTS")
    monkeypatch.setattr("alphaforge_assets.alerts.sensor.told_so_far", lambda dagster: known)
    shown = " ".join(CliRunner().invoke(main, ["alerts"]).output.split())
    assert "told 1 of 1" in shown
    assert "one named where `alphaforge up` runs" in shown
    assert "nobody" not in shown
    assert SECRET not in shown
