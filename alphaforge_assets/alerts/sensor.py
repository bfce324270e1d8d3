"""The sensor that looks and tells. It starts no run, and nothing that happens to an alert can fail one.

Its cursor holds what each receiver was told, so a restart repeats nothing and forgets nothing.
"""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict

import dagster as dg

from alphaforge_assets.alerts.messages import Memory, Told, lasting, read_memory, tell
from alphaforge_assets.alerts.troubles import look
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import Universe

NAME = "send_alerts"
LOOK_EVERY_S = 60


def send_alerts(universe: Universe) -> dg.SensorDefinition:
    """Tells the receivers of ALPHAFORGE_ALERTS what went wrong and what is well again."""

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=LOOK_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the receivers of ALPHAFORGE_ALERTS of failed runs, stale assets and instruments, bans,"
        " unexplained gaps and low scores: once each, and again when it is over. Silent where nobody is named.",
    )
    def send_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        settings = settings_from_environment()
        if not settings.alerts:
            return dg.SkipReason("ALPHAFORGE_ALERTS names nobody to tell")
        memory = read_memory(context.cursor)
        now, seen = lasting(memory.seen, look(context.instance, settings, universe, dt.datetime.now(dt.UTC)))
        told, receipts = tell(settings.alerts, memory.told, now, settings.ui_url)
        context.update_cursor(json.dumps(asdict(Memory(seen, told))))
        for receipt in receipts:
            if not receipt.is_taken:
                context.log.warning(f"{receipt.webhook.shown} did not take an alert: {receipt.answer}")
        said = [
            f"{r.webhook.shown} {'was told' if r.is_taken else 'NOT told, again next time'}: {r.answer}"
            for r in receipts
        ]
        return dg.SkipReason(f"{len(now.troubles)} troubles; {'; '.join(said) or 'nothing new'}")

    return send_alerts


def told_so_far(instance: dg.DagsterInstance) -> Mapping[str, Told]:
    """What each receiver knows, by `messages.identity`, as the sensor last wrote it down."""
    for state in instance.all_instigator_state():
        data = state.instigator_data
        if state.instigator_name == NAME and data is not None:
            return read_memory(getattr(data, "cursor", None)).told
    return {}
