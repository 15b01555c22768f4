"""Placeholder while this command is being written."""


def pretrain_kg() -> None:
    """To come."""
