"""Train fastText classifiers outside a recipe, and say how good they are: what `curate classifier train` does."""
