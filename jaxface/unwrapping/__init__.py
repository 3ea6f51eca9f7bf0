"""Stage 3: the photo in the face's texture."""

from jaxface.unwrapping.exposure import balance_light, explain_albedo
from jaxface.unwrapping.unwrap import UnwrapConfig, unwrap

__all__ = ["UnwrapConfig", "balance_light", "explain_albedo", "unwrap"]
