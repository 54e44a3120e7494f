"""The command line, its configurations and stages, and comparisons of methods."""
