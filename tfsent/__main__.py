"""`python -m tfsent` is `tfsent`."""

from tfsent.cli.main import main

if __name__ == "__main__":
    main()
