"""Result folders: `write_result`, `load_result`, `transfer`, and images of a result."""

from jaxface.export.folder import PREFIX, check_folder, whole_folder
from jaxface.export.preview import preview, render_view
from jaxface.export.result import write_result
from jaxface.export.stages import draw_stages
from jaxface.export.stored import PARAMETERS, StoredResult, load_result
from jaxface.export.transfer import transfer

__all__ = [
    "PARAMETERS",
    "PREFIX",
    "StoredResult",
    "check_folder",
    "draw_stages",
    "load_result",
    "preview",
    "render_view",
    "transfer",
    "whole_folder",
    "write_result",
]
