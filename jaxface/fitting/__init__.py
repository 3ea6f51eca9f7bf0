"""Stage 2: parameters of the face model from landmarks and pixels."""
