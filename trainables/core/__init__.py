"""What every variant is made of: players and losses, layers, the loop over images."""
