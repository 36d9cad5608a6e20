"""What a publish does around its lock."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from orchestration.home import Home, Settings
from orchestration.pipeline import refresh
from orchestration.publishing.publish import PublishReport
from orchestration.transform.dbt import Project


def test_a_slow_alert_hook_holds_neither_lease_nor_lock(
    sample_home: Home, sample_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            other = Home(Settings(home=sample_home.root))
            holders.extend([other.busy(), other.leased()])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    publish = refresh.publish_build

    def withholding(project: Project, *, tell: bool, **given: object) -> PublishReport:
        report = publish(project, tell=tell)
        monkeypatch.setattr(PublishReport, "withheld", property(lambda self: [report.traits[0]]))
        return report

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("TRAITHOUSE_ALERT_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setattr(refresh, "publish_build", withholding)
        monkeypatch.setattr(refresh, "write_and_audit", lambda project, **given: None)
        refresh.refresh(sample_project)
        server.shutdown()
    assert holders == [None, None]
    assert list(sample_home.status()["alerted"]) != []
