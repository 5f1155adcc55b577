"""The web resource: status, the dialplan's questions, the API, the page, metrics."""
