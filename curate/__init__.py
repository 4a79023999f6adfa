"""From raw text to training data: one declarative recipe, every document accounted for."""

__version__ = "0.1.0"
