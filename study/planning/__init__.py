"""Decide what will run, and refuse bad input before anything starts."""
