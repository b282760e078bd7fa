"""Code that metrics share: judges, statistics of real images, and an evaluation's view of fakes."""
