"""One file per command, of the same name: files in, files out; tells progress by events."""
