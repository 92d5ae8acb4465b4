"""Models of an objective, or of where it is good, over the unit cube; numpy and scipy only."""
