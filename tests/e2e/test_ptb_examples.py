"""PTB's own examples remember what their users told them, with our persistence as with PTB's.

`PicklePersistence` is the specification: with `HYPOTHESIS_PROFILE=deep` each test runs with it, too. Unless a test says
otherwise, the bot saves nothing before it is stopped: what it knows after a restart was saved while it shut down.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from ptb_examples import Saved, eventually

if TYPE_CHECKING:
    from botapi import BotMessage, User
    from conftest import RunExample
    from ptb_examples import Storage


def facts_in(message: BotMessage) -> list[str]:
    """Return the lines in which persistentconversationbot lists what it was told."""
    return [line for line in message.text.splitlines() if " - " in line]


class TestPersistentConversationBot:
    async def test_facts_are_shown_in_the_order_of_entry_after_a_restart(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given facts whose order of entry is not that of the alphabet
        bot = await run_example("persistentconversationbot")
        await ada.talks("/start", "Number of siblings", "2", "Age", "36")
        await ada.talks("Something else...", "Best friend", "Charles", "Favourite colour", "Blue")
        # when
        await bot.restart()
        # then
        assert facts_in(await ada.talks("/show_data")) == [
            "number of siblings - 2",
            "age - 36",
            "best friend - charles",
            "favourite colour - blue",
        ]

    async def test_facts_of_a_later_run_come_after_those_of_an_earlier_one(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given a fact from each of two runs
        bot = await run_example("persistentconversationbot")
        await ada.talks("/start", "Number of siblings", "2")
        await bot.restart()
        await ada.talks("Favourite colour", "Blue", "Age", "36")
        # when
        await bot.restart()
        # then
        assert facts_in(await ada.talks("/show_data")) == [
            "number of siblings - 2",
            "favourite colour - blue",
            "age - 36",
        ]

    async def test_a_conversation_goes_on_in_the_middle_after_a_restart(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given a question that Ada has not answered yet
        bot = await run_example("persistentconversationbot")
        await ada.talks("/start", "Age")
        # when
        await bot.restart()
        # then the bot still knows what it had asked
        assert facts_in(await ada.talks("36")) == ["age - 36"]

    async def test_a_bot_stopped_with_ctrl_c_has_saved_everything(self, run_example: RunExample, ada: User) -> None:
        # given
        bot = await run_example("persistentconversationbot")
        await ada.talks("/start", "Age", "36")
        # when
        await bot.stop(signal.SIGINT)
        # then
        await bot.start()
        assert facts_in(await ada.talks("/show_data")) == ["age - 36"]

    async def test_a_conversation_that_was_ended_stays_ended_after_a_restart(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given a conversation that was stored, and then ended
        bot = await run_example("persistentconversationbot")
        await ada.talks("/start", "Age", "36")
        await bot.restart()
        await ada.talks("Done")
        await bot.restart()
        # when Ada answers as if it went on
        await ada.sends("Age")
        # then nobody listens: the next message is the answer to the next command
        assert facts_in(await ada.talks("/show_data")) == ["age - 36"]

    async def test_each_user_is_remembered_apart_from_the_others(
        self, run_example: RunExample, ada: User, grace: User
    ) -> None:
        # given two users in different places of the same conversation
        bot = await run_example("persistentconversationbot")
        await ada.talks("/start", "Age")
        await grace.talks("/start", "Favourite colour", "Navy")
        # when
        await bot.restart()
        # then
        assert facts_in(await ada.talks("36")) == ["age - 36"]
        assert facts_in(await grace.talks("/show_data")) == ["favourite colour - navy"]

    async def test_a_killed_bot_goes_on_from_its_last_save(
        self, run_example: RunExample, storage: Storage, ada: User
    ) -> None:
        # given a bot that saves often, and has saved that it waits for Ada's age
        bot = await run_example("persistentconversationbot", update_interval=0.05)
        await ada.talks("/start", "Favourite colour", "Blue", "Age")
        expected = Saved({"favourite colour": "blue", "choice": "age"}, state=1)

        async def all_is_saved() -> bool:
            return await storage.look(ada.id, "my_conversation") == expected

        await eventually(all_is_saved, f"stored is {expected}")
        # when
        await bot.kill()
        await bot.start()
        # then
        assert facts_in(await ada.talks("36")) == ["favourite colour - blue", "age - 36"]


class TestArbitraryCallbackDataBot:
    async def test_a_button_sent_before_a_restart_works_after_it(self, run_example: RunExample, ada: User) -> None:
        # given a keyboard whose buttons carry objects, after one click
        bot = await run_example("arbitrarycallbackdatabot")
        await ada.talks("/start")
        await ada.taps("3")
        # when
        await bot.restart()
        # then the objects are still there, and so is what the clicks gathered
        assert "[3, 1]" in (await ada.taps("1")).text
        assert "[3, 1, 5]" in (await ada.taps("5")).text

    async def test_a_keyboard_that_nobody_touched_works_after_two_restarts(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given two keyboards, of which only the second is used
        bot = await run_example("arbitrarycallbackdatabot")
        untouched = await ada.talks("/start")
        await ada.talks("/start")
        await ada.taps("2")
        # when
        await bot.restart()
        await bot.restart()
        # then
        await ada.clicks("4", untouched)
        answer = await ada.receives()
        assert answer.id == untouched.id
        assert "[4]" in answer.text

    async def test_cleared_buttons_stay_invalid_after_a_restart_and_later_ones_work(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given a keyboard that was stored and then cleared, and one that came after it
        bot = await run_example("arbitrarycallbackdatabot")
        cleared = await ada.talks("/start")
        await bot.restart()
        await ada.talks("/clear")
        later = await ada.talks("/start")
        # when
        await bot.restart()
        # then the later one works, and the bot takes the buttons of the cleared one away
        await ada.clicks("1", later)
        assert (await ada.receives()).buttons
        await ada.clicks("1", cleared)
        answer = await ada.receives()
        assert answer.id == cleared.id
        assert not answer.buttons


class TestNestedConversationBot:
    async def test_a_nested_conversation_goes_on_in_its_middle_after_a_restart(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given three conversations inside one another, the innermost waiting for a name
        bot = await run_example("nestedconversationbot")
        await ada.talks("/start")
        await ada.receives()
        await ada.taps("Add family member", "Add parent", "Add Mother", "Name")
        # when
        await bot.restart()
        # then the name is taken, and the way out leads through the outer conversations
        await ada.talks("Annabella")
        await ada.taps("Done")
        assert "Mother: Name: Annabella" in (await ada.taps("Show data")).text

    async def test_each_level_of_a_nested_conversation_survives_a_restart(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given
        bot = await run_example("nestedconversationbot")
        await ada.talks("/start")
        await ada.receives()
        # when the bot is restarted on the way in, at the bottom, and on the way out
        await ada.taps("Add family member")
        await bot.restart()
        await ada.taps("Add child", "Add Brother", "Age")
        await bot.restart()
        await ada.talks("7")
        await ada.taps("Done")
        await bot.restart()
        await ada.taps("Back")
        # then
        assert "Brother: Name: -, Age: 7" in (await ada.taps("Show data")).text

    async def test_a_handler_nested_in_two_places_goes_on_in_the_other_one_too(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given the conversation that describes a person, entered from the outermost one
        bot = await run_example("nestedconversationbot")
        await ada.talks("/start")
        await ada.receives()
        await ada.taps("Add yourself", "Add info", "Name")
        # when
        await bot.restart()
        # then
        await ada.talks("Ada")
        await ada.taps("Done")
        assert "Name: Ada" in (await ada.taps("Show data")).text

    async def test_a_nested_conversation_stopped_after_a_restart_ends_altogether(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given
        bot = await run_example("nestedconversationbot")
        await ada.talks("/start")
        await ada.receives()
        await ada.taps("Add family member", "Add parent", "Add Father", "Name")
        await bot.restart()
        # when
        await ada.talks("/stop")
        await bot.restart()
        # then a text is no longer taken for a name: the next messages greet Ada anew
        await ada.sends("William")
        await ada.talks("/start")
        assert "Add family member" in (await ada.receives()).buttons


class TestContextTypesBot:
    async def test_the_count_in_a_custom_chat_data_class_goes_on_after_a_restart(
        self, run_example: RunExample, ada: User
    ) -> None:
        # given two clicks, counted in an object of the bot's own class
        bot = await run_example("contexttypesbot")
        await ada.talks("/start")
        assert " 2 " in (await ada.taps("Click me!", "Click me!")).text
        # when
        await bot.restart()
        # then
        assert " 3 " in (await ada.taps("Click me!")).text

    async def test_each_message_keeps_its_own_count_after_a_restart(self, run_example: RunExample, ada: User) -> None:
        # given a message with a click, and one without
        bot = await run_example("contexttypesbot")
        clicked = await ada.talks("/start")
        await ada.taps("Click me!")
        fresh = await ada.talks("/start")
        # when
        await bot.restart()
        # then
        await ada.clicks("Click me!", clicked)
        assert " 2 " in (await ada.receives()).text
        await ada.clicks("Click me!", fresh)
        assert " 1 " in (await ada.receives()).text

    async def test_the_set_of_users_in_the_bot_data_is_still_a_set_after_a_restart(
        self, run_example: RunExample, ada: User, grace: User
    ) -> None:
        # given users from before the restart, and from after it
        bot = await run_example("contexttypesbot")
        await ada.talks("/start")
        await bot.restart()
        await grace.talks("/start")
        # when
        answer = await grace.talks("/print_users")
        # then each is named once
        assert answer.text.count(str(ada.id)) == 1
        assert answer.text.count(str(grace.id)) == 1
