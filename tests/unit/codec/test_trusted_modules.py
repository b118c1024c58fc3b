"""A module in `trusted` that cannot be imported is an error at the start, not a quarantine of each document.

The kind of fault: a misspelled name, a module that fails while it is imported, or a package that is not installed is
reported only when somebody's data is loaded or saved.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ptb_mongo import MongoPersistence
from ptb_mongo.codec import Codec
from ptb_mongo.errors import ConfigurationError, DecodeError, EncodeError


@pytest.mark.parametrize(
    "name", ["no_such_module", "json.no_such_module", "no_such_package.module", "json.decoder.JSONDecoder", ""]
)
def test_a_module_that_is_not_there_is_an_error_when_a_persistence_is_made(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        MongoPersistence("mongodb://localhost", trusted=[name])


def test_a_module_that_cannot_be_imported_is_an_error_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_done_models.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    codec = Codec(["half_done_models"])

    with pytest.raises(ConfigurationError, match=r"'half_done_models', which cannot be imported \(ModuleNotFoundError"):
        codec.import_trusted()


def test_a_module_is_not_imported_while_a_persistence_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may be done in a module that the trusted one imports."""
    (tmp_path / "lazy_models.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)

    Codec(["lazy_models"])

    assert "lazy_models" not in sys.modules


def test_the_program_itself_is_not_run_again(tmp_path: Path) -> None:
    program = tmp_path / "my_bot.py"
    program.write_text(
        textwrap.dedent("""
            from ptb_mongo.codec import Codec
            print("once")
            class Basket: pass
            codec = Codec(["my_bot", "__main__"])
            codec.import_trusted()
            print(type(codec.decode(codec.encode(Basket()))).__module__)
        """)
    )

    ran = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
    )

    assert ran.stdout.split() == ["once", "__main__"]


@pytest.mark.parametrize("library", ["pydantic", "attr", "attrs", "msgspec"])
def test_no_library_is_imported_that_the_bot_does_not_use(library: str) -> None:
    code = f"""
import sys, ptb_mongo, enum
from dataclasses import dataclass
from ptb_mongo.codec import Codec, dump, load
before = {library!r} in sys.modules  # by PTB's own dependencies
class A(dict): pass
@dataclass
class B:
    a: int = 1
class C:
    def __getstate__(self): return {{"a": 1}}
codec = Codec(["__main__"])
codec.decode(codec.encode([A(a=1), B(), C()]))
print(before, {library!r} in sys.modules)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
    )

    if ran.stdout.split()[0] == "True":
        pytest.skip(f"the installed version of a dependency, such as aiolimiter or httpx, imports {library}")
    assert ran.stdout.split() == ["False", "False"]


# -- what to trust -------------------------------------------------------------------------------------------


class Outer:
    class Inner:
        class Innermost:
            pass


PACKAGE = {"shop/__init__.py": "", "shop/models.py": "raise SystemExit", "plain.py": "raise SystemExit"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("shop.models.Basket", "shop.models"),
        ("shop.models.Basket.Inner", "shop.models"),
        ("shop.models.Basket.Inner.More", "shop.models"),
        ("shop.Basket.Inner", "shop"),
        ("plain.Basket.Inner", "plain"),
        (f"{__name__}.Outer.Inner.Innermost", __name__),
        ("no_such.models.Basket", "no_such.models"),
        ("no_such.Basket", "no_such"),
        ("\0.x.Basket", "\0.x"),
        ("../shop.models.Basket", "../shop.models"),
        ("shop..models.Basket", "shop"),
        ("Basket", ""),
    ],
)
def test_the_advice_for_a_class_names_the_module_around_it_and_imports_none(name: str, module: str) -> None:
    before = set(sys.modules)
    with pytest.raises(DecodeError) as caught:
        Codec().decode({"_py": "object", "cls": name, "state": {}})
    assert f'trusted=["{module}"]' in caught.value.reason
    assert {one for one in set(sys.modules) - before if one.partition(".")[0] in {"shop", "plain"}} == set()
    with contextlib.suppress(ConfigurationError):
        Codec([module])
        assert not module.startswith("no_such")


def test_following_the_advice_for_classes_in_classes_helps() -> None:
    data = {"a": Outer.Inner(), "b": [Outer.Inner.Innermost()]}
    with pytest.raises(EncodeError) as caught:
        Codec().encode(data)
    assert f'trusted=["{__name__}"]' in Codec().explained(data, caught.value, "user_data").reason
    plain = Codec([__name__]).encode(data)
    with pytest.raises(DecodeError) as refused:
        Codec().decode(plain)
    assert f'trusted=["{__name__}"]' in Codec().explained_unreadable(plain, refused.value, "user_data").reason
