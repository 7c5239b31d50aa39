"""The configuration: frozen and typed where it is right, all faults told at once, a secret never."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from scorer.config import Delivery, Settings, Start, check_bands, load, reference
from scorer.errors import BandsError, ConfigError, OwnedPropertyError

# Hypothesis writes one file again and again, which is what these tests want of it.
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def configuration(**changes: Any) -> dict[str, Any]:
    """Return a configuration without faults, with whole sections changed; None removes one."""
    base: dict[str, Any] = {
        "kafka": {"bootstrap.servers": "localhost:9092"},
        "group": "card-scorer",
        "topics": {"payments": topic()},
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def topic(**changes: Any) -> dict[str, Any]:
    base = {"bundle": "bundles/card-fraud", "decisions": "payments.decisions", "dead_letters": "payments.dlq"}
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def loaded(
    folder: Path,
    content: str | Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    properties: Sequence[str] = (),
    name: str = "scorer.yaml",
) -> Settings:
    text = content if isinstance(content, str) else yaml.safe_dump(dict(content), sort_keys=False)
    (folder / name).write_text(text, encoding="utf-8")
    return load(folder / name, environment=environment or {}, properties=properties)


def refused(kind: type[ConfigError], *arguments: Any, **options: Any) -> str:
    """Return the message of a refusal of exactly this kind, and of this exit code therefore."""
    with pytest.raises(ConfigError) as caught:
        loaded(*arguments, **options)
    assert type(caught.value) is kind, caught.value
    assert unchained(caught.value)
    return str(caught.value)


def unchained(error: ConfigError) -> bool:
    """Return whether a traceback of the error stops at its own message, which leaves out what others quote."""
    return error.__suppress_context__ or error.__context__ is None


EXAMPLE = """\
kafka:
  bootstrap.servers: localhost:9092
  socket.timeout.ms: 6000
  socket.keepalive.enable: true
  debug: cgrp
group: card-scorer
instance: 0
start: latest
delivery: at-least-once
create_topics: true
batch: {max_events: 512, max_wait_ms: 2.5}
topics:
  payments:
    bundle: bundles/card-fraud
    decisions: payments.decisions
    dead_letters: payments.dlq
    bands: {review: 0.60, block: 0.92}
    otherwise: allow
