"""`python -m jaxface` is the command `jaxface`."""

from jaxface.cli import main

if __name__ == "__main__":
    main()
