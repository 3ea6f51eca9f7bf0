"""What is written for one photo: `write_result`, and `load_result` to read it back."""

from jaxface.export.preview import preview, render_view
from jaxface.export.result import check_folder, write_result
from jaxface.export.stored import StoredResult, load_result

__all__ = [
    "StoredResult",
    "check_folder",
    "load_result",
    "preview",
    "render_view",
    "write_result",
]
