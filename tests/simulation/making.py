"""Makes schedules from seeds."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any, Final

from accidents import Accidents
from features import Features
from schedule import Action, Schedule
from steps import BOT_ID, CHAT_ID, BotOptions
from trouble import Trouble

__all__ = ["Features", "make"]

_USERS: Final = (1, 2, 3)
_NAMES: Final = ("a", "b", "c.d")
_TYPED: Final = ("dec", "when", "day", "level", "span", "big", "pair")
_SHARED: Final = 0.25
"""How many schedules are of workers."""
_REDELIVERED: Final = 0.6
"""How many of these are of updates that come again until they are answered."""
_WHOLE: Final = 0.6
"""How many of these are of transactions, where there are leases."""
_TURNS: Final = 0.2
"""How much of what they do is done in turns."""
_LONG: Final = 0.06
"""How many schedules take longer than a minute."""


class _Maker(Accidents):
    def __init__(self, seed: int, features: Features) -> None:
        self.random = Random(seed)
        self.more = Random(f"{seed}/more")  # for what most schedules do without: so that those stay as they were
        self.versions = Random(f"{seed}/versions")  # likewise
        self.again = Random(f"{seed}/again")  # likewise
        self.seed = seed
        self.features = features
        self.count = self.powers = 0
        draw = self.random
        self.bots = tuple(map(self._bot, range(draw.choice([1, 1, 2, 3][: features.bots + 1]))))
        if len(self.bots) > 1:
            self.bots = tuple(replace(bot, on_flush=False) for bot in self.bots)
        self.shares = features.workers and self.more.random() < _SHARED
        if self.shares:
            self.bots = self._workers()
        self.redelivers = self.shares and features.redelivery and self.again.random() < _REDELIVERED
        if self.redelivers and self.bots[0].shares == "exclusive" and self.again.random() < _WHOLE:
            self.bots = tuple(replace(bot, once="transaction") for bot in self.bots)
        self.trouble = Trouble(seed, features, len(self.bots))
        if self.trouble.borrows:
            self.bots = tuple(replace(bot, borrows=True) for bot in self.bots)
        self.focus = draw.choice(_USERS)
        names = ("a", "b", "c.d", "n", "log", "basket", "typed", *(["tags"] if features.sets else []))
        # Everything happens to one or two keys of one user: then it meets.
        self.is_tight = draw.random() < 0.4
        self.names = draw.sample(names, draw.randint(1, 2) if self.is_tight else draw.randint(2, 4))
        # A key that is written in both forms would be there twice: where it is unescaped, it is not written.
        self.unescapes = features.forms and draw.random() < 0.3
        self.plain = ("a", "b") if self.unescapes else _NAMES
        self.typed = draw.sample(_TYPED, 2)
        self.is_hostile = features.hostile and draw.random() < 0.15
        self.others_key = draw.choice([name for name in ("a", "b") if name not in self.names] or ["a"])
        # Which side changes a set or a list of which document, where not all may.
        self.owners = {name: draw.choice(["service", *range(len(self.bots))]) for name in ("tags", "log")}

    def _bot(self, number: int) -> BotOptions:
        draw, features = self.random, self.features
        return BotOptions(
            loading=draw.choice(["eager", "eager", "lazy"]),
            refresh=draw.choice(["watch", "watch", "read"]),
            on_conflict=draw.choice(self._strategies()),
            on_flush=features.on_flush and draw.random() < 0.08,
            excludes=draw.random() < 0.2,
            spills=features.spills and draw.random() < 0.4,
            late=draw.choice([0, 0, 0, 1, 2, 3, 0.05, 0.5]) if features.late else 0,
            overrides=features.overrides,
            keyboards=features.keyboards and number == 0 and draw.random() < 0.3,
            migrations=self.versions.choice([0, 0, 1, 2]) if features.migrations else 0,
        )

    def _workers(self) -> tuple[BotOptions, ...]:
        draw = self.more
        shares = draw.choice(["stream", "stream", "strict", "exclusive", "exclusive"])
        lease = draw.choice([0.5, 3.0, 10.0])
        usual = {"on_flush": False, "late": 0, "overrides": False, "keyboards": False}
        made = [replace(bot, **usual, shares=shares, lease_timeout=lease) for bot in self.bots]
        if shares == "exclusive":
            made = [replace(bot, refresh="watch") for bot in made]
        return tuple(made)

    def _strategies(self) -> list[str]:
        others = ["remote"] if self.features.remote else []
        return ["local", "local", *others, *(["add"] if self.features.counts else [])]

    def _power(self) -> int | None:
        """Another one for each time that somebody counts; as many as a number of 64 bits has digits."""
        self.powers += 1
        return self.powers if self.powers < 15 else None

    def token(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def user(self) -> int:
        return self.focus if self.is_tight or self.random.random() < 0.75 else self.random.choice((*_USERS, 4))

    def make(self) -> Schedule:
        draw = self.random
        actions: list[Action] = []
        length = draw.randint(10, 40)
        weights = self._weights()
        kinds = list(weights)
        while len(actions) < length:
            if self.is_tight and draw.random() < 0.35:
                actions += self._round()
                continue
            (kind,) = draw.choices(kinds, [weights[one] for one in kinds])
            action = getattr(self, f"_{kind}")()
            if action is None:
                continue
            actions.append(action)
            if (pause := self._pause()) is not None:
                actions.append(pause)
        actions = list(map(self._restarted, actions))
        if self.redelivers:
            actions = list(map(self._as_turn, actions))
        names = self.plain if self.unescapes else [*self.names, *self.plain]
        self.trouble.add(actions, names, self.focus, self.token)
        if self.features.long_waits and self.more.random() < _LONG:
            self._lengthen(actions)
        return Schedule(
            self.seed,
            self.bots,
            tuple(actions),
            self.features.sets,
            self.is_hostile,
            self.features.rollback,
            self.redelivers,
        )

    def _restarted(self, action: Action) -> Action:
        """Some of what stops goes on with the same persistence."""
        if action[0] != "stop" or not self.features.restarts or self.more.random() < 0.5:
            return action
        _, bot, seconds = action
        return ("restart", bot, seconds, self.more.random() < 0.5)

    def _as_turn(self, action: Action) -> Action:
        """Some of what updates do is done in turns: by jobs, or by a web page."""
        if action[0] != "update" or self.again.random() > _TURNS:
            return action
        _, bot, user, steps, pause = action
        steps = tuple(step for step in steps if step[0] in {"user", "chat"})
        return ("turn", bot, user, steps, pause, self.again.random() < 0.2)

    def _lengthen(self, actions: list[Action]) -> None:
        """Lets one or two things that take a while take about a minute, or longer."""
        places = [index for index, (name, *_) in enumerate(actions) if name in {"wait", "freeze"}]
        for index in self.more.sample(places, min(len(places), self.more.choice([1, 1, 2]))):
            *same, _ = actions[index]
            actions[index] = (*same, round(self.more.choice([59.5, 61, 70, 100]) * self.more.uniform(0.99, 1.01), 1))

    def _round(self) -> list[Action]:
        """What goes together: something is changed and saved, and something goes wrong with that."""
        draw, bot = self.random, self._which_bot()
        faults: list[Action] = []
        if self.features.faults:
            kinds = draw.choice([[], ["lose answer"], ["lose answer", "lose request"], ["lose request"], ["hold"]])
            kinds = [kind for kind in kinds if kind != "hold" or self.features.holds]
            faults = [("fault", bot, kind, "write", draw.choice([0.01, 0.3, 2.0, 8.0])) for kind in kinds]
        actions = faults
        for _ in range(draw.choice([1, 1, 2])):
            steps = tuple(filter(None, (self._step(bot) for _ in range(draw.choice([1, 1, 2])))))
            actions.append(("update", bot, self.focus, steps, 0))
            if draw.random() < 0.6:
                actions.append(("turns", draw.randint(1, 4)))
            actions += [("save", bot), self._wait(0.004, 0.01, 0.1, 0.5, 3.0)]
        for _ in range(draw.choice([0, 1, 1, 2, 3])):
            # Half of the edits are of a key that the bot leaves alone: there is nothing to be decided.
            other = ("edit", "panel", "user_data", self.focus, ("set", self.others_key, self.token("s")))
            actions += [other if draw.random() < 0.5 else self._edit(), self._wait(0.002, 0.05, 0.4, 2.5)]
        if self.features.faults and self.features.rollback and draw.random() < 0.15:
            # A majority has got none of it when another server becomes the primary.
            return [("slow replication", 30.0), *actions, self._roll_back(), ("slow replication", 0.002)]
        return actions

    def _wait(self, *seconds: float) -> Action:
        return ("wait", round(self.random.choice(seconds) * self.random.uniform(0.8, 1.2), 4))

    def _weights(self) -> dict[str, float]:
        draw, features = self.random, self.features
        weights: dict[str, float] = {"update": 10, "save": 8, "edit": 8, "drop": 0.5 if features.drops else 0}
        if features.faults and self.is_tight:
            weights |= {"fault": draw.choice([6, 10]), "kill": draw.choice([0, 0, 1]), "stop": draw.choice([0, 0, 1])}
        elif features.faults:
            weights |= {
                "fault": draw.choice([0, 4, 8]),
                "deaf": draw.choice([0, 0, 1]),
                "reset": 0.5,
                "freeze_server": draw.choice([0, 0, 1]),
                "fail_over": draw.choice([0, 0, 1]),
                "roll_back": draw.choice([0, 1, 2]) if features.rollback else 0,
                "slow_replication": 1 if features.rollback else 0,
                "slow_stream": draw.choice([0, 0, 1]),
                "freeze": draw.choice([0, 0, 1]),
                "kill": draw.choice([0, 0, 1]),
                "stop": draw.choice([0, 1, 2]),
            }
        if features.by_hand:
            weights |= {"count_users": draw.choice([0, 0, 1]), "flush": draw.choice([0, 0, 1])}
        return weights

    def _pause(self) -> Action | None:
        draw = self.random
        kind = draw.random()
        if kind < 0.3:
            return None
        if kind < 0.45:
            return ("turns", draw.randint(1, 6))
        if kind < 0.65:
            return ("wait", round(draw.uniform(0.0005, 0.006), 4))
        if kind < 0.85:
            return ("wait", round(draw.uniform(0.02, 0.3), 3))
        if kind < 0.95:
            return ("wait", round(draw.uniform(0.6, 3), 2))
        return ("wait", round(draw.uniform(5, 12), 1))

    def _update(self) -> Action:
        draw, bot, user = self.random, self._which_bot(), self.user()
        steps = tuple(filter(None, (self._step(bot) for _ in range(draw.choice([0, 1, 1, 2, 3])))))
        return ("update", bot, user, steps, draw.choice([0, 0, -1, 0.001, 0.02, 0.5]))

    def _step(self, bot: int) -> tuple[Any, ...] | None:
        draw = self.random
        wheres = ["user", "chat", "bot", "conversation", "keyboard"]
        where = "user" if self.is_tight else draw.choices(wheres, [8, 2, 2, 1, 1])[0]
        if where == "conversation":
            return (where, self.token("state") if draw.random() < 0.7 else None)
        if where == "keyboard":
            if not self.bots[bot].keyboards:
                return None
            board = f"board{draw.randint(1, 3)}"
            if draw.random() < 0.4:
                return (where, "new", self.token("board"), self.token("k"))
            return (where, draw.choice(["use", "drop"]), board)
        return (where, *self._bot_change(bot))

    def _may(self, name: str, who: Any) -> bool:
        return self.features.elements or self.owners[name] == who

    def _bot_change(self, bot: int) -> tuple[Any, ...]:  # noqa: C901  (a list of what may happen)
        draw = self.random
        if self.is_hostile and draw.random() < 0.15:
            return (draw.choice(["spoil", "mend"]),)
        if self.shares and self.features.drops and draw.random() < 0.03:
            return ("drop",)
        counts = self.bots[bot].on_conflict == "add" and draw.random() < 0.25
        if counts and (power := self._power()) is not None:
            return ("count", power)
        name = draw.choice(self.names)
        if name == "n":
            if draw.random() < 0.15:
                return ("new n", self.token("v"))
            if draw.random() < 0.2:
                return draw.choice([("remove", "n"), ("remove in n", draw.choice("xy"))])
            return ("set in n", draw.choice("xyz"), self.token("v"))
        if name == "tags" and self._may("tags", bot):
            return ("discard",) if draw.random() < 0.3 else ("add", self.token("v"))
        if name == "log" and self._may("log", bot):
            return ("cut",) if draw.random() < 0.15 else ("append", self.token("v"))
        if name == "basket":
            return (
                ("total", self.token("v"))
                if draw.random() < 0.5
                else ("item", draw.choice(["tea", "milk"]), self.token("v"))
            )
        if name == "typed":
            self.count += 1
            return ("typed", draw.choice(self.typed), self.count)
        if self.bots[bot].excludes and draw.random() < 0.1:
            return ("set", "cache", self.token("v"))
        plain = name if name in self.plain else draw.choice(self.plain)
        return ("remove", plain) if draw.random() < 0.2 else ("set", plain, self.token("v"))

    def _edit(self) -> Action:
        draw = self.random
        wheres = ["user_data", "chat_data", "bot_data"]
        where = "user_data" if self.is_tight else draw.choices(wheres, [8, 2, 2])[0]
        number = {"user_data": self.user(), "chat_data": CHAT_ID, "bot_data": BOT_ID}[where]
        return ("edit", draw.choice(["panel", "billing"]), where, number, self._service_change())

    def _service_change(self) -> tuple[Any, ...]:  # noqa: C901  (a list of what may happen)
        draw = self.random
        if self.is_hostile and draw.random() < 0.15:
            return (draw.choice(["poison", "poison", "cure"]), "a")
        kind = draw.random()
        if kind < 0.04:
            return ("delete",)
        if kind < 0.08 and (power := self._power()) is not None:
            return ("count", power)
        if self.features.put_back and kind < 0.14:
            return ("look",) if draw.random() < 0.5 else ("put back", draw.choice("ab"), self.token("s"))
        if kind < 0.17:
            return ("replace", draw.choice("ab"), self.token("s"))
        if self.features.forms and kind < 0.3:
            return (
                "reform",
                draw.choice(["tags", "c.d" if self.unescapes else "m", "m", "deq", "basket", *self.typed]),
            )
        name = draw.choice(self.names)
        if name == "n":
            field = f"n.{draw.choice('xyz')}"
            return ("remove", draw.choice([field, "n"])) if draw.random() < 0.25 else ("set", field, self.token("s"))
        if name == "tags" and self._may("tags", "service"):
            return ("discard",) if draw.random() < 0.3 else ("add", self.token("s"))
        if name == "log" and self._may("log", "service"):
            return ("cut",) if draw.random() < 0.15 else ("append", self.token("s"))
        if name == "basket":
            return ("set", draw.choice(["basket.state.total", "basket.state.items.tea"]), self.token("s"))
        if name == "typed":
            self.count += 1
            typed = draw.choice(self.typed)
            if draw.random() < 0.3:
                return ("remove", typed)
            return ("typed", typed, self.count, draw.randint(0, 2) if self.features.forms else -1)
        plain = (name if name in self.plain else draw.choice(self.plain)).replace(".", "%2E")
        return ("remove", plain) if draw.random() < 0.25 else ("set", plain, self.token("s"))

    def _save(self) -> Action:
        if self.shares and self.random.random() < 0.6:
            return self._update()  # which saves by itself
        return ("save", self._which_bot())

    def _drop(self) -> Action:
        return ("drop", self._which_bot(), self.user())


def make(seed: int, features: Features) -> Schedule:
    """The schedule of a seed."""
    return _Maker(seed, features).make()
