"""What is on its way to somebody else: kept on the disk until it was taken."""
