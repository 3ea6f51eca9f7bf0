"""Stage 3: the photo in the face's texture."""

from jaxface.unwrapping.exposure import balance_light, explain_albedo
from jaxface.unwrapping.merge import merge_unwrapped
from jaxface.unwrapping.unwrap import UnwrapConfig, unwrap

__all__ = ["UnwrapConfig", "balance_light", "explain_albedo", "merge_unwrapped", "unwrap"]
