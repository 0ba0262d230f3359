"""What a visitor of the page is told when something cannot be done."""


class Refusal(ValueError):
    """One sentence for the page: what was given, what is accepted, what to do."""
