"""Rendered people of whom every pixel's class is known: what teaches the parser of pixels."""
