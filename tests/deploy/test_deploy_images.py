"""The compose file and the image: valid, pinned, without root, and only on loopback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deploy_files import DEPLOY, PROMETHEUS, ROOT, read_yaml

from scorer.config import load

COMPOSE = ROOT / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = read_yaml(COMPOSE)["services"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order: the word and what follows, continued lines joined."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def final_stage() -> dict[str, str]:
    """Return the last stage's instructions, the last of each word."""
    words = [word for word, _ in instructions()]
    last = len(words) - 1 - words[::-1].index("FROM")
    return dict(instructions()[last:])


def images() -> list[str]:
    """Return every image that the compose file and the Dockerfile take from a registry or build."""
    stages = set(re.findall(r"\bAS (\w+)", DOCKERFILE))
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    return [service["image"] for service in SERVICES.values()] + [base for base in bases if base not in stages]


def test_compose_file_is_valid() -> None:
    """The compose file follows the Compose Specification."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("image", images())
def test_image_is_pinned(image: str) -> None:
    """An image has a tag, and it is not the one that moves."""
    assert re.fullmatch(r"[\w./-]+:[\w.-]+", image)
    assert not image.endswith(":latest")


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    """No service without a password can be reached from another machine."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_or_named_exists(name: str) -> None:
    """Every mounted path is in the repository, and every other volume and every dependency is declared."""
    service = SERVICES[name]
    sources = [volume.split(":")[0] for volume in service.get("volumes", [])]
    assert [source for source in sources if source.startswith(".") and not (ROOT / source).exists()] == []
    assert {source for source in sources if not source.startswith(".")} <= read_yaml(COMPOSE)["volumes"].keys()
    assert service.get("depends_on", {}).keys() <= SERVICES.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_waiting_for_health_has_something_to_wait_for(name: str) -> None:
    """Who waits until a service is healthy waits for one that has a health check."""
    for other, how in SERVICES[name].get("depends_on", {}).items():
        check = SERVICES[other].get("healthcheck", {})
        assert how["condition"] != "service_healthy" or "test" in check


@pytest.mark.parametrize("name", ["scorer", "bundles", "events"])
def test_scorer_containers_can_do_little(name: str) -> None:
    """The image runs on a read-only root with a tmpfs, without capabilities, and cannot gain any."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_compose_configuration_loads_and_fits() -> None:
    """The demo's configuration is valid; its bundles are where they are mounted, its broker and port the others'."""
    settings = load(DEPLOY / "compose" / "scorer.yaml", environment={})
    mounts = [volume.split(":")[1] for volume in SERVICES["scorer"]["volumes"] if volume.startswith("bundles:")]
    assert {str(topic.bundle.parent) for topic in settings.topics.values()} == set(mounts)
    assert settings.kafka["bootstrap.servers"] in SERVICES["events"]["command"]
    assert (
        f"INTERNAL://{settings.kafka['bootstrap.servers']},"
        in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    )
    assert settings.create_topics
    assert settings.http.host == "0.0.0.0"


def test_the_metrics_port_is_the_same_everywhere() -> None:
    """Configuration, image, health checks, published port and Prometheus agree on the port."""
    port = load(DEPLOY / "compose" / "scorer.yaml", environment={}).http.port
    (job,) = read_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"]
    assert final_stage()["EXPOSE"] == str(port)
    assert f"127.0.0.1:{port}/livez" in final_stage()["HEALTHCHECK"]
    assert f"127.0.0.1:{port}/readyz" in SERVICES["scorer"]["healthcheck"]["test"][-1]
    assert SERVICES["scorer"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert job["static_configs"] == [{"targets": [f"scorer:{port}"]}]


def test_image_does_not_run_as_root() -> None:
    """The image's user is a number other than 0, which Kubernetes can check."""
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", final_stage()["USER"])


def test_image_runs_the_scorer() -> None:
    """The image is the command `scorer`, and without arguments it runs the mounted configuration."""
    assert final_stage()["ENTRYPOINT"] == '["scorer"]'
    assert final_stage()["CMD"] == '["run", "/etc/scorer/scorer.yaml"]'
    assert any("/etc/scorer/scorer.yaml" in volume for volume in SERVICES["scorer"]["volumes"])


def test_image_sees_what_it_copies() -> None:
    """Whatever the Dockerfile copies from the repository is let through by .dockerignore, and nothing else is."""
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored


def test_image_installs_what_is_pinned() -> None:
    """What is installed into the image is verified by its hash, or is the project's own wheel without the network."""
    installs = re.findall(r"/opt/scorer/bin/python install[^&]*", " ".join(rest for _, rest in instructions()))
    assert [("--require-hashes" in one, "--no-index --no-deps" in one) for one in installs] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize("path", [COMPOSE, DEPLOY / "Dockerfile"], ids=lambda path: path.name)
def test_nothing_moves_by_itself(path: Path) -> None:
    """The word `latest` stands in neither file."""
    assert "latest" not in path.read_text()
