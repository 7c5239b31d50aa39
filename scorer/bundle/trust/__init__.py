"""Whom to believe: before a bundle is opened it is held, verified and admitted.

`custody` takes a private copy whose bytes are those that were verified, `signing` says who vouches for them. Two gates
look at that copy: `admission` opens it first in a process of its own (`trial`), `rollback` remembers the newest version
served. What they remember is in a `cache` directory.
"""
