"""The Dagster UI after command-line runs, in a real browser."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from orchestration.home import PROJECT_ROOT, Home, Settings
from orchestration.simulator.bundled import SAMPLE
from tests.dagster_ui import Dev, dagster_ui

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 120_000
# Backfilled up to the 27th, and published with the midnights that end the 28th and the 29th.
DAYS = [f"2024-06-{day}" for day in range(20, 30)]

pytestmark = pytest.mark.long


def traithouse(home: Home, *arguments: str) -> None:
    command = [sys.executable, "-m", "orchestration", *arguments, "--home", str(home.root)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """The UI of a home that the command line has loaded, refreshed twice and backfilled."""
    folder = tmp_path_factory.mktemp("dagster")
    home = Home(Settings(home=folder / "home"))
    mapping = [f"--map={field}={column}" for field, column in SAMPLE.mapping.items()]
    traithouse(home, "load", str(SAMPLE.path), "--source", SAMPLE.source, *mapping)
    traithouse(home, "refresh", "--as-of", "2024-06-28")
    traithouse(home, "backfill", "--from", "2024-06-20", "--to", "2024-06-27", "--trait", "dormant")
    traithouse(home, "refresh")
    with dagster_ui(home, folder / "dev.log") as started:
        yield started


@contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    assert CHROMIUM.exists(), "There is no /usr/bin/chromium: install the Debian package `chromium`."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            str(folder / "profile"),
            executable_path=str(CHROMIUM),
            args=ARGUMENTS,
            viewport={"width": 1500, "height": 1000},
        )
        try:
            page = browser.pages[0]
            page.set_default_timeout(PATIENCE_MS)
            yield page
        finally:
            browser.close()


@pytest.fixture(scope="module")
def page(dev: Dev, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    expect.set_options(timeout=PATIENCE_MS)
    with browsing(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def test_the_lineage_shows_every_stage(dev: Dev, page: Page, tmp_path: Path) -> None:
    page.goto(f"{dev.url}/asset-groups")
    for stage in ("raw", "events", "features", "candidates", "traits", "history", "serving", "syncs"):
        expect(page.get_by_text(stage, exact=True).first).to_be_visible()
    page.screenshot(path=tmp_path / "lineage.png")


def test_a_trait_has_its_materializations_and_their_numbers(dev: Dev, page: Page, tmp_path: Path) -> None:
    page.goto(f"{dev.url}/assets/traits/dormant?view=events")
    expect(page.get_by_text("Reported", exact=True).first).to_be_visible()
    expect(page.get_by_text("prevalence", exact=True).first).to_be_visible()
    page.screenshot(path=tmp_path / "events.png")


@pytest.mark.parametrize("asset", ["traits/dormant", "history/dormant"])
def test_members_and_prevalence_are_plotted(dev: Dev, page: Page, tmp_path: Path, asset: str) -> None:
    page.goto(f"{dev.url}/assets/{asset}?view=overview")
    page.get_by_text("Plots", exact=True).first.click()
    for number in ("members", "prevalence", "changes"):
        expect(page.get_by_text(number, exact=True).first).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    page.get_by_text("prevalence", exact=True).first.scroll_into_view_if_needed()
    # The line is drawn in one second.
    page.wait_for_timeout(2_000)
    page.screenshot(path=tmp_path / "plots.png")


def test_a_candidate_has_the_checks_of_its_audit(dev: Dev, page: Page, tmp_path: Path) -> None:
    page.goto(f"{dev.url}/assets/candidates/dormant?view=checks")
    expect(page.get_by_text("Candidate audit of Dormant").first).to_be_visible()
    expect(page.get_by_text("Succeeded", exact=True).first).to_be_visible()
    expect(page.get_by_text("Not Evaluated", exact=True)).to_have_count(0)
    page.screenshot(path=tmp_path / "checks.png")


def test_backfilled_and_published_days_are_partitions(dev: Dev, page: Page, tmp_path: Path) -> None:
    page.goto(f"{dev.url}/assets/history/dormant?view=partitions")
    expect(page.get_by_text(f"Materialized ({len(DAYS)})")).to_be_visible()
    for day in (DAYS[0], DAYS[-1]):
        expect(page.get_by_text(day, exact=True).first).to_be_visible()
    page.screenshot(path=tmp_path / "days.png")
