"""The embedded server, with a real `mongod`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import OperationFailure, PyMongoError

from ptb_mongo.embedded import EmbeddedMongo, EmbeddedReplicaSet, process
from ptb_mongo.embedded import server as server_module
from ptb_mongo.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Callable


def client_of(server: EmbeddedMongo | EmbeddedReplicaSet) -> MongoClient[dict[str, Any]]:
    return MongoClient(server.uri, serverSelectionTimeoutMS=10_000)


def wait_until(condition: Callable[[], bool], timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether no such process runs; one that ended and that nobody has asked for yet counts as gone."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # gone in between, or a system without /proc: the next call tells
        return False


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def server():
    with EmbeddedMongo() as server:
        yield server


def test_it_is_the_primary_of_a_replica_set_and_accepts_change_streams(server):
    with client_of(server) as client:
        # when
        hello = client.admin.command("hello")
        # then
        assert (hello["setName"], hello["primary"]) == ("rs0", server.host)
        with client["test"].watch(max_await_time_ms=5000) as stream:
            client["test"]["things"].insert_one({"_id": 1})
            assert stream.next()["documentKey"] == {"_id": 1}


def test_it_listens_on_the_loopback_interface_only(server):
    with client_of(server) as client:
        options = client.admin.command("getCmdLineOpts")["parsed"]
    assert options["net"]["bindIp"] == "127.0.0.1"
    assert options["net"]["unixDomainSocket"] == {"enabled": False}


def test_it_runs_in_a_session_of_its_own_so_that_ctrl_c_reaches_the_bot_alone(server):
    assert os.getsid(server.pid) != os.getsid(0)


def test_a_standalone_server_has_no_change_streams():
    with EmbeddedMongo(replica_set=None) as standalone, client_of(standalone) as client:
        assert "setName" not in client.admin.command("hello")
        with pytest.raises(OperationFailure, match="replica set"):
            client["test"].watch()


def test_two_servers_at_once_get_different_ports(server):
    with EmbeddedMongo() as other:
        assert other.port != server.port
        assert other.data_dir != server.data_dir
        with client_of(other) as client:
            assert client.admin.command("ping")["ok"] == 1


def test_a_temporary_folder_is_removed_at_the_end():
    # given
    with EmbeddedMongo() as server:
        pid, folder, port = server.pid, server.data_dir, server.port
        assert server.log_path.is_file()
    # then
    assert not folder.exists()
    assert not is_listening(port)
    assert is_gone(pid)


OPEN_AND_CLOSE = """
import os
from ptb_mongo.embedded import EmbeddedMongo
before = sorted(os.listdir("/dev/fd"))
with EmbeddedMongo() as server:
    server.kill()
    server.start()  # replaces the pipe of the first start
