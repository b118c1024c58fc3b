"""How leases change: pipelines that the server runs, each atomically.

Anybody may have written a lease, so no expression fails, whatever it finds. A lease is valid as long as `until` is a
date that a worker may have written, no further ahead than a renewal sets it. In `waiting`, only elements that have the
form of a place count; everything else is removed. A lease without a valid holder is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

__all__ = ["MARGIN", "acquiring", "handing_over", "renewing", "shown"]

MARGIN: Final = 60.0
"""Seconds by which a lease may last longer than those of this worker: a new primary's clock may be behind, and other
workers may have a different `lease_timeout` while they are being replaced one by one."""
_WHOLE: Final = ["int", "long"]

_Pipeline = list[dict[str, Any]]


def _later(timeout: float) -> dict[str, Any]:
    return {"$add": ["$$NOW", int(timeout * 1000)]}


def _if(condition: Any, then: Any, otherwise: Any) -> dict[str, Any]:
    return {"$cond": [condition, then, otherwise]}


def _lasts(until: str, timeout: float) -> dict[str, Any]:
    """Whether a lease or a place has not expired, and may have been written by a worker."""
    is_date = {"$eq": [{"$type": until}, "date"]}
    return {"$and": [is_date, {"$gt": [until, "$$NOW"]}, {"$lte": [until, _later(timeout + MARGIN)]}]}


def _is_place(timeout: float) -> dict[str, Any]:
    """Whether an element of `waiting` is a place that counts."""
    has_ticket = {"$eq": [{"$type": "$$this.ticket"}, "string"]}
    has_number = {"$in": [{"$type": "$$this.update_id"}, _WHOLE]}
    return {"$and": [has_ticket, has_number, _lasts("$$this.until", timeout)]}


def _elements(timeout: float, **condition: Any) -> dict[str, Any]:
    """The valid places that meet one more condition."""
    waiting = _if({"$isArray": "$waiting"}, "$waiting", [])
    cond = {"$and": [_is_place(timeout), *([dict(condition)] if condition else [])]}
    return {"$filter": {"input": waiting, "cond": cond}}


def _waiting_without(ticket: Any, timeout: float) -> dict[str, Any]:
    return _elements(timeout, **{"$ne": ["$$this.ticket", ticket]})


def acquiring(ticket: str, update_id: int, timeout: float) -> _Pipeline:
    """Adds an update to those waiting for a lease; if the lease is free, the first one gets it. May be repeated."""
    place = {"update_id": update_id, "ticket": ticket, "until": _later(timeout)}
    held = _lasts("$until", timeout)
    mine = {"$and": [held, {"$eq": ["$holder", ticket]}]}
    waiting = {"$concatArrays": [_waiting_without(ticket, timeout), _if(mine, [], [place])]}
    return [{"$set": {"waiting": waiting, "free": {"$not": [held]}}}, *_next_one_holds_it(timeout)]


def handing_over(ticket: str, timeout: float) -> _Pipeline:
    """Gives up a lease or a place in its queue; the next update gets the lease."""
    free = {"$or": [{"$eq": ["$holder", ticket]}, {"$not": [_lasts("$until", timeout)]}]}
    return [{"$set": {"waiting": _waiting_without(ticket, timeout), "free": free}}, *_next_one_holds_it(timeout)]


def _next_one_holds_it(timeout: float) -> _Pipeline:
    """If the lease is free, gives it to the waiting update with the smallest number."""
    first = {"$eq": ["$$this.update_id", "$first"]}
    return [
        {"$set": {"first": {"$min": "$waiting.update_id"}}},  # once, not for each place
        {"$set": {"next": {"$arrayElemAt": [{"$filter": {"input": "$waiting", "cond": first}}, 0]}}},
        {
            "$set": {
                "holder": _if("$free", {"$ifNull": ["$next.ticket", None]}, "$holder"),
                # Not a whole new period: a worker that died while waiting must not delay others any longer.
                "until": _if("$free", {"$ifNull": ["$next.until", None]}, "$until"),
                "waiting": _if("$free", _waiting_without("$next.ticket", timeout), "$waiting"),
            }
        },
        {"$unset": ["free", "first", "next"]},
    ]


def renewing(ticket: str, timeout: float) -> _Pipeline:
    """Renews a lease or a place in its queue."""
    renewed = {"$mergeObjects": ["$$this", {"until": _later(timeout)}]}
    is_ours = {"$and": [{"$eq": [{"$type": "$$this"}, "object"]}, {"$eq": ["$$this.ticket", ticket]}]}
    waiting = _if({"$isArray": "$waiting"}, "$waiting", [])
    return [
        {
            "$set": {
                "until": _if({"$eq": ["$holder", ticket]}, _later(timeout), "$until"),
                "waiting": {"$map": {"input": waiting, "as": "this", "in": _if(is_ours, renewed, "$$this")}},
            }
        }
    ]


def shown(tickets: Sequence[str], timeout: float) -> dict[str, Any]:
    """A projection that shows who holds a lease, which of the tickets are waiting, and when to ask again.

    `left` is in milliseconds. Nothing that others have written is returned.
    """
    known = {"$literal": list(tickets)}
    held_by = _if({"$in": ["$holder", known]}, "$holder", None)
    left = _if(_lasts("$until", timeout), {"$subtract": ["$until", "$$NOW"]}, 0)
    waiting = _elements(timeout, **{"$in": ["$$this.ticket", known]})
    return {"holder": held_by, "left": left, "waiting": {"$map": {"input": waiting, "in": "$$this.ticket"}}}
