"""`ptb-mongo import jobs`: imports what APScheduler's own store has kept for PTB's `JobQueue`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ptb_mongo.cli.common import (
    FINE,
    FOUND,
    Alias,
    CollectionPrefix,
    DatabaseName,
    Json,
    Target,
    Trust,
    Uri,
    count,
    run,
    show_problems,
)
from ptb_mongo.cli.terminal import Text, console, write_json
from ptb_mongo.codec.trust import Trust as Trusted
from ptb_mongo.driver import connect
from ptb_mongo.errors import ConfigurationError, DocumentError, as_encode_error
from ptb_mongo.replica.values import Document

__all__ = ["import_jobs"]

Source = Annotated[str, typer.Option("--from-database", help="Where APScheduler's store keeps its jobs")]
Collection = Annotated[str, typer.Option("--from-collection", help="Its collection")]
Apply = Annotated[bool, typer.Option("--apply", help="Write; without it, only report what would be written")]


def import_jobs(
    *,
    source: Source = "apscheduler",
    collection: Collection = "jobs",
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Import the jobs of APScheduler's MongoDBJobStore, or of ptbcontrib's, from a database of the same server."""
    target = Target.of(uri, database, collection_prefix, trust, alias)
    run(_import(target, source, collection, apply=apply, as_json=as_json))


async def _import(target: Target, source: str, collection: str, *, apply: bool, as_json: bool) -> int:
    try:
        from ptb_mongo.migration.aps_jobs import job_document  # noqa: PLC0415  (APScheduler is optional)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f'{error}: pip install "python-telegram-bot[job-queue]"') from error
    good: dict[str, Document] = {}
    problems: list[DocumentError] = []
    async with target.open() as database:
        trusted = Trusted(database.trusted, database.aliases)
        driver = await connect(target.uri, source)
        try:
            async for one in driver.find(collection, {}, {"job_state": 1}):
                try:
                    good[database.scopes["jobs"].key_of(one["_id"])] = job_document(
                        one.get("job_state"), database.codec, trusted
                    )
                except Exception as error:  # noqa: BLE001  (whatever it is, all others are imported)
                    found = error if isinstance(error, DocumentError) else as_encode_error(error)
                    problems.append(found.located(collection, one["_id"]))
        finally:
            await driver.close()
        for job_id, document in good.items() if apply else ():
            await database.driver.insert_if_missing(database.scopes["jobs"].collection, job_id, document)
    _report(good, problems, f"{source}.{collection}", apply=apply, as_json=as_json)
    return FOUND if problems or not good else FINE


def _report(good: dict[str, Document], problems: list[Any], source: str, *, apply: bool, as_json: bool) -> None:
    callbacks = sorted({document["callback"] for document in good.values()})
    if as_json:
        told = {"jobs": len(good), "written": apply, "callbacks": callbacks, "problems": [str(one) for one in problems]}
        write_json(told)
        return
    out = console()
    if not good and not problems:
        out.print(Text(f"There are no jobs in {source}: name the store with --from-database and --from-collection."))
        return
    out.print(Text(f"{count(len(good), 'job')} {'imported' if apply else 'can be imported; --apply writes them'}."))
    for callback in callbacks:
        out.print(Text(f"  {callback}: to be registered, MongoJobQueue(callbacks=[...])"))
    show_problems(out, problems, "Not imported")
