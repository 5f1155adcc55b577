"""Mail about calls: how it is written, kept and delivered."""
