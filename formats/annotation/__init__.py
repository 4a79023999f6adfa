"""People in the loop: answers out to an annotation tool, ratings and comparisons back into records."""
