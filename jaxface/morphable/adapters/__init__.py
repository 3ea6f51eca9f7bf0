"""Published face models, read from their official files, in the canonical UV. Host code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jaxface.errors import InputError
from jaxface.morphable.adapters import bfm, flame, gnm, ict
from jaxface.morphable.adapters.adapt import adapt
from jaxface.morphable.adapters.official import OfficialModel, checked
from jaxface.types import FaceModel

READERS: dict[str, Callable[[Path], OfficialModel]] = {
    "ict": ict.read,
    "flame": flame.read,
    "bfm": bfm.read,
    "gnm": gnm.read,
}


def load(name: str, default: FaceModel) -> FaceModel:
    """Returns the model of a name such as `ict:PATH`, registered to the default model.

    Raises:
        InputError: there is no such kind, or the files are not the official ones.
    """
    return adapt(read_official(name), default, name=name)


def read_official(name: str) -> OfficialModel:
    """Returns the model of a name such as `ict:PATH` as published.

    Raises:
        InputError: there is no such kind, or the files are not the official ones.
    """
    kind, _, location = name.partition(":")
    if kind not in READERS or not location:
        kinds = ", ".join(f"{kind}:PATH" for kind in READERS)
        raise InputError(f"There is no face model named {name!r}; choose default, {kinds}.")
    path = Path(location).expanduser()
    if not path.exists():
        raise InputError(f"The face model {path} does not exist.")
    return checked(READERS[kind](path))
