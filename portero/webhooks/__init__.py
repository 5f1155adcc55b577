"""Tools that ask a server of the house, as the configuration says."""
