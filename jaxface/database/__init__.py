"""The texture database's format."""

from jaxface.database.library import Library, open_database
from jaxface.database.sketches import StoredSketches, open_sketches, write_sketches
from jaxface.database.store import (
    Database,
    add_face,
    database_id,
    load_database,
    read_list,
    remove_face,
    save_database,
    verify_database,
)

__all__ = [
    "Database",
    "Library",
    "StoredSketches",
    "add_face",
    "database_id",
    "load_database",
    "open_database",
    "open_sketches",
    "read_list",
    "remove_face",
    "save_database",
    "verify_database",
    "write_sketches",
]
