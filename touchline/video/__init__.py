"""Videos and still pictures: opened, decoded on a steady clock, and what was not whole about them."""
