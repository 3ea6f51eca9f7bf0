"""The texture database's format."""

from jaxface.database.library import Library, open_database
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
    "add_face",
    "database_id",
    "load_database",
    "open_database",
    "read_list",
    "remove_face",
    "save_database",
    "verify_database",
]
