"""The texture database: its format, in memory and on disk."""

from jaxface.database.disk import DiskDatabase, open_database
from jaxface.database.features import StoredFeatures, open_features, write_features
from jaxface.database.store import (
    add_face,
    database_id,
    face_names,
    load_database,
    read_list,
    remove_face,
    save_database,
    verify_database,
)

__all__ = [
    "DiskDatabase",
    "StoredFeatures",
    "add_face",
    "database_id",
    "face_names",
    "load_database",
    "open_database",
    "open_features",
    "read_list",
    "remove_face",
    "save_database",
    "verify_database",
    "write_features",
]
