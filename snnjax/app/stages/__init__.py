"""Stages of a run: each reads files, writes files and returns what it found."""