http: {listen: "[::1]:0"}
"""

TOML = """\
group = "card-scorer"
start = "latest"
delivery = "at-least-once"
create_topics = true
instance = 0
batch = {max_events = 512, max_wait_ms = 2.5}
http = {listen = "[::1]:0"}
[kafka]
"bootstrap.servers" = "localhost:9092"
"socket.timeout.ms" = 6000
"socket.keepalive.enable" = true
debug = "cgrp"
[topics.payments]
bundle = "bundles/card-fraud"
decisions = "payments.decisions"
dead_letters = "payments.dlq"
bands = {review = 0.60, block = 0.92}
otherwise = "allow"
"""


def test_every_key_reaches_its_setting(tmp_path: Path) -> None:
    """What is written is what is set, typed, with the bundle beside the file and properties untouched."""
    found = loaded(tmp_path, EXAMPLE)
    assert dict(found.kafka) == {
        "bootstrap.servers": "localhost:9092",
        "socket.timeout.ms": 6000,
        "socket.keepalive.enable": True,
        "debug": "cgrp",
    }
    assert (found.group, found.instance, found.transactional_id) == ("card-scorer", "0", "card-scorer-0")
    assert (found.start, found.delivery, found.create_topics) == (Start.LATEST, Delivery.AT_LEAST_ONCE, True)
    assert (found.batch.max_events, found.batch.max_wait_ms) == (512, 2.5)
    payments = found.topics["payments"]
    assert payments.bundle == tmp_path / "bundles/card-fraud"
    assert (payments.decisions, payments.dead_letters) == ("payments.decisions", "payments.dlq")
    assert list((payments.bands or {}).items()) == [("review", 0.6), ("block", 0.92)]
    assert payments.otherwise == "allow"
    assert (found.http.host, found.http.port) == ("::1", 0)


def test_toml_gives_the_same_settings(tmp_path: Path) -> None:
    """The suffix chooses the language, and nothing else."""
    assert loaded(tmp_path, TOML, name="scorer.toml").describe() == loaded(tmp_path, EXAMPLE).describe()


def test_defaults_are_those_of_the_reference(tmp_path: Path) -> None:
    """A configuration of required keys only has the defaults that the reference prints."""
    found = loaded(tmp_path, configuration()).describe()
    for keys, _, default, _ in reference():
        if default == "required":
            continue
        value: Any = found
        for key in keys.replace("<topic>", "payments").split("."):
            value = value[key]
        printed = {None: "none", False: "false"}.get(value) if value is None or value is False else f"{value}"
        assert printed in {default, f"{default}.0"}, keys


def test_the_reference_describes_every_key_in_one_sentence() -> None:
    """Each setting has one row, whose description is one sentence."""
    rows = reference()
    assert len({keys for keys, *_ in rows}) == len(rows) == 18
    for keys, kind, default, description in rows:
        assert kind, keys
        assert default, keys
        assert re.fullmatch(r"\S[^\n]*\.", description), keys


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    """Nothing can alter settings or a mapping in them after the start."""
    found = loaded(tmp_path, EXAMPLE)
    for section, name in ((found, "group"), (found.batch, "max_events"), (found.topics["payments"], "decisions")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, "other")
    for mapping in (found.kafka, found.topics, found.topics["payments"].bands):
        with pytest.raises(TypeError):
            mapping["new"] = 0.5  # type: ignore[index]


FAULTS: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "unknown key": (("batch", "max_event"), 1, "batch.max_event: unknown key; did you mean max_events?"),
    "unknown key of a topic": (("topics", "payments", "band"), {}, "payments.band: unknown key; did you mean bands?"),
    "unknown section": (("grupo",), "x", "grupo: unknown key; did you mean group?"),
    "too many events": (("batch", "max_events"), 65537, "batch.max_events: must be at most 65536, not 65537"),
    "wait below nothing": (("batch", "max_wait_ms"), -1, "batch.max_wait_ms: must be at least 0, not -1"),
    "boolean for text": (("group",), True, "group: must be text, in quotes because YAML reads on, off, yes and no"),
    "negative instance": (("instance",), -1, "instance: must be a number from 0"),
    "unknown start": (("start",), "now", "start: must be 'earliest' or 'latest', not 'now'"),
    "unknown delivery": (("delivery",), "once", "delivery: must be 'exactly-once' or 'at-least-once', not 'once'"),
    "text for a boolean": (("create_topics",), "maybe", "create_topics: must be true or false, not 'maybe'"),
    "no port": (("http", "listen"), "localhost", "http.listen: must be host:port"),
    "path of a number": (("topics", "payments", "bundle"), 3, "topics.payments.bundle: must be a path, not 3"),
    "bad topic": (("topics", "payments", "decisions"), "a b", "decisions: must be 1 to 249 letters"),
    "loop": (("topics", "payments", "dead_letters"), "payments", "dead_letters: is a topic that the scorer also reads"),
    "bands": (("topics", "payments", "bands"), {"b": 0.5, "a": 0.4}, "bands.a: must start above b, the band before it"),
    "owned": (("kafka", "acks"), 1, "kafka.acks: belongs to the scorer"),
    "code": (("kafka", "plugin.library.paths"), "x.so", "plugin.library.paths: would let a configuration run code"),
    "nested property": (("kafka", "sasl"), {"password": "x"}, "kafka.sasl: is a mapping"),
    "secret": (("kafka", "ssl.key.password"), "${env:NOPE}", "the environment variable NOPE is not set"),
}


@many
@given(st.sets(st.sampled_from(sorted(FAULTS)), min_size=1))
def test_all_faults_are_told_at_once(tmp_path: Path, chosen: set[str]) -> None:
    """Whatever faults a file has, the one message has a line for each and a last one that says what to do."""
    tree = configuration()
    for name in chosen:
        keys, value, _ = FAULTS[name]
        section = tree
        for key in keys[:-1]:
            section = section.setdefault(key, {})
        section[keys[-1]] = value
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, tree)
    *lines, last = str(caught.value).splitlines()
    assert all(sum(FAULTS[name][2] in line for line in lines) == 1 for name in chosen), caught.value
    assert len(lines) == len(chosen), caught.value
    assert "correct the above" in last


def test_missing_keys_say_what_they_are(tmp_path: Path) -> None:
    """A missing key is named, with what belongs there."""
    message = refused(ConfigError, tmp_path, {"kafka": {}, "topics": {"payments": topic(decisions=None)}})
    assert "kafka.bootstrap.servers: missing: the brokers" in message
    assert "scorer.yaml:1: group: missing: Consumer group" in message
    assert "topics.payments.decisions: missing: Topic that decisions are published to." in message


def test_a_fault_has_its_line(tmp_path: Path) -> None:
    """A fault points to the file and line of the value, or of the section that misses it."""
    text = EXAMPLE.replace("start: latest", "start: soon").replace("    dead_letters: payments.dlq\n", "")
    message = refused(ConfigError, tmp_path, text)
    assert f"{tmp_path / 'scorer.yaml'}:8: start: must be" in message
    assert f"{tmp_path / 'scorer.yaml'}:13: topics.payments.dead_letters: missing" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty or not a mapping"),
        ("- a\n- b\n", "is empty or not a mapping"),
        ("group: [\n", ":2: is not YAML"),
        ("group: a\n\tb: c\n", ":2: is not YAML"),
        ("a: 1\n---\nb: 2\n", "is not YAML"),
        ("a: &x [*x]\n", "alias that holds itself"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: !!bool maybe\n", ":1: is not YAML: a value is not what its form or tag says"),
        ("a: 2020-13-41\n", ":1: is not YAML: a value is not what its form or tag says"),
        ("a: !!python/object/apply:os.system [id]\n", "a: unknown key"),
        ("a: !!python/name:os.system x\n", "is not YAML"),
    ],
)
def test_what_is_not_yaml_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """A file that cannot be read as YAML is refused with its line and the reason, and nothing in it is run."""
    assert words in refused(ConfigError, tmp_path, text)


def test_a_bomb_of_aliases_is_refused(tmp_path: Path) -> None:
    """Aliases of aliases cannot fill memory."""
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert "more than 10000 values" in refused(ConfigError, tmp_path, f"a0: &a0 [x]\n{levels}")


@pytest.mark.parametrize(
    "trust",
    [
        {"keys": ["keys/release.pem", "/etc/other.pem"], "allow_rollback": ["card-fraud:6", "a:b:1"]},
        {"keys": "keys/release.pem, /etc/other.pem", "allow_rollback": "card-fraud:6,a:b:1"},
    ],
)
def test_trust_names_keys_and_bundles(tmp_path: Path, trust: dict[str, Any]) -> None:
    """Keys lie beside the file, as bundles do; one text holds several, separated by commas, as a variable does."""
    in_file = loaded(tmp_path, configuration(trust=trust)).trust
    texts = {name: value if isinstance(value, str) else ",".join(value) for name, value in trust.items()}
    variables = {f"SCORER__TRUST__{name.upper()}": text for name, text in texts.items()}
    in_variables = loaded(tmp_path, configuration(), variables).trust

    for found in (in_file, in_variables):
        assert found.keys == (tmp_path / "keys/release.pem", Path("/etc/other.pem"))
        assert found.allow_rollback == ("card-fraud:6", "a:b:1")


def test_a_version_in_a_variable_stays_text(tmp_path: Path) -> None:
    """YAML 1.1 would read 1:6 as the number 66."""
    found = loaded(tmp_path, configuration(), {"SCORER__TRUST__ALLOW_ROLLBACK": "1:6"})

    assert found.trust.allow_rollback == ("1:6",)


@pytest.mark.parametrize(
    ("trust", "words"),
    [
        ({"keys": 3}, "trust.keys: must be a list of paths, not 3"),
        ({"keys": [3]}, "trust.keys: must be a list of paths"),
        ({"keys": [""]}, "trust.keys: must be 1 to 249 characters"),
        ({"keys": ""}, "trust.keys: must be 1 to 249 characters"),
        ({"keys": None}, "trust.keys: must be a list of paths"),
        ({"key": "release.pem"}, "trust.key: unknown key; did you mean keys?"),
        ({"allow_rollback": ["card-fraud"]}, "trust.allow_rollback: must be bundles, each as name:version"),
        ({"allow_rollback": ["card-fraud:"]}, "trust.allow_rollback: must be bundles, each as name:version"),
        ({"allow_rollback": {"card-fraud": 6}}, "trust.allow_rollback: must be a list of bundles"),
        ("release.pem", "trust: must be a mapping"),
    ],
)
def test_trust_that_is_none_is_refused(tmp_path: Path, trust: object, words: str) -> None:
    """A key that was meant, and not read, would let every bundle through."""
    assert words in refused(ConfigError, tmp_path, configuration(trust=trust))


def test_what_is_not_toml_is_refused(tmp_path: Path) -> None:
    """A file that cannot be read as TOML is refused with its line."""
    assert "is not TOML: " in refused(ConfigError, tmp_path, "group = \n", name="scorer.toml")
    assert "in TOML in quotes" in refused(
        ConfigError, tmp_path, TOML.replace('"bootstrap.servers"', "bootstrap.servers"), name="scorer.toml"
    )


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing file, a directory, another suffix and another encoding are each named with the file."""
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"group: \xe9\n")
    for name, words in {
        "none.yaml": "No such file",
        "folder.yaml": "Is a directory",
        "latin.yaml": "not UTF-8 at byte 7",
        "scorer.ini": "suffix .yaml, .yml or .toml",
    }.items():
        with pytest.raises(ConfigError, match=words) as caught:
            load(tmp_path / name, environment={})
        assert str(tmp_path / name) in str(caught.value)


