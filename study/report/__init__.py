"""The report on a study's records: effects, verdicts, and the page that shows them."""
