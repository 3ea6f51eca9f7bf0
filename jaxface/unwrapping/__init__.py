"""Stage 3: the photo in the face's texture."""

from jaxface.unwrapping.unwrap import UnwrapConfig, unwrap

__all__ = ["UnwrapConfig", "unwrap"]