def test_a_key_written_twice_is_refused(tmp_path: Path) -> None:
    """YAML's silent last-one-wins is a fault with both lines, at any depth."""
    message = refused(ConfigError, tmp_path, EXAMPLE + "group: other\n")
    assert "group: is written twice, in lines 6 and 20: keep one" in message
    message = refused(ConfigError, tmp_path, EXAMPLE.replace("  debug: cgrp", "  debug: cgrp\n  debug: all"))
    assert "kafka.debug: is written twice, in lines 5 and 6" in message


def test_topics_may_share_what_is_written_once(tmp_path: Path) -> None:
    """YAML's merge keys work, and a merged key that is overridden is not one written twice."""
    text = EXAMPLE.replace("  payments:\n", "  payments: &shared\n").replace(
        "http:", "  payouts:\n    <<: *shared\n    bands: {block: 0.7}\nhttp:"
    )
    found = loaded(tmp_path, text)
    assert found.topics["payouts"].decisions == "payments.decisions"
    assert dict(found.topics["payouts"].bands or {}) == {"block": 0.7}


def test_keys_are_text_as_written(tmp_path: Path) -> None:
    """A topic called 123 or on is that topic, not a number or a boolean."""
    text = EXAMPLE.replace("  payments:\n", "  123:\n")
    assert list(loaded(tmp_path, text).topics) == ["123"]
    assert list(loaded(tmp_path, EXAMPLE.replace("  payments:\n", "  on:\n")).topics) == ["on"]


