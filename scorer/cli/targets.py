"""What a replay may write: asked before anything is read, so that nothing is overwritten at the end of an hour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from scorer.errors import SelectionError

if TYPE_CHECKING:
    from scorer.cli.lanes import Setting
    from scorer.cli.staging import Wish

PAGES = (".html", ".htm")


def check_files(reads: Mapping[str, Path | str | None], writes: Mapping[str, Path | None]) -> None:
    """Raise SelectionError for a file that has no directory, or is another option's too; both map options to files."""
    taken = {Path(file).resolve(): option for option, file in reads.items() if file}
    for option, file in _files(writes):
        if not file.parent.is_dir():
            raise SelectionError(f"{option} {file}: there is no directory {file.parent}")
        other = taken.setdefault(file.resolve(), option)
        if other != option:
            raise SelectionError(f"{option} {file}: is the file of {other}, which would be lost; name another")


def _files(writes: Mapping[str, Path | None]) -> Iterator[tuple[str, Path]]:
    for option, file in writes.items():
        if file and option == "--report":
            if file.suffix not in PAGES:
                raise SelectionError(f"--report {file}: is a page for a browser; name it .html")
            yield option, file.with_suffix(".json")
        if file:
            yield option, file


def check_topic(wish: Wish, setting: Setting) -> None:
    """Raise SelectionError for an --out-topic that somebody else writes or reads, as far as its name tells."""
    name = wish.out_topic
    if name is None:
        return
    if name in setting.live | {setting.topic, setting.decisions}:
        raise SelectionError(f"--out-topic {name}: the service reads or writes it; name a topic of its own")
    if name.startswith("__"):
        raise SelectionError(f"--out-topic {name}: is Kafka's own; name a topic of its own")
    require_kafka(f"--out-topic {name}", setting)


def require_kafka(option: str, setting: Setting) -> None:
    """Raise SelectionError where an option needs a Kafka, and none was named."""
    if not setting.kafka:
        raise SelectionError(f"{option}: in which Kafka? Name a broker with --bootstrap HOST:PORT, or a --config")


def check_plan(wish: Wish, setting: Setting) -> None:
    """Raise what a replay would raise for its files and topics before its first event: for who only wants the plan."""
    from scorer.broker.kafka.cluster import Cluster
    from scorer.broker.kafka.publisher import REPLAYER, refuse_existing
    from scorer.cli import staging
    from scorer.replay.journal import saved, unfinished

    saved(unfinished(wish.out), resume=wish.resume)
    staging.labels(wish, setting)
    if wish.out_topic and not (wish.existing or wish.resume):
        with closing(Cluster(setting.kafka, REPLAYER)) as cluster:
            refuse_existing(wish.out_topic, cluster.reach())
