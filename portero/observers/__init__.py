"""What watches calls, each in a file of its own."""
