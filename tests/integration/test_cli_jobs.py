"""`ptb-mongo` and the jobs of a bot: shown, counted, checked and mended, whatever a stranger has written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from job_bots import now


@pytest.fixture(autouse=True)
def _stored(database: Any) -> None:
    daily = {"kind": "daily", "time": "08:30:00", "days": ["mon", "fri"], "zone": "Europe/Berlin"}
    database.jobs.insert_many(
        [
            {"_id": "later", "callback": "bot:report", "trigger": daily, "next_run": now(hours=9), "chat_id": -100},
            {"_id": "sooner", "callback": "bot:alarm", "data": "tea", "user_id": 42, "next_run": now(hours=1)},
            {
                "_id": "paused",
                "callback": "bot:alarm",
                "trigger": {"kind": "repeating", "interval": 90},
                "next_run": None,
            },
        ]
    )


def test_show_jobs_lists_them_in_the_order_in_which_they_are_due(run):
    result = run("show", "jobs", env={"COLUMNS": "200"})

    assert result.exit_code == 0, result.output
    words = ["sooner", "later", "paused", "bot:report", "daily 08:30:00 mon fri", "every 0:01:30", "-100", "42", "tea"]
    assert all(word in result.output for word in words)
    assert result.output.index("sooner") < result.output.index("later") < result.output.rindex("paused")


def test_show_jobs_gives_them_as_they_are_stored(run):
    lines = [json.loads(line) for line in run("show", "jobs", "--json").stdout.splitlines()]

    assert {one["_id"]: one["error"] for one in lines} == {"later": None, "sooner": None, "paused": None}


def test_without_jobs_it_says_so(run, database):
    database.jobs.delete_many({})

    result = run("show", "jobs")
    assert result.exit_code == 1
    assert "No job is stored." in result.output


def test_stats_and_check_count_jobs(run):
    assert json.loads(run("stats", "--json").stdout)["storage"]["jobs"]["documents"] == 3
    assert json.loads(run("check", "--json").stdout)["documents"]["jobs"] == 3


def test_check_names_what_is_no_job_and_repair_moves_it_aside(run, database):
    database.jobs.insert_one({"_id": "bad\x1b[31m", "callback": "bot:alarm", "next_run": "noon"})

    for command in (("check",), ("show", "jobs"), ("stats",)):
        result = run(*command)
        assert "\x1b[31m" not in result.output
    assert "next_run" in run("check").output
    result = run("repair", "--yes", "--aside")
    assert result.exit_code == 0, result.output
    assert database.jobs.count_documents({}) == 3
    assert database.jobs_quarantine.count_documents({}) == 1


def test_in_a_narrow_terminal_each_job_is_read_line_by_line(run):
    lines = run("show", "jobs", env={"COLUMNS": "60"}).output.splitlines()

    assert max(map(len, map(str.rstrip, lines))) <= 60
    shown = "\n".join(" ".join(line.split()) for line in lines)
    for line in ("callback bot:report", "rule daily 08:30:00 mon fri", "chat -100", "_id sooner", "data 'tea'"):
        assert f"\n{line}" in shown, shown
