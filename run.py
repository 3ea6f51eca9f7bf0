"""The command line without installing the package: `python run.py reconstruct PHOTO -o OUT`."""

from jaxface.cli import main

if __name__ == "__main__":
    main()