def test_without_topics_there_is_nothing_to_do(tmp_path: Path) -> None:
    """A configuration without topics is refused."""
    assert "topics: names no topic" in refused(ConfigError, tmp_path, configuration(topics={}))
    assert "topics: missing" in refused(ConfigError, tmp_path, configuration(topics=None))


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        ({"decisions": "payments"}, {}, "payments.decisions: is a topic that the scorer also reads, a loop"),
        ({"decisions": "payouts"}, {}, "payments.decisions: is a topic that the scorer also reads, a loop"),
        ({"dead_letters": "payouts"}, {}, "payments.dead_letters: is a topic that the scorer also reads, a loop"),
        ({"dead_letters": "d1"}, {}, "payments.dead_letters: is a topic that decisions go to"),
        ({}, {"dead_letters": "d1"}, "payouts.dead_letters: is a topic that decisions go to"),
        ({"decisions": "payments", "otherwise": 1}, {}, "payments.decisions: is a topic that the scorer also reads"),
    ],
)
def test_loops_are_refused(tmp_path: Path, one: dict[str, Any], two: dict[str, Any], words: str) -> None:
    """No topic's output may be an input, and decisions and dead letters never share a topic."""
    topics = {
        "payments": topic(**{"decisions": "d1", "dead_letters": "l1", **one}),
        "payouts": topic(**{"decisions": "d2", "dead_letters": "l2", **two}),
    }
    assert words in refused(ConfigError, tmp_path, configuration(topics=topics))


