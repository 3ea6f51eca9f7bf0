"""What is written for one photo: `write_result`, and `load_result` to read it back."""

from jaxface.export.preview import preview
from jaxface.export.result import load_result, write_result

__all__ = ["load_result", "preview", "write_result"]
