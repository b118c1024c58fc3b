"""What an import has done or would do: a table, and a list of problems."""

from __future__ import annotations

from typing import Any, Final

from ptb_mongo.cli.common import count, modules_of, problem_json, show_problems
from ptb_mongo.cli.terminal import Console, Text, open_table
from ptb_mongo.migration.importing import Report
from ptb_mongo.migration.inspection import is_gone, is_untrusted

__all__ = ["report_json", "show_report"]

_NONE: Final = Text("-", "dim")
_TITLES: Final = {"found": "in source", "same": "there", "different": "newer there"}
_STYLES: Final = {
    "found": "",
    "new": "green",
    "same": "dim",
    "different": "yellow",
    "unreadable": "red",
    "refused": "bold red",
    "written": "bold green",
}
_NOTES: Final = {
    "different": "the database has another version, which is left as it is; --overwrite would replace it",
    "unreadable": "the database has a version that cannot be read, which is left as it is; see ptb-mongo repair",
    "refused": "cannot be stored, for the reasons that follow",
}
_OVERWRITTEN: Final = "the database had another version"


def report_json(report: Report, *, apply: bool) -> dict[str, Any]:
    """A report in JSON, for scripts."""
    names = ("found", "new", "same", "different", "unreadable", "refused", "written")
    return {
        "applied": apply,
        "kinds": {kind: {name: getattr(tally, name) for name in names} for kind, tally in report.tallies.items()},
        "problems": [problem_json(problem) for problem in report.problems],
        "refused": report.refused,
        "left_out": [problem_json(problem) for problem in report.left_out],
    }


def show_report(out: Console, report: Report, *, apply: bool, overwrite: bool) -> None:
    """Prints a report for people."""
    tallies = {kind: tally for kind, tally in report.tallies.items() if tally.found}
    columns = [
        name
        for name in _STYLES
        if name in {"found", "new", "same"}
        or (name == "written" and apply)
        or any(getattr(tally, name) for tally in tallies.values())
    ]
    table = open_table(out)
    table.add_column("")
    for name in columns:
        table.add_column(_TITLES.get(name, name), justify="right")
    for kind, tally in tallies.items():
        numbers = {name: getattr(tally, name) for name in columns}
        cells = [Text(f"{number:,}", _STYLES[name]) if number else _NONE for name, number in numbers.items()]
        table.add_row(kind, *cells)
    out.print(table if tallies else "There is nothing to import.")
    for name in columns:
        if name in _NOTES:
            note = _OVERWRITTEN if name == "different" and overwrite else _NOTES[name]
            out.print(Text.assemble((f"{_TITLES.get(name, name)}: ", _STYLES[name]), (note, "dim")), soft_wrap=True)
    show_problems(out, report.problems, "Cannot be stored")
    show_problems(out, report.left_out, "Left out")
    _show_refused(out, report)
    new = sum(tally.new + (tally.different if overwrite else 0) for tally in tallies.values())
    out.print()
    if apply:
        written = sum(tally.written for tally in tallies.values())
        out.print(Text(f"{count(written, 'document')} written.", "bold green"))
    elif new:
        out.print(Text.assemble(("Nothing was written. ", "bold"), f"--apply writes {count(new, 'document')}."))
    else:
        out.print(Text("There is nothing to write.", "bold"))


def _show_refused(out: Console, report: Report) -> None:
    if not report.refused:
        return
    out.print()
    out.print(Text("Classes and functions that were not loaded", "bold red"))
    helped = {name for name, reason in report.refused.items() if is_untrusted(reason) and not is_gone(reason)}
    modules = modules_of(helped)
    for name, reason in sorted(report.refused.items()):
        out.print(Text.assemble(("  ● ", "red"), name))
        if name not in helped:
            out.print(Text(f"      {reason}", "dim"), soft_wrap=True)
    if modules:
        options = " ".join(f"--trust {module}" for module in modules)
        out.print(Text.assemble("    for those of yours, run this again with ", (options, "bold cyan")), soft_wrap=True)
