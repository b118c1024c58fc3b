"""`ptb-mongo` shows, counts, checks and repairs a bot's jobs, whatever a stranger has written."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, MinKey, Regex, Timestamp
from job_bots import now

from ptb_mongo.cli import show_jobs
from ptb_mongo.scopes.job_form import FIELDS


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


def test_of_very_many_show_jobs_lists_those_that_are_due_first(run, database, monkeypatch):
    monkeypatch.setattr(show_jobs, "_MOST", 5)
    one = {"callback": "bot:alarm"}
    database.jobs.insert_many([{**one, "_id": f"job-{n:02}", "next_run": now(minutes=50 - n)} for n in range(40)])

    result = run("show", "jobs", env={"COLUMNS": "200"})

    assert result.exit_code == 0, result.output
    assert re.findall(r"job-\d\d", result.output) == ["job-39", "job-38", "job-37", "job-36", "job-35"]
    assert "There are 38 more" in result.output
    assert len(run("show", "jobs", "--json").stdout.splitlines()) == 43


# -- whatever a stranger has written -----------------------------------------------------------------------

HOSTILE = "[/red][link=x]\x1b[2J\x1b]0;t\x07\x9b31m\r\nFORGED\u202e\u2066"


def nested(depth: int) -> Any:
    value: Any = HOSTILE
    for _ in range(depth):
        value = {HOSTILE: value}
    return value


ODD: list[Any] = [
    *(HOSTILE, "x" * 100_000, "", -1, 0, 2**62, 1e300, float("nan"), float("inf"), True, None, [HOSTILE] * 5, {}),
    *(
        {HOSTILE: HOSTILE},
        nested(100),
        Code("while(1);", {"a": HOSTILE}),
        Regex("(a+)+$"),
        MinKey(),
        Binary(b"\x1b[2J"),
    ),
    *(
        Decimal128("1E+6000"),
        DatetimeMS(2**62),
        DatetimeMS(-(2**62)),
        Timestamp(1, 1),
        {"_py": "object", "cls": HOSTILE},
    ),
]
FIELDS_OF_ALL = [*FIELDS, "rev", "updated_at", "buried", HOSTILE]
FIELDS_OF_RULES = [
    "kind",
    "at",
    "interval",
    "first",
    "last",
    "jitter",
    "time",
    "days",
    "day",
    "minute",
    "zone",
    HOSTILE,
]


def plant(database: Any, every: int = 1) -> int:
    good = {"callback": "bot:alarm", "next_run": now(hours=1), "data": HOSTILE}
    rules = [{"kind": "repeating", "interval": 5}, {"kind": "daily", "time": "08:00:00"}, {"kind": "cron"}]
    jobs = [{**good, name: odd} for name in FIELDS_OF_ALL for odd in ODD]
    jobs += [{**good, "trigger": {**rule, name: odd}} for rule in rules for name in FIELDS_OF_RULES for odd in ODD]
    named = [{"_id": f"{number}{HOSTILE}", **job} for number, job in enumerate(jobs)][::every]
    named += [{**good, "_id": odd} for odd in ODD if type(odd) not in {list, Regex}]
    database.jobs.insert_many(named)
    return len(named)


def harmless(text: str) -> bool:
    odd = {character for character in text if unicodedata.category(character) in {"Cc", "Cf", "Cs"}} - {"\n"}
    return not odd and "\nFORGED" not in text


@pytest.mark.parametrize(
    "words", [("show", "jobs"), ("show", "jobs", "--json"), ("check",), ("check", "--json"), ("stats",)], ids=str
)
def test_what_a_stranger_has_planted_does_nothing_to_the_terminal(run, database, words):
    plant(database)

    result = run(*words, env={"COLUMNS": "250"})

    assert result.exit_code in {0, 1}
    assert result.output
    assert harmless(result.output)


def test_what_a_stranger_has_planted_is_moved_aside_and_what_is_left_is_good(run, database):
    planted = plant(database, every=13)

    result = run("repair", "--yes", "--aside", "--untrusted", env={"COLUMNS": "250"})

    assert result.exit_code == 0, result.output[-500:]
    assert harmless(result.output)
    assert database.jobs.count_documents({}) + database.jobs_quarantine.count_documents({}) == 3 + planted
    assert run("check").exit_code == 0
    assert run("show", "jobs").exit_code == 0


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