OWNED = [
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "isolation.level",
    "transactional.id",
    "group.id",
    "client.id",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "enable.partition.eof",
    "group.instance.id",
    "partitioner",
    "delivery.report.only.error",
    "dr_cb",
    "dr_msg_cb",
    "error_cb",
    "stats_cb",
    "on_delivery",
    "on_commit",
    "plugin.library.paths",
    "sasl.kerberos.kinit.cmd",
    "ssl.engine.location",
    "ssl.providers",
]


@pytest.mark.parametrize("name", OWNED)
def test_owned_properties_are_refused_by_name(tmp_path: Path, name: str) -> None:
    """What the scorer owns, and what would run code, is refused from the file, the environment and the command line."""
    kafka = {"bootstrap.servers": "b:9092", name: "x"}
    assert f"kafka.{name}: " in refused(OwnedPropertyError, tmp_path, configuration(kafka=kafka))
    assert f"-X {name}: " in refused(OwnedPropertyError, tmp_path, configuration(), properties=[f"{name}=x"])
    if "_" not in name:
        variable = f"SCORER__KAFKA__{name.upper().replace('.', '_')}"
        assert f"{variable}: " in refused(OwnedPropertyError, tmp_path, configuration(), {variable: "x"})


@pytest.mark.parametrize("value", ["0123", "on", "12:30", "1e5"])
def test_a_password_that_yaml_reads_as_a_number_is_refused(tmp_path: Path, value: str) -> None:
    """An unquoted password reaches the broker as it was typed, or the start is refused without telling it."""
    text = EXAMPLE.replace("  debug: cgrp", f"  sasl.password: {value}")
    if value == "1e5":
        assert loaded(tmp_path, text).kafka["sasl.password"] == "1e5"
        return
    message = refused(ConfigError, tmp_path, text)
    assert "kafka.sasl.password: must be text: put it in quotes" in message
    assert value not in message.replace("reads 0123 as 83 and on as true", "").replace("configuration", "").split()


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        ({}, "bands: names no band"),
        (
            {"block": 0.92, "review": 0.6},
            "bands.review: must start above block, the band before it (as float32), not 0.6",
        ),
        ({"review": 0.6, "block": 0.60000001}, "bands.block: must start above review"),
        ({"review": 0}, "bands.review: must be a number strictly between 0 and 1 (as float32), not 0"),
        (
            {"review": 0.99999999},
            "bands.review: must be a number strictly between 0 and 1 (as float32), not 0.99999999",
        ),
        ({"review": 1e-50}, "bands.review: must be a number strictly between"),
        ({"review": float("nan")}, "bands.review: must be a number strictly between"),
        ({"review": True}, "bands.review: must be a number strictly between 0 and 1 (as float32), not true"),
        ({" ": 0.5}, "a band must have a name"),
        ({"approve": 0.5}, "bands.approve: is also the decision below the lowest band"),
    ],
)
def test_bands_ascend_inside_zero_and_one(tmp_path: Path, bands: dict[str, Any], words: str) -> None:
    """Bands that a float32 score cannot be compared with in one way only are refused, here and by `check_bands`."""
    assert words in refused(BandsError, tmp_path, configuration(topics={"payments": topic(bands=bands)}))
    found = check_bands(bands, "--bands")
    assert len(found) == 1
    assert found[0].startswith("--bands: ")


@given(st.lists(st.floats(0.0078125, 0.9921875, width=32), min_size=1, max_size=5, unique=True))
def test_bands_in_order_have_no_fault(edges: list[float]) -> None:
    """Ascending edges inside (0, 1) have no fault; the same ones in any other order have one."""
    ascending = {f"band{i}": edge for i, edge in enumerate(sorted(edges))}
    assert check_bands(ascending, "--bands") == []
    if edges != sorted(edges):
        assert check_bands({f"band{i}": edge for i, edge in enumerate(edges)}, "--bands")


def test_otherwise_frees_its_default_name(tmp_path: Path) -> None:
    """With another `otherwise`, a band may be called approve, and may not be called as that one."""
    good = topic(otherwise="allow", bands={"approve": 0.5})
    assert loaded(tmp_path, configuration(topics={"payments": good})).topics["payments"].otherwise == "allow"
    bad = topic(otherwise="allow", bands={"allow": 0.5})
    refused(BandsError, tmp_path, configuration(topics={"payments": bad}))