print(sorted(os.listdir("/dev/fd")) == before)
"""


def test_a_closed_server_holds_no_file_and_no_pipe():
    # when: in a process of its own, in which nothing else opens and closes files
    output = subprocess.check_output([sys.executable, "-W", "error", "-c", OPEN_AND_CLOSE], text=True)
    # then
    assert output == "True\n"


def test_data_in_a_given_folder_survives_on_another_port(tmp_path):
    folder = tmp_path / "not" / "there yet"
    # given
    with EmbeddedMongo(data_dir=folder) as first, client_of(first) as client:
        client["test"]["things"].insert_one({"_id": 1})
        old_port = first.port
    # when
    with EmbeddedMongo(data_dir=str(folder)) as second, client_of(second) as client:
        # then
        assert second.port != old_port
        assert client["test"]["things"].find_one() == {"_id": 1}
        assert client.admin.command("hello")["hosts"] == [second.host]
    assert folder.exists()


@pytest.mark.parametrize("end", [EmbeddedMongo.stop, EmbeddedMongo.kill], ids=["stop", "kill"])
def test_it_starts_again_on_the_same_port_with_the_same_data(end):
    with EmbeddedMongo() as server, client_of(server) as client:
        # given
        client["test"]["things"].insert_one({"_id": 1})
        uri, pid = server.uri, server.pid
        # when
        end(server)
        # then
        assert not server.is_running
        assert is_gone(pid)
        # when
        server.start()
        # then
        assert server.uri == uri
        assert server.pid != pid
        assert client["test"]["things"].find_one() == {"_id": 1}


def test_starting_a_running_server_changes_nothing(server):
    pid = server.pid
    server.start()
    assert server.pid == pid


def test_a_paused_server_does_not_answer_until_it_is_resumed_and_can_be_stopped():
    def answers() -> bool:
        with MongoClient(server.uri, serverSelectionTimeoutMS=300, connectTimeoutMS=300) as client:
            try:
                return client.admin.command("ping")["ok"] == 1
            except PyMongoError:
                return False

    with EmbeddedMongo() as server:
        pid = server.pid
        server.pause()
        assert not answers()
        server.resume()
        assert answers()
        server.pause()
        server.stop()
        assert is_gone(pid)


def test_a_port_that_is_taken_meanwhile_is_exchanged(server, monkeypatch):
    # given
    free_port = process.free_port()
    ports = iter([server.port, free_port])
    monkeypatch.setattr(server_module, "free_port", lambda: next(ports))
    # when
    with EmbeddedMongo() as other:
        # then
        assert other.port == free_port


def test_a_given_port_that_is_taken_is_an_error_with_what_the_log_says(server):
    # when
    with pytest.raises(EmbeddedServerError) as caught, EmbeddedMongo(port=server.port):
        pass
    # then: an excerpt, and a log that is still there to be read, without the data
    assert f"{server.host}, which is taken" in str(caught.value)
    assert "Address already in use" in str(caught.value)
    log = Path(str(caught.value).partition("From its log, ")[2].partition(":\n")[0])
    assert "Address already in use" in log.read_text()
    assert list(log.parent.iterdir()) == [log]
    log.unlink()
    log.parent.rmdir()


def test_a_folder_that_is_in_use_is_an_error_with_what_the_log_says(tmp_path):
    with EmbeddedMongo(data_dir=tmp_path) as first:
        # when
        with pytest.raises(EmbeddedServerError) as caught, EmbeddedMongo(data_dir=tmp_path):
            pass
        # then
        assert "DBPathInUse" in str(caught.value)
        assert str(tmp_path / "mongod.log") in str(caught.value)
        assert first.is_running


def test_a_server_that_is_not_ready_in_time_is_stopped_and_its_log_shown(tmp_path):
    server = EmbeddedMongo(data_dir=tmp_path, startup_timeout=0)
    # when
    with pytest.raises(EmbeddedServerError, match="was not ready after 0 s"):
        server.start()
    # then
    assert not server.is_running


CHILD = """
import os, signal, sys, time
{before}
from ptb_mongo.embedded import EmbeddedMongo
with EmbeddedMongo() as server:
    print(server.pid, server.port, server.data_dir, flush=True)
    {then}
