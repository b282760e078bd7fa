"""Runs the cells of a study. This is the only package that uses Ray."""
