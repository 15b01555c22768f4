"""One thin file per command: options in, a stage called, its result shown."""
