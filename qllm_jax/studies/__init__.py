"""Studies: many trainings that one file describes, their results, and how far they are."""
