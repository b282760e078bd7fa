"""Building blocks of all variants: players and losses, layers, and the loop over images."""
