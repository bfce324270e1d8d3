"""The unit file with which systemd runs `alphaforge up`, made for this installation and home.

What its lines mean: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5).
"""

import getpass
import shlex
import sys
from pathlib import Path

from alphaforge_assets.settings import Settings

# Not among the lines: MemoryDenyWriteExecute, for ClickHouse compiles expressions while it runs, and ProtectProc, for a
# run whose process is gone is told by /proc.
_UNIT = """\
# AlphaForge, run by systemd: printed by `alphaforge up --systemd-unit`.
# Install it:
#   alphaforge up --systemd-unit | sudo tee /etc/systemd/system/alphaforge.service
#   mkdir -p {home} {state}
#   sudo systemctl daemon-reload && sudo systemctl enable --now alphaforge
# Settings with secrets in them (ALPHAFORGE_ALERTS, CLICKHOUSE_URL) belong in the EnvironmentFile, mode 0600.

[Unit]
Description=AlphaForge: crypto market data into ClickHouse
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=3600
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
User={user}
WorkingDirectory={folder}
Environment=ALPHAFORGE_HOME={home}
EnvironmentFile=-/etc/alphaforge.env
ExecStart={command}
# `up` starts again what dies; this is for `up` itself. What was asked for wrongly is not tried again.
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=2
TimeoutStartSec=600
TimeoutStopSec=90
KillMode=mixed
UMask=0077

NoNewPrivileges=yes
CapabilityBoundingSet=
PrivateDevices=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={home} {state}
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def unit(settings: Settings, port: int, venues: str | None, *, live: bool | None) -> str:
    """The text of the file. Nothing secret is in it, whatever the environment holds."""
    script = Path(sys.executable).with_name("alphaforge")
    words = [str(script), "up", "--port", str(port), "--log-format", "json"]
    words += ["--venues", venues] if venues else []
    words += [] if live is None else ["--live" if live else "--no-live"]
    return _UNIT.format(
        command=shlex.join(words).replace("%", "%%"),
        user=getpass.getuser(),
        home=_quoted(settings.home),
        state=_quoted(settings.governor_file.parent),
        folder=_quoted(settings.home.parent),
    )


def _quoted(path: Path) -> str:
    """A path in a unit, where a percent sign begins a specifier and a blank ends a word."""
    return str(path).replace("%", "%%").replace(" ", "\\x20")
