"""The start of `kgrec` and of `python -m kgrec_cli`: from the first moment Ctrl-C is one line."""

from kgrec_cli import stopping


def main() -> None:
    """Runs the command line and exits."""
    stopping.install()  # the imports of the next line take a while
    from kgrec_cli import cli

    cli.main()


if __name__ == "__main__":
    main()
