"""Status while a refresh runs."""

import json
import subprocess
import sys
import time

from orchestration.project import PROJECT_ROOT, House
from orchestration.status import house_status


def test_status_answers_while_a_refresh_runs(sample_house: House) -> None:
    """The refresh is a real one, in another process."""
    command = [
        sys.executable,
        "-m",
        "orchestration",
        "refresh",
        "--as-of",
        "2024-07-01",
        "--home",
        str(sample_house.root),
    ]
    seen = []
    with subprocess.Popen(
        [*command, "--json"], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while process.poll() is None:
            status = house_status(sample_house)
            seen.append((status["running"] or {}).get("stage"))
            assert status["served_build"] is not None
            assert {"at_risk", "power_user"} <= {trait["trait"] for trait in status["traits"]}
            time.sleep(0.1)
        output, _ = process.communicate()
    assert process.returncode == 0
    assert json.loads(output)["build_id"] == "000002-20240702T000000Z"
    assert {"transforming", "publishing"} <= set(seen)
    after = house_status(sample_house)
    assert (after["busy"], after["running"], after["served_build"]) == (None, None, "000002-20240702T000000Z")
