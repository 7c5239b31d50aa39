"""Room 1: Records → Columns. One decoder a format; each event is decoded on its own, so a broken one hurts nobody.

`schema` says what an event holds; `json` reads it, and leaves what is plain to `reader`, where that was built.
"""

from scorer.decode.json import JsonDecoder
from scorer.decode.schema import EventSchema, Field, FieldType

__all__ = ["EventSchema", "Field", "FieldType", "JsonDecoder"]
