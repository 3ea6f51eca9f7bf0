"""Which pixels of a photo show the face, hair, or what is before them."""
