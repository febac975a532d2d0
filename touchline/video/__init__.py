"""Opening and decoding of videos and still pictures, on a steady clock and with an account of faults."""
