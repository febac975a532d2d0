"""What is seen before anything is read: grass, boards, camera, overlays, players."""