def test_faults_of_several_kinds_are_a_configuration_error(tmp_path: Path) -> None:
    """The exit code of bands or of an owned property is given only if that is all that is wrong."""
    both = configuration(kafka={"bootstrap.servers": "b:1", "acks": 1}, topics={"payments": topic(bands={"a": 2})})
    refused(ConfigError, tmp_path, both)


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [("127.0.0.1:9464", "127.0.0.1", 9464), ("localhost:0", "localhost", 0), ("[fe80::1]:65535", "fe80::1", 65535)],
)
def test_listen_is_a_host_and_a_port(tmp_path: Path, listen: str, host: str, port: int) -> None:
    """Names, IPv4 and bracketed IPv6 are taken apart."""
    found = loaded(tmp_path, configuration(http={"listen": listen})).http
    assert (found.host, found.port) == (host, port)


@pytest.mark.parametrize("listen", ["9464", ":9464", "a:65536", "a:-1", "::1:80", "[::g]:80", "a b:80", "a:٣"])
def test_listen_refuses_what_cannot_be_bound(tmp_path: Path, listen: str) -> None:
    """What is not host:port is refused with an example."""
    assert "must be host:port" in refused(ConfigError, tmp_path, configuration(http={"listen": listen}))


@pytest.mark.parametrize("name", ["..", "a b", "a/b", "x" * 250, "ü"])
def test_topics_are_named_as_kafka_allows(tmp_path: Path, name: str) -> None:
    """A name that Kafka would refuse is refused here, as an input and as an output."""
    words = "must be 1 to 249 letters"
    assert words in refused(ConfigError, tmp_path, configuration(topics={name: topic()}))
    assert words in refused(ConfigError, tmp_path, configuration(topics={"payments": topic(decisions=name)}))


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    """A variable sets its key, with the type of its field: a password 0123 and a group 007 stay text."""
    found = loaded(
        tmp_path,
        EXAMPLE,
        {
            "SCORER__BATCH__MAX_EVENTS": "2048",
            "SCORER__CREATE_TOPICS": "false",
            "SCORER__GROUP": "007",
            "SCORER__INSTANCE": "scorer-2",
            "SCORER__KAFKA__BOOTSTRAP_SERVERS": "b:9092",
            "SCORER__KAFKA__SASL_PASSWORD": "0123${x}",
            "SCORER__TOPICS__PAYMENTS__BANDS__REVIEW": "0.5",
            "SCORER__TOPICS__PAYMENTS__DECISIONS": "other",
            "UNRELATED": "x",
        },
    )
    assert (found.batch.max_events, found.batch.max_wait_ms, found.create_topics) == (2048, 2.5, False)
    assert found.transactional_id == "007-scorer-2"
    assert (found.kafka["bootstrap.servers"], found.kafka["sasl.password"]) == ("b:9092", "0123${x}")
    assert list((found.topics["payments"].bands or {}).items()) == [("review", 0.5), ("block", 0.92)]
    assert found.topics["payments"].decisions == "other"


def test_the_environment_fills_an_empty_section(tmp_path: Path) -> None:
    """A section whose keys are all given by the environment may be empty in the file, or absent."""
    environment = {"SCORER__KAFKA__BOOTSTRAP_SERVERS": "b:9092", "SCORER__HTTP__LISTEN": "h:1"}
    text = "kafka:\n" + EXAMPLE[EXAMPLE.index("group") : EXAMPLE.index("http")]
    found = loaded(tmp_path, text, environment)
    assert (dict(found.kafka), found.http.listen) == ({"bootstrap.servers": "b:9092"}, "h:1")


