"""Detection before text recognition: the pitch, advertising boards, camera motion, overlays, players."""
