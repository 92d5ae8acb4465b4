"""What people see: the live view, texts, and sums over a study."""
