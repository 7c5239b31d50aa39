"""scorer: scores Kafka events with TensorFlow models, exactly once, bit for bit as they were trained.

An event's way, one noun from room to room (`records.py` has the nouns):

    broker → decode → transform → infer → decide → encode → broker
    bytes    columns  inputs      scores  bands    JSON     committed with the offsets

The map of the house. Imports go down only; who may import whom is a test.

    cli/          the commands, one file each
    demo/         the simulator, the training of the demo's models, and the show
    bundle/       the artefact: packed, verified, loaded
    dlq/          dead letters: listed, shown, and redriven, each event once
    replay/       a past slice of a topic, scored again and compared with what was recorded
    report/       what an evaluation found, as one page for a browser
    service/      the loop: batches, offsets, delivery
    pipeline.py   rooms 1 to 5 joined: one pure function
    decode/       room 1: record bytes → columns, or a rejection
    transform/    room 2: columns → the model's inputs, bit for bit as in training
    infer/        room 3: inputs → scores, through the serving signature at one batch shape
    decide.py     room 4: scores → decisions, by the topic's bands
    encode.py     room 5: decisions and rejections → records to publish
    broker/       the doors to Kafka
    evaluation/   scores, labels and costs → what bands are worth, and which to choose
    telemetry/    facts → metrics, log, health
    config/       the settings, typed and checked
    records.py    the nouns that cross doorways
    compiled/     the optional part in C, for what Python takes longest for
    errors.py     what can go wrong: exit codes, and the reasons of rejections
    __main__.py   `python -m scorer`

What other programs import: `scorer.bundle.pack` and `scorer.bundle.load`.
"""

__version__ = "0.1.0"
