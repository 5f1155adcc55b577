"""C{portero doctor}: what is wrong with an installation, before a caller notices."""
