"""The life of a dead letter: read, understood, published again. Whose headers it carries does not matter.

`families` reads the headers of five systems, `letters` makes DeadLetters of records and counts them, `plan` says of
each what becomes of it, `ledger` remembers what was redriven, `redrive` publishes, `show` writes for a person.
"""
