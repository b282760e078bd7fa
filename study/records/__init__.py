"""The records of a study: what its folder holds, and how the folder is read and written."""
