"""What is raised where an engine is left out of a comparison."""


class NotAvailableError(Exception):
    """The engine cannot take this model on this machine; the text says why, in one line."""
