"""`python -m kgrec_cli` is the same as `kgrec`."""

from kgrec_cli.cli import main

if __name__ == "__main__":
    main()
