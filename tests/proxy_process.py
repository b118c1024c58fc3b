"""A `proxy` in a separate process, for tests that are not coroutines: one line of JSON is a call, another its answer.

`python tests/proxy_process.py HOST:PORT` proxies that server, and prints where it listens, and where it accepts calls:
`{"call": "hold", "arguments": {"commands": ["update"]}, "timeout": 20}`, each on a connection of its own.
"""

from __future__ import annotations

import asyncio
import json
import pathlib
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from bson import json_util
from proxy import Proxy
from proxy_link import Listening

if TYPE_CHECKING:
    from typing_extensions import Self  # of no use, and perhaps not there, at run time


class ProxyProcess(Listening):
    """Calls a `Proxy` in another process; a context manager.

    Args:
        target: Host and port of the server.
    """

    def __init__(self, target: str) -> None:
        self._target = target

    def __enter__(self) -> Self:
        command = [sys.executable, str(pathlib.Path(__file__)), self._target]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port, self._control = json.loads(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # which closes its input, and so ends it
        assert self._process.returncode == 0

    def call(self, method: str, /, timeout: float = 20, **arguments: Any) -> Any:
        """Calls a method of the proxy, and waits for its end; or gives the value of an attribute.

        Raises:
            RuntimeError: The method has failed.
            TimeoutError: It has not ended in time.
        """
        request = {"call": method, "arguments": arguments, "timeout": timeout}
        with socket.create_connection(("127.0.0.1", self._control)) as connection:
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json_util.loads(answers.readline())
        if "error" in answer:
            raise (TimeoutError if answer["timed out"] else RuntimeError)(answer["error"])
        return answer["result"]


async def _serve(target: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.readline())
        try:
            result = getattr(proxy, request["call"])
            if callable(result):
                result = result(**request["arguments"])
            if asyncio.iscoroutine(result):
                result = await asyncio.wait_for(result, request["timeout"])
            answer = {"result": result}
        except Exception as error:  # noqa: BLE001 - it is the caller's
            answer = {"error": repr(error), "timed out": isinstance(error, asyncio.TimeoutError)}
        writer.write(json_util.dumps(answer).encode() + b"\n")
        writer.close()

    async with Proxy(target) as proxy:
        control = await asyncio.start_server(answer, "127.0.0.1", 0)
        print(json.dumps([proxy.port, control.sockets[0].getsockname()[1]]), flush=True)  # noqa: T201 - how it speaks
        await asyncio.to_thread(sys.stdin.read)
        control.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
