"""Programs that build `pretrained/`, run from a checkout as `python -m building.NAME`."""
