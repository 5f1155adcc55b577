"""What is kept of calls that ended: records, recordings, and how they went."""
