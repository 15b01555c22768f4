"""RecTools' models as rivals: it runs in an environment of its own."""
