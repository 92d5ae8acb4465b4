"""For authors of strategies and of raysearch itself: contracts as checks, and made-up data."""
