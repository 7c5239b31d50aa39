"""The configuration: one YAML or TOML file + the environment + `-X` properties → frozen, typed `Settings`.

Nothing is started on a configuration with a fault, and all faults are reported in one message.
"""

from scorer.config.bands import band_faults, check_bands
from scorer.config.loader import load
from scorer.config.properties import Properties
from scorer.config.schema import reference
from scorer.config.settings import Batch, Delivery, Http, Settings, Start, Topic, Trust

__all__ = [
    "Batch",
    "Delivery",
    "Http",
    "Properties",
    "Settings",
    "Start",
    "Topic",
    "Trust",
    "band_faults",
    "check_bands",
    "load",
    "reference",
]
