"""A replay beside the service that it replays: the service does not notice."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from bundles import frame_of, payloads
from e2e_world import Progress, Topics, read_committed, running, send, write_settings

from scorer.bundle import Bundle

BEFORE, MEANWHILE = 8_000, 8_000


def test_a_replay_of_a_live_topic_is_not_noticed(bootstrap: str, cards: Bundle, tmp_path: Path) -> None:
    """Under load: no rebalance, no offset moved by others, every event decided once, and the same bits as recorded."""
    topics = Topics.called("live-replay")
    topics.create(bootstrap)
    settings = write_settings(tmp_path / "scorer.yaml", bootstrap, topics, cards.path, delivery="exactly-once")
    frame = frame_of(BEFORE + MEANWHILE, 5)
    records = list(zip(map(str.encode, frame["transaction_id"]), payloads(frame), strict=True))
    progress = Progress(bootstrap, topics)
    with running(settings) as scorer:
        send(bootstrap, topics.source, records[:BEFORE])
        progress.reach(BEFORE, scorer)
        load = threading.Thread(target=send, args=(bootstrap, topics.source, records[BEFORE:]))
        load.start()
        command = ["replay", "--topic", topics.source, "--config", str(settings), "--out", str(tmp_path / "r.jsonl")]
        replay = subprocess.run([sys.executable, "-m", "scorer", *command, "--json"], capture_output=True, check=True)
        load.join()
        progress.reach(BEFORE + MEANWHILE, scorer)
        code, _ = scorer.terminate()
        said = [event["event"] for event in scorer.events()]
    progress.close()

    assert code == 0
    assert said.count("partitions_assigned") == 1
    assert not {"batch_aborted", "producer_renewed"} & set(said)
    decided = [json.loads(found.value or b"") for found in read_committed(bootstrap, topics.decisions)]
    assert len({(one["partition"], one["offset"]) for one in decided}) == len(decided) == BEFORE + MEANWHILE
    compared = json.loads(replay.stdout)["comparison"]
    assert compared["matched"] >= BEFORE
    assert compared["identical_scores"] == compared["matched"]
    assert (compared["changed"], compared["recorded_twice"], compared["recorded_only"]) == (0, 0, 0)
