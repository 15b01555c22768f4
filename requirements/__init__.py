"""The locked packages and the scripts around them; none is part of the package kgrec."""
