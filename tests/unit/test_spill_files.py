"""Files of unsaved data are safe from what others do in their folder, and from any name that a database may have.

A folder may be a stranger's, too: links, pipes, folders and files that were planted, cut off or made huge are neither
followed nor waited for nor believed. A file's name holds names that MongoDB allows, and file systems do not.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest

from ptb_mongo.errors import ConfigurationError, DecodeError
from ptb_mongo.sync import spill
from ptb_mongo.sync.private_folder import prepare

NOBODY = 65534
DOCUMENT = spill.Spilled("user_data", 1, None, bson.encode({"data": {"n": 1}}), {}, None, [])
NAMES = [
    ("bot", ""),
    ("bot", "ada_"),
    ("bot", "bots/ada_"),
    ("bot", "../../etc/"),
    ("bot", "a-b"),
    ("bot-a", "b"),
    ("bot-a-b", ""),
    ("bot", "a%2Db"),
    ("bot", "x" * 200),
    ("bot", "x" * 199 + "y"),
    ("b" * 63, "/" * 150),
    ("bot", "*?[a]"),
    ("bot", "Ada_"),
    ("bot", "\n\x1b[31m"),
    ("bot", "шоп_"),
    ("bot", "\ud800"),
    ("bot", "."),
    ("bot", " "),
]


def open_to_all() -> Path:
    """A folder for temporary files that everybody can reach: that of root may be root's alone."""
    for folder in map(Path, (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")):
        if all(one.is_dir() and one.stat().st_mode & stat.S_IXOTH for one in (folder, *folder.parents)):
            return folder
    pytest.skip("no folder for temporary files can be reached without root's rights")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of this process, which has no right to others' files: root may do everything."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=open_to_all()) as name:
        os.chown(name, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def found(folder: Path, database: str = "bot", prefix: str = "") -> list[spill.Spilled]:
    return [one for file in spill.claim(folder, database, prefix) for one in file.documents()]


def unusable(folder: Path) -> dict[str, str]:
    """The files that are named and left alone, and why."""
    named: dict[str, str] = {}
    for file in spill.claim(folder, "bot", "", lambda path, reason: named.update({path.name: reason})):
        try:
            list(file.documents())
        except DecodeError as error:
            named[file.path.name] = str(error)
    return named


def planted(folder: Path, content: bytes) -> Path:
    path = folder / "ptb_mongo-bot--planted.unsaved"
    path.write_bytes(content)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("database", "prefix"), [one for one in NAMES if one[1] != "\ud800"], ids=ascii)
def test_a_file_of_any_name_is_found_again_by_its_own_bot_alone(folder: Path, database: str, prefix: str) -> None:
    path = spill.write(folder, database, prefix, "a", [DOCUMENT])

    assert path.parent == folder
    assert found(folder, database, prefix) == [DOCUMENT]
    for other in NAMES:
        if other != (database, prefix):
            assert found(folder, *other) == []


def test_files_of_all_names_lie_side_by_side(folder: Path) -> None:
    names = [one for one in NAMES if one[1] != "\ud800"]
    for number, (database, prefix) in enumerate(names):
        spill.write(folder, database, prefix, "a", [spill.Spilled("user_data", number, None, None, {}, None, [])])

    for number, (database, prefix) in enumerate(names):
        assert [one.id for one in found(folder, database, prefix)] == [number]


# -- the folder --------------------------------------------------------------------------------------------


def test_folders_that_are_made_and_files_are_their_owners_alone(folder: Path) -> None:
    old = os.umask(0)
    try:
        prepare(folder / "made" / "inside")
        path = spill.write(folder / "also" / "made", "bot", "", "a", [DOCUMENT])
    finally:
        os.umask(old)

    assert [mode(folder / one) for one in ("made", "made/inside", "also", "also/made")] == [0o700] * 4
    assert mode(path) == 0o600


def test_trying_a_folder_leaves_nothing_in_it(folder: Path) -> None:
    prepare(folder)

    assert list(folder.iterdir()) == []


def test_the_mode_of_a_folder_that_was_there_stays(folder: Path) -> None:
    folder.chmod(0o755)
    prepare(folder)

    assert mode(folder) == 0o755


def a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file"


def below_a_file(folder: Path) -> Path:
    return a_file(folder) / "below"


def not_writable(folder: Path) -> Path:
    (folder / "closed").mkdir(0o500)
    return folder / "closed"


def below_one_not_writable(folder: Path) -> Path:
    return not_writable(folder) / "below"


def not_searchable(folder: Path) -> Path:
    (folder / "hidden").mkdir(0o000)
    return folder / "hidden" / "below"


def a_link(folder: Path) -> Path:
    (folder / "elsewhere").mkdir()
    (folder / "link").symlink_to(folder / "elsewhere")
    return folder / "link"


def a_link_to_nothing(folder: Path) -> Path:
    (folder / "link").symlink_to(folder / "nothing")
    return folder / "link"


def a_name_with_nul(folder: Path) -> Path:
    return folder / "a\0b"


def a_name_too_long(folder: Path) -> Path:
    return folder / ("x" * 300)


UNUSABLE = [
    a_file,
    below_a_file,
    not_writable,
    below_one_not_writable,
    not_searchable,
    a_link,
    a_link_to_nothing,
    a_name_with_nul,
    a_name_too_long,
]


@pytest.mark.parametrize("make", UNUSABLE)
def test_a_folder_that_cannot_be_used_is_refused_with_what_to_do(folder: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"spill_dir=.* cannot be used \(.+\): name a folder that"):
        prepare(make(folder))


@pytest.mark.parametrize("make", [one for one in UNUSABLE if one is not a_name_with_nul])
def test_a_folder_that_has_become_unusable_is_an_error_of_the_system(
    folder: Path, make: Callable[[Path], Path]
) -> None:
    with pytest.raises(OSError, match=r"."):
        spill.write(make(folder), "bot", "", "a", [DOCUMENT])


@pytest.mark.parametrize("make", [one for one in UNUSABLE if one is not a_name_with_nul])
def test_nothing_is_found_in_a_folder_that_cannot_be_used(folder: Path, make: Callable[[Path], Path]) -> None:
    assert found(make(folder)) == []


def test_a_folder_that_lies_behind_a_link_may_be_used(folder: Path) -> None:
    prepare(a_link(folder) / "inside")

    assert found(folder / "link" / "inside") == []


# -- what others have planted ------------------------------------------------------------------------------


def test_a_link_in_the_place_of_the_file_is_not_written_through(folder: Path) -> None:
    victim = a_file(folder)
    link = folder / "ptb_mongo-bot--a.unsaved"
    link.symlink_to(victim)

    path = spill.write(folder, "bot", "", "a", [DOCUMENT])

    assert (victim.read_text(), link.is_symlink(), path.is_symlink()) == ("", True, False)
    assert found(folder) == [DOCUMENT]


def test_a_folder_or_file_in_the_place_of_the_file_stays(folder: Path) -> None:
    (folder / "ptb_mongo-bot--a.unsaved").mkdir()
    (folder / "ptb_mongo-bot--b.unsaved").write_bytes(b"x")

    spill.write(folder, "bot", "", "a", [DOCUMENT])
    spill.write(folder, "bot", "", "b", [DOCUMENT])

    assert (folder / "ptb_mongo-bot--b.unsaved").read_bytes() == b"x"
    assert len(list(folder.iterdir())) == 4


def test_a_link_in_the_place_of_the_unfinished_file_is_not_written_through(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = a_file(folder)
    names = iter(["guessed", "guessed", "free"])
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: names)
    (folder / "ptb_mongo-bot--guessed.partial").symlink_to(victim)

    spill.write(folder, "bot", "", "a", [DOCUMENT])

    assert victim.read_text() == ""
    assert found(folder) == [DOCUMENT]


def test_a_file_that_could_not_be_finished_leaves_nothing(folder: Path) -> None:
    def documents() -> Iterator[spill.Spilled]:
        yield DOCUMENT
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        spill.write(folder, "bot", "", "a", documents())

    assert list(folder.iterdir()) == []


def header(**changed: Any) -> bytes:
    return bson.encode({"version": 1, "database": "bot", "collection_prefix": "", **changed})


def record(**changed: Any) -> bytes:
    fields = {"collection": "user_data", "id": 1, "base": None, "wanted": bson.encode({}), "sent": {}}
    return header() + bson.encode({**fields, "rev": None, "revs": [], **changed})


DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"x",
    "text": b"not BSON at all",
    "zeros": bytes(1000),
    "cut off in a length": record() + b"\x00\x00",
    "cut off in a document": record()[:-3],
    "a negative length": record() + b"\xff\xff\xff\xff12345",
    "a length beyond the end": record() + b"\xff\xff\xff\x7f12345",
    "no version": bson.encode({"database": "bot", "collection_prefix": ""}),
    "another version": header(version=2),
    "a version without end": header(version="x" * 100_000),
    "another database": header(database="other"),
    "another prefix": header(collection_prefix="x"),
    "a damaged document": header() + b"\x0c\x00\x00\x00\x02a\x00\xff\xff\xff\xff\x00",
    "more fields": record(other=1),
    "fewer fields": header() + bson.encode({"collection": "user_data"}),
    "a number for a collection": record(collection=1),
    "a number for a base": record(base=1),
    "text for a version": record(wanted="x"),
    "a damaged version": record(wanted=b"x"),
    "a damaged version that was sent": record(sent={"a": b"x"}),
    "a list of what was sent": record(sent=[1]),
    "a number for what was sent": record(sent={"a": 1}),
    "a number for revs": record(revs=1),
    "a number in revs": record(revs=[1]),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_or_foreign_file_is_named_with_the_reason_and_stays(folder: Path, case: str) -> None:
    path = planted(folder, DAMAGED[case])

    named = unusable(folder)

    assert list(named) == [path.name]
    assert 0 < len(named[path.name]) < 300
    assert path.read_bytes() == DAMAGED[case]


def test_the_form_that_the_damaged_ones_differ_from_is_right(folder: Path) -> None:
    planted(folder, record())

    assert unusable(folder) == {}
    assert [one.id for one in found(folder)] == [1]


def test_a_file_larger_than_the_memory_is_refused_at_once(folder: Path) -> None:
    path = planted(folder, header())
    with path.open("r+b") as file:
        file.truncate(2**42)
    assert unusable(folder) == {path.name: "it is damaged, or truncated"}

    with path.open("r+b") as file:
        file.write(header() + b"\xff\xff\xff\x7f")
    assert unusable(folder) == {path.name: "it is damaged, or truncated"}


def test_what_is_no_file_is_neither_opened_nor_waited_for(folder: Path) -> None:
    (folder / "ptb_mongo-bot--folder.unsaved").mkdir()
    os.mkfifo(folder / "ptb_mongo-bot--pipe.unsaved")
    (folder / "ptb_mongo-bot--link.unsaved").symlink_to(spill.write(folder, "other", "", "a", [DOCUMENT]))
    (folder / "ptb_mongo-bot--nowhere.unsaved").symlink_to(folder / "nowhere")

    assert unusable(folder) == {
        f"ptb_mongo-bot--{name}.unsaved": "it is not a file" for name in ("folder", "pipe", "link", "nowhere")
    }


def test_a_link_that_takes_a_files_place_in_the_last_moment_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = planted(folder, record()).rename(folder / "elsewhere")
    regular = target.lstat()
    (folder / "ptb_mongo-bot--link.unsaved").symlink_to(target)
    monkeypatch.setattr(Path, "lstat", lambda _: regular)

    (reason,) = unusable(folder).values()

    assert "symbolic link" in reason


def test_a_file_without_permission_to_read_is_named(folder: Path) -> None:
    path = planted(folder, record())
    path.chmod(0o000)

    assert unusable(folder) == {path.name: "Permission denied"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_a_file_of_another_user_is_not_believed(tmp_path: Path) -> None:
    path = planted(tmp_path, record())
    os.chown(path, NOBODY, NOBODY)

    (reason,) = unusable(tmp_path).values()

    assert f"belongs to another user ({NOBODY})" in reason


def test_where_all_files_belong_to_somebody_else_ours_are_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(folder, record())
    monkeypatch.setattr(os, "geteuid", lambda: 4711)  # as on a network file system that maps all users to one

    assert unusable(folder) == {}


def test_a_file_system_without_locks_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def no_locks(*_: Any) -> None:
        raise OSError(37, "No locks available")

    path = planted(folder, record())
    monkeypatch.setattr(fcntl, "flock", no_locks)

    assert unusable(folder) == {path.name: "No locks available"}


def test_others_files_in_the_same_folder_are_not_named(folder: Path) -> None:
    for name in ("notes.unsaved", "ptb_mongo-bot.unsaved", "ptb_mongo-other--a.unsaved", "ptb_mongo-bot--a.txt"):
        (folder / name).write_text("something else")

    assert unusable(folder) == {}