def test_variables_find_topics_with_dots_and_dashes(tmp_path: Path) -> None:
    """A topic's name is matched in any case with _ for . and -, the longest first; one that fits two is refused."""
    names = ["pay", "pay.Ments-eu", "pay__x"]
    topics = {name: topic(decisions=f"d{i}", dead_letters=f"l{i}") for i, name in enumerate(names)}
    environment = {
        "SCORER__TOPICS__PAY__OTHERWISE": "a",
        "SCORER__TOPICS__PAY_MENTS_EU__OTHERWISE": "b",
        "SCORER__TOPICS__PAY__X__OTHERWISE": "c",
    }
    found = loaded(tmp_path, configuration(topics=topics), environment).topics
    assert [found[name].otherwise for name in names] == ["a", "b", "c"]
    twins = {name: topic() for name in ("a.b", "a-b")}
    message = refused(ConfigError, tmp_path, configuration(topics=twins), {"SCORER__TOPICS__A_B__OTHERWISE": "x"})
    assert "may mean either of the topics a.b and a-b" in message


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (
            "SCORER__BATCH__MAX_EVENT",
            "SCORER__BATCH__MAX_EVENT: batch.max_event: unknown key; did you mean max_events?",
        ),
        ("SCORER__BACH", "SCORER__BACH: bach: unknown key; did you mean batch?"),
        ("SCORER__BATCH__MAX_EVENTS", "SCORER__BATCH__MAX_EVENTS: batch.max_events: must be a whole number, not 'x'"),
        ("SCORER__BATCH", "SCORER__BATCH: batch: must be a mapping, not 'x'"),
        ("SCORER__", "environment: SCORER__: names no setting"),
        ("SCORER__TOPICS__PAYMENT__BUNDLE", "SCORER__TOPICS__PAYMENT__BUNDLE: unknown topic; did you mean payments?"),
        ("SCORER__KAFKA__SASL__PASSWORD", "write one underscore for a dot: SCORER__KAFKA__SASL_PASSWORD"),
    ],
)
def test_a_variable_that_means_nothing_is_refused(tmp_path: Path, variable: str, words: str) -> None:
    """A variable is held to what a key in the file is held to, and is named."""
    assert words in refused(ConfigError, tmp_path, configuration(), {variable: "x"})


def test_properties_override_all(tmp_path: Path) -> None:
    """`-X name=value` comes last, may hold more equal signs and a reference, and must have a name and a value."""
    environment = {"SCORER__KAFKA__BOOTSTRAP_SERVERS": "e:1", "PW": "hunter2"}
    given = ["bootstrap.servers=x:1", "client.rack=a=b", "sasl.password=${env:PW}"]
    found = loaded(tmp_path, configuration(), environment, given)
    assert dict(found.kafka) == {"bootstrap.servers": "x:1", "client.rack": "a=b", "sasl.password": "hunter2"}
    assert "-X number 2: must read name=value" in refused(
        ConfigError, tmp_path, configuration(), properties=["a=b", "hunter2"]
    )


def test_secrets_come_from_kafkas_three_sources(tmp_path: Path) -> None:
    """`env`, `dir` and `file` are looked up anywhere in a text; a directory's file loses one newline."""
    (tmp_path / "password").write_text("two\n\n")
    (tmp_path / "s.properties").write_text("# note\n!\nother : 1\nsasl.pass\\:word = th\\=r\\\n   ee\\u0041 \n")
    kafka = {
        "bootstrap.servers": "${env:HOST}:9092,${env:HOST}:9093",
        "sasl.password": f"${{dir:{tmp_path}:password}}",
        "ssl.key.password": "${file:s.properties:sasl.pass:word}",
    }
    batch = {"max_events": "${env:EVENTS}"}
    found = loaded(tmp_path, configuration(kafka=kafka, batch=batch), {"HOST": "h", "EVENTS": "9"})
    assert dict(found.kafka) == {
        "bootstrap.servers": "h:9092,h:9093",
        "sasl.password": "two\n",
        "ssl.key.password": "th=reeA ",
    }
    assert found.batch.max_events == 9


@pytest.mark.parametrize(
    ("reference_", "words"),
    [
        ("${env:NOPE}", "the environment variable NOPE is not set"),
        ("${dir:gone:password}", "gone/password: No such file or directory"),
        ("${dir:.:../x}", "names no source"),
        ("${file:empty.properties:key}", "empty.properties has no key key"),
        ("${file:gone.properties:key}", "gone.properties: No such file or directory"),
        ("${file:latin.properties:key}", "is not UTF-8 text"),
        ("pa${ss}word", "has a ${…} that names no source: write ${env:NAME}"),
        ("${vault:a:b}", "has a ${…} that names no source"),
    ],
)
def test_a_reference_that_leads_nowhere_is_a_fault(tmp_path: Path, reference_: str, words: str) -> None:
    """An unresolvable reference names its key and what is missing."""
    (tmp_path / "empty.properties").write_text("")
    (tmp_path / "latin.properties").write_bytes(b"key=\xe9")
    kafka = {"bootstrap.servers": "b:1", "sasl.password": reference_}
    message = refused(ConfigError, tmp_path, configuration(kafka=kafka))
    assert "kafka.sasl.password: " in message
    assert words in message
    assert len(message.splitlines()) == 2


