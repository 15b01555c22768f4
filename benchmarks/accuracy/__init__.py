"""How well kgrec ranks, and what each part of it is worth: the commands behind the studies."""
