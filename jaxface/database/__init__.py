"""The texture database: complete face textures in the canonical UV."""

from jaxface.database.store import Database, load_database, save_database

__all__ = ["Database", "load_database", "save_database"]
