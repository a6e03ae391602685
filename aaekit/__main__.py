"""`python -m aaekit` is `aae`."""

from aaekit.cli import main

if __name__ == "__main__":
    main()
