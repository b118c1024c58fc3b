"""`keep`, like `ptb_mongo.releasing`: a lazy bot evicts users and chats after some of its save passes."""

from __future__ import annotations

from typing import Any

from mongod import key

__all__ = ["let_go"]


def let_go(process: Any) -> None:
    """Lets everybody go who may be; only while no update is handled."""
    session = process.persistence.session
    if process.options.loading != "lazy" or session is None or not process.is_idle():
        return
    for name, held in (("user_data", process.user_data), ("chat_data", process.chat_data)):
        scope = getattr(session.scopes, name)
        for one in [*held]:
            replica = scope.replicas.get(one)
            if replica is None or replica.live is not held[one] or (name, key(one)) in process.touched:
                continue
            if scope.may_be_released(replica):
                del held[one]
                scope.release(one)
                process.served.clear()  # during an outage, who comes back cannot be read
                process.world.note(f"{process} has let {name} {one} go")