REFERABLE = [
    ("kafka", "sasl.password"),
    ("kafka", "client.rack"),
    ("group",),
    ("instance",),
    ("start",),
    ("batch", "max_events"),
    ("topics", "payments", "decisions"),
    ("topics", "payments", "otherwise"),
    ("topics", "payments", "bundle"),
    ("topics", "payments", "bands", "review"),
    ("trust", "keys"),
    ("trust", "allow_rollback"),
    ("http", "listen"),
]


@many
@given(
    st.sampled_from(REFERABLE),
    st.from_regex(r"zq[A-Za-z0-9]{6,12}( x)?", fullmatch=True),
    st.booleans(),
)
def test_a_secret_is_never_told(tmp_path: Path, keys: tuple[str, ...], secret: str, spoilt: bool) -> None:
    """What came from a reference is in no repr, description or message, whether it is accepted or refused."""
    tree = configuration(instance="${env:S}" if spoilt else 0)
    section = tree
    for key in keys[:-1]:
        section = section.setdefault(key, {})
    section[keys[-1]] = "${env:S}"
    try:
        found: Settings | ConfigError = loaded(tmp_path, tree, {"S": secret})
    except ConfigError as error:
        found = error
    if isinstance(found, ConfigError):
        assert secret not in str(found)
        assert unchained(found)
        return
    parts = [found, found.kafka, found.batch, found.trust, found.http, found.topics, *found.topics.values()]
    assert secret not in "".join(f"{part!r}{part!s}" for part in parts)
    assert secret not in str(found.describe())
    assert "***" in repr(found)


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.jaas.config",
        "x.token",
    ],
)
def test_secrets_written_out_are_masked_by_their_name(tmp_path: Path, name: str) -> None:
    """A password in the file or a variable is masked too, and the client still gets it."""
    found = loaded(tmp_path, configuration(kafka={"bootstrap.servers": "b:1", name: "hunter2"}))
    assert found.describe()["kafka"] == {"bootstrap.servers": "b:1", name: "***"}
    assert "hunter2" not in repr(found) + repr(found.kafka)
    assert dict(found.kafka)[name] == "hunter2"


def test_a_password_in_a_url_is_masked(tmp_path: Path) -> None:
    """A property that is a URL with a user in it is masked whatever its name."""
    kafka = {"bootstrap.servers": "b:1", "https.proxy": "http://me:hunter2@proxy:80"}
    assert "hunter2" not in repr(loaded(tmp_path, configuration(kafka=kafka)))


@many
@given(st.from_regex(r"[*!&%@`\"'\[{|>][A-Za-z0-9]{8,12}", fullmatch=True))
def test_broken_syntax_does_not_quote_the_file(tmp_path: Path, password: str) -> None:
    """An unquoted password that YAML stumbles over is not repeated by the complaint about it."""
    assume(password[1:] not in EXAMPLE)
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, EXAMPLE.replace("debug: cgrp", f"sasl.password: {password}"))
    assert password[1:] not in str(caught.value)


def test_keys_with_line_breaks_stay_on_one_line(tmp_path: Path) -> None:
    """A key cannot break the message into lines that look like other faults."""
    message = refused(ConfigError, tmp_path, configuration(**{"a\nscorer.yaml: all well": 1}))
    assert len(message.splitlines()) == 2


def test_settings_made_without_a_file_are_checked_too() -> None:
    """A Settings object is valid however it was made, and its errors do not print the values."""
    with pytest.raises(ValidationError, match="a loop") as caught:
        Settings.model_validate(configuration(topics={"payments": topic(decisions="payments", bundle="hunter2")}))
    assert "hunter2" not in str(caught.value)
    assert Settings.model_validate(configuration()).topics["payments"].bundle == Path("bundles/card-fraud")
