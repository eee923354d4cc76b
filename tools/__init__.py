"""What helps to build it, and does not run in production."""