"""


LIKE_WINDOWS = "del os.fork, signal.SIGSTOP"
"""What differs there for us. It was not run on Windows."""


def run_child(then: str, before: str = "") -> tuple[subprocess.Popen[str], int, int, Path]:
    """A process that starts a server; its pid, its port and its folder."""
    package = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CHILD.format(then=then, before=before)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(package)},
    )
    pid, port, folder = child.stdout.readline().split(maxsplit=2)
    return child, int(pid), int(port), Path(folder.strip())


@pytest.mark.parametrize("system", ["", LIKE_WINDOWS], ids=["here", "like Windows"])
def test_the_server_and_its_folder_are_gone_after_the_parent_process_is_killed(system):
    # given
    child, pid, port, folder = run_child(then="sys.stdin.read()", before=system)
    with child:
        assert is_listening(port)
        assert folder.is_dir()
        # when
        child.send_signal(signal.SIGKILL)
        # then
        wait_until(lambda: is_gone(pid))
        wait_until(lambda: not folder.exists())
        wait_until(lambda: not is_listening(port))


def test_a_killed_parent_leaves_no_paused_server_and_no_open_output_behind():
    # given
    child, pid, _, folder = run_child(then="server.pause(); print('paused', flush=True); sys.stdin.read()")
    with child:
        assert child.stdout.readline() == "paused\n"
        # when
        child.send_signal(signal.SIGKILL)
        # then: reading to the end returns, since nobody else holds the child's output
        assert child.communicate(timeout=10) == ("", "")
        wait_until(lambda: is_gone(pid))
        wait_until(lambda: not folder.exists())


@pytest.mark.parametrize("system", ["", LIKE_WINDOWS], ids=["here", "like Windows"])
def test_a_parent_that_forgets_to_stop_it_leaves_nothing_behind(system):
    # given: the process ends without leaving the context
    child, pid, _, folder = run_child(then="os._exit(3)", before=system)
    with child:
        # then
        wait_until(lambda: is_gone(pid))
        wait_until(lambda: not folder.exists())
        assert child.wait(10) == 3


@pytest.mark.parametrize("system", ["", LIKE_WINDOWS], ids=["here", "like Windows"])
def test_it_stops_and_starts_and_ends_without_a_warning(system):
    child, _, _, folder = run_child(then="server.stop(); server.start(); server.kill(); server.start()", before=system)
    with child:
        assert child.communicate(timeout=10) == ("", "")
        assert child.returncode == 0
        assert not folder.exists()


def test_where_a_server_cannot_be_paused_an_error_says_so():
    child, _, _, _ = run_child(then="server.pause()", before=LIKE_WINDOWS)
    with child:
        assert "cannot be paused here" in child.communicate(timeout=10)[1]


def test_a_replica_set_elects_another_primary_after_one_is_killed_and_takes_it_back():
    with EmbeddedReplicaSet(members=3) as replica_set, client_of(replica_set) as client:
        # given
        client["test"]["things"].insert_one({"_id": 1})
        first = replica_set.primary()
        # when
        first.kill()
        second = replica_set.primary()
        # then
        assert second is not first
        client["test"]["things"].insert_one({"_id": 2})
        # when
        first.start()
        # then
        assert client.admin.command("hello")["primary"] == second.host
        with MongoClient(f"mongodb://{first.host}/?directConnection=true") as direct:
            assert direct.admin.command("hello")["secondary"]
            wait_until(lambda: direct["test"]["things"].count_documents({}) == 2)
        folders = [member.data_dir for member in replica_set.members]
        assert len(set(folders)) == 3
    assert not any(folder.exists() for folder in folders)


def test_all_members_of_a_replica_set_that_was_started_have_the_same_data():
    with EmbeddedReplicaSet(members=2) as replica_set, client_of(replica_set) as client:
        # given a member that has missed something
        (missing,) = {*replica_set.members} - {replica_set.primary()}
        missing.kill()
        client["test"]["things"].with_options(write_concern=WriteConcern(1)).insert_one({"_id": 1})
        # when
        replica_set.start()
        # then
        with MongoClient(f"mongodb://{missing.host}/?directConnection=true") as direct:
            assert direct["test"]["things"].find_one() == {"_id": 1}


def test_a_replica_set_waits_a_second_for_its_primary_and_not_ten():
    with EmbeddedReplicaSet(members=1) as replica_set, client_of(replica_set) as client:
        settings = client.admin.command("replSetGetConfig")["config"]["settings"]
    assert (settings["electionTimeoutMillis"], settings["heartbeatIntervalMillis"]) == (1000, 200)
    assert settings["chainingAllowed"]


USER_TESTS = """
import asyncio
from pymongo import MongoClient

names = []

def test_one(mongodb_server_uri, mongodb_database):
    names.append(mongodb_database)
    with MongoClient(mongodb_server_uri) as client:
        client[mongodb_database]["things"].insert_one({"_id": 1})

def test_two(mongodb_server_uri, mongodb_database):
    assert mongodb_database not in names
    with MongoClient(mongodb_server_uri) as client:
        assert client[mongodb_database].list_collection_names() == []

def test_three(mongo_persistence):
    async def session():
        persistence = mongo_persistence(refresh="off")
        loaded = await persistence.get_user_data()
        await persistence.update_user_data(42, {"cart": ["tea"]})
        await persistence.flush()
        return loaded.get(42)

    assert asyncio.run(session()) is None
    assert asyncio.run(session()) == {"cart": ["tea"]}
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_the_pytest_plugin_gives_each_test_a_database_of_its_own_and_drops_it(server, tmp_path, workers):
    # given
    test_file = tmp_path / "test_bot.py"
    test_file.write_text(USER_TESTS)
    package = Path(__file__).parents[2]
    # when
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-W",
            "error",
            "-p",
            "ptb_mongo.testing",
            "-p",
            "no:asyncio",
            *workers,
            str(test_file),
        ],
        cwd=tmp_path,
        env={**os.environ, "MONGODB_URI": server.uri, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    # then
    assert "3 passed" in run.stdout, run.stdout + run.stderr
    with client_of(server) as client:
        assert [name for name in client.list_database_names() if name.startswith("ptb_mongo_test_")] == []
